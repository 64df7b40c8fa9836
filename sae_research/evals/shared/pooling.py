"""Mean activations and mean codes of texts: the model reads each text once, each SAE encodes it once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_research.evals.base import EvalContext
from sae_research.evals.shared.attempts import Attempt, do_each
from sae_research.lm.site import Site
from sae_research.lm.tokens import TokenBatch, tokenize_texts
from sae_research.saes.encoding import Encoder, mean_over


def pool_texts(
    context: EvalContext, attempts: Sequence[Attempt], texts: Sequence[str], *, site: Site, context_size: int
) -> tuple[Float[Tensor, "texts d"], dict[Attempt, Float[Tensor, "texts d_sae"]]]:
    """Means over each text's real tokens: of the activations at `site`, and of each SAE's codes unless it failed.

    Texts are read in order of length, so that little is padding, in batches of at most as many positions as a batch of
    full contexts. A text without real tokens has mean 0.
    """
    lm = context.lm
    batch = tokenize_texts(lm.tokenizer, texts, context_size=context_size)
    channels = torch.zeros(len(texts), lm.width(site), device=lm.device)
    codes = {a: torch.zeros(len(texts), a.sae.card.d_sae, device=lm.device) for a in attempts if a.error is None}
    encoders = {attempt: Encoder(attempt.sae) for attempt in codes}

    def pool(attempt: Attempt, x: Tensor, real: Tensor) -> Tensor:
        return encoders[attempt].mean_codes(x, real)

    for rows in _batches(_lengths(batch), context.batch_size * context_size):
        part = TokenBatch(batch.tokens[rows], batch.real[rows])
        # Without the positions that are padding in all rows.
        width = max(1, int(_lengths(part).max()))
        tokens, real = part.tokens[:, :width].to(lm.device), part.real[:, :width].to(lm.device)
        x = lm.capture(tokens, site)
        channels[rows.to(lm.device)] = mean_over(x.float(), real)
        for attempt, pooled in do_each(lm.device, codes, pool, x, real).items():
            codes[attempt][rows.to(lm.device)] = pooled
        context.progress.advance(len(rows), doing=f"{len(attempts)} SAEs at {site.hook_name}")
    return channels, {attempt: pooled for attempt, pooled in codes.items() if attempt.error is None}


def _lengths(batch: TokenBatch) -> Tensor:
    """The position after the last real token of each row."""
    positions = torch.arange(1, batch.real.shape[1] + 1)
    return (batch.real * positions).amax(dim=1)


def _batches(lengths: Int[Tensor, " texts"], positions: int) -> Iterator[Int[Tensor, " rows"]]:
    """All texts, shortest first, in batches whose padded rows have at most `positions` positions, or one row.

    Lengths [5, 2, 3] within 6 positions: rows 1 and 2, padded to 3 positions each, then row 0.
    """
    order = lengths.argsort(stable=True)
    start = 0
    for end, longest in enumerate(lengths[order].tolist()):
        if end > start and (end + 1 - start) * longest > positions:
            yield order[start:end]
            start = end
    yield order[start:]


def group_by_memory(attempts: Sequence[Attempt], texts: int, *, limit_bytes: int) -> list[list[Attempt]]:
    """The SAEs in groups whose mean codes of all texts fit in `limit_bytes`, one SAE at least."""
    groups: list[list[Attempt]] = []
    group_bytes = 0
    for attempt in attempts:
        size = 4 * texts * attempt.sae.card.d_sae
        if not groups or group_bytes + size > limit_bytes:
            groups.append([])
            group_bytes = 0
        groups[-1].append(attempt)
        group_bytes += size
    return groups
