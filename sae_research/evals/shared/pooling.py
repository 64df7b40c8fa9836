"""Mean activations and mean codes of texts: the model reads each text once, each SAE encodes it once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sae_research.evals.base import EvalContext
from sae_research.evals.shared.attempts import Attempt, do_each
from sae_research.evals.shared.batches import finite, pieces
from sae_research.lm.site import Site
from sae_research.lm.tokens import TokenBatch, tokenize_texts
from sae_research.saes.base import Sae
from sae_research.saes.encoding import Screen
from sae_research.saes.kernels.screening import SparseCodes, add_codes


def pool_texts(
    context: EvalContext, attempts: Sequence[Attempt], texts: Sequence[str], *, site: Site, context_size: int
) -> tuple[Float[Tensor, "texts d"], dict[Attempt, Float[Tensor, "texts d_sae"]]]:
    """Means over each text's real tokens: of the activations at `site`, and of the codes of every SAE that lives.

    Texts go by in order of their length, so that little padding is read, as many at a time as take no more positions
    than a batch of whole contexts; a text without real tokens has mean 0.
    """
    lm = context.lm
    batch = tokenize_texts(lm.tokenizer, texts, context_size=context_size)
    channels = torch.zeros(len(texts), lm.width(site), device=lm.device)
    codes = {a: torch.zeros(len(texts), a.sae.card.d_sae, device=lm.device) for a in attempts if a.error is None}
    screens = {attempt: attempt.do(Screen.of, attempt.sae) for attempt in codes}

    def pool(attempt: Attempt, x: Tensor, real: Tensor, tokens: Tensor) -> Tensor:
        screen = screens[attempt]
        found = screen.encode(tokens) if screen is not None else None
        return mean_codes(attempt.sae, x, real) if found is None else mean_sparse(found, real, attempt.sae.card.d_sae)

    for rows in _batches(_lengths(batch), context.batch_size * context_size):
        tokens, real = _trimmed(batch, rows)
        tokens, real = tokens.to(lm.device), real.to(lm.device)
        x = lm.capture(tokens, site)
        channels[rows.to(lm.device)] = _mean(x.float(), real)
        for attempt, pooled in do_each(lm.device, codes, pool, x, real, x[real]).items():
            codes[attempt][rows.to(lm.device)] = pooled
        context.progress.advance(len(rows), doing=f"{len(attempts)} SAEs at {site.hook_name}")
    return channels, {attempt: pooled for attempt, pooled in codes.items() if attempt.error is None}


def mean_codes(
    sae: Sae, x: Float[Tensor, "texts tokens d_in"], real: Bool[Tensor, "texts tokens"]
) -> Float[Tensor, "texts d_sae"]:
    """The mean code of each text over its real tokens; other tokens are not even encoded where scope allows."""
    pooled = x.new_zeros(len(x), sae.card.d_sae, dtype=torch.float32)
    for part in pieces(sae, *x.shape[:2]):
        if sae.scope == "sequence":
            pooled[part] = _mean(sae.encode(x[part], mask=real[part]).float(), real[part])
        else:
            owners = real[part].nonzero()[:, 0]
            shares = _shares(owners, real[part].sum(dim=1))
            pooled[part] = shares @ sae.encode(x[part][real[part]]).float()
    return finite(pooled, "mean code")


def mean_sparse(codes: SparseCodes, real: Bool[Tensor, "texts tokens"], d_sae: int) -> Float[Tensor, "texts d_sae"]:
    """The same of the sparse `codes` of the real tokens."""
    pooled = torch.zeros(len(real), d_sae)
    add_codes(codes, real.nonzero()[:, 0], pooled)
    pooled /= real.sum(dim=1, keepdim=True).clamp(min=1)
    return finite(pooled, "mean code")


def _shares(owners: Tensor, counts: Tensor) -> Tensor:
    """(texts, tokens): 1/n where the token is one of the n of the text, so that a product gives means."""
    texts = torch.arange(len(counts), device=owners.device)
    return (owners[None, :] == texts[:, None]) / counts.clamp(min=1)[:, None]


def _mean(values: Tensor, real: Tensor) -> Tensor:
    total = torch.where(real[..., None], values, 0.0).sum(dim=1)
    return total / real.sum(dim=1).clamp(min=1)[:, None]


def _lengths(batch: TokenBatch) -> Tensor:
    """The position after the last real token of each row."""
    positions = torch.arange(1, batch.real.shape[1] + 1)
    return (batch.real * positions).amax(dim=1)


def _batches(lengths: Int[Tensor, " texts"], positions: int) -> Iterator[Int[Tensor, " rows"]]:
    """All texts, the shortest first, so many together that their rows have at most so many `positions` (one text may
    have more)."""
    order = lengths.argsort(stable=True)
    start = 0
    for end, longest in enumerate(lengths[order].tolist()):
        if end > start and (end + 1 - start) * longest > positions:
            yield order[start:end]
            start = end
    yield order[start:]


def _trimmed(batch: TokenBatch, rows: Tensor) -> tuple[Tensor, Tensor]:
    """The rows without the positions that are padding in all of them."""
    part = TokenBatch(batch.tokens[rows], batch.real[rows])
    width = max(1, int(_lengths(part).max()))
    return part.tokens[:, :width], part.real[:, :width]


def group_by_memory(attempts: Sequence[Attempt], texts: int, *, limit_bytes: int) -> list[list[Attempt]]:
    """The SAEs in groups whose mean codes of all texts fit in `limit_bytes`, one SAE at least."""
    groups: list[list[Attempt]] = []
    held = 0
    for attempt in attempts:
        size = 4 * texts * attempt.sae.card.d_sae
        if not groups or held + size > limit_bytes:
            groups.append([])
            held = 0
        groups[-1].append(attempt)
        held += size
    return groups
