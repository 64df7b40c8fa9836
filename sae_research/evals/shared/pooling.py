"""Mean activations and mean codes of texts: the model reads each text once, each SAE encodes it once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_research.device_memory import free_memory
from sae_research.evals.base import EvalContext
from sae_research.evals.shared.attempts import Attempt, do_each
from sae_research.lm.site import Site
from sae_research.lm.tokens import TokenBatch, tokenize_texts
from sae_research.probes.sparse_rows import Rows, SparseRows, without_zeros
from sae_research.saes.base import Sae
from sae_research.saes.codes import SparseCodes, joined
from sae_research.saes.encoding import Encoder, mean_over, pieces


class PooledTexts(NamedTuple):
    """Means over each text's real tokens; a text without any has mean 0."""

    channels: Float[Tensor, "texts d"]
    """Of the activations at the site."""
    codes: dict[Attempt, Rows]
    """Of each SAE's codes unless it failed."""


def pool_in_groups(
    context: EvalContext, attempts: Sequence[Attempt], texts: Sequence[str], *, site: Site, context_size: int,
    contributions: bool = False,
) -> Iterator[PooledTexts]:  # fmt: skip
    """The texts for as many SAEs at a time as a third of the free memory has room for; another third is for probes.

    The codes of an SAE that has no room there alone are kept without their zeros, in the host's memory.
    With `contributions` they are what each adds to the activation.
    """
    limit = free_memory(context.lm.device) // 3
    batch = tokenize_texts(context.lm.tokenizer, texts, context_size=context_size)
    for group in group_by_memory(attempts, len(texts), limit_bytes=limit):
        context.progress.expect(len(texts))
        sparse = [attempt for attempt in group if _dense_bytes(attempt, len(texts)) > limit]
        yield _pool(context, group, batch, site, sparse, contributions=contributions)


def pool_texts(
    context: EvalContext, attempts: Sequence[Attempt], texts: Sequence[str], *, site: Site, context_size: int,
    sparse: Sequence[Attempt] = (),
) -> PooledTexts:  # fmt: skip
    """The texts for all `attempts` at once; the codes of those in `sparse` are kept without their zeros."""
    batch = tokenize_texts(context.lm.tokenizer, texts, context_size=context_size)
    return _pool(context, attempts, batch, site, sparse)


def _pool(
    context: EvalContext, attempts: Sequence[Attempt], batch: TokenBatch, site: Site, sparse: Sequence[Attempt], *,
    contributions: bool = False,
) -> PooledTexts:  # fmt: skip
    """The means over tokenised texts.

    They are read in order of length, so that little is padding, in batches of at most as many positions as a batch of
    full contexts.
    """
    lm = context.lm
    n_texts, context_size = batch.tokens.shape
    channels = torch.zeros(n_texts, lm.width(site), device=lm.device)
    stores = {
        attempt: (_SparseStore if attempt in sparse else _DenseStore)(attempt.sae, n_texts, lm.device)
        for attempt in attempts
        if attempt.error is None
    }
    encoders = {attempt: Encoder(attempt.sae, attempt.supports, contributions=contributions) for attempt in stores}

    def pool(attempt: Attempt, x: Tensor, real: Tensor, rows: Tensor) -> None:
        stores[attempt].put(rows, encoders[attempt], x, real)

    for rows in _batches(_lengths(batch), context.batch_size * context_size):
        part = TokenBatch(batch.tokens[rows], batch.real[rows])
        # Without the positions that are padding in all rows.
        width = max(1, int(_lengths(part).max()))
        tokens, real = part.tokens[:, :width].to(lm.device), part.real[:, :width].to(lm.device)
        x = lm.capture(tokens, site)
        channels[rows.to(lm.device)] = mean_over(x.float(), real)
        do_each(lm.device, stores, pool, x, real, rows)
        context.progress.advance(len(rows), doing=f"{len(attempts)} SAEs at {site.hook_name}")
    codes = {attempt: attempt.do(store.codes) for attempt, store in stores.items()}
    return PooledTexts(channels, {attempt: pooled for attempt, pooled in codes.items() if pooled is not None})


@final
class _DenseStore:
    """Mean codes with their zeros, on the device."""

    def __init__(self, sae: Sae, texts: int, device: torch.device) -> None:
        self._codes = torch.zeros(texts, sae.card.d_sae, device=device)

    def put(self, rows: Tensor, encoder: Encoder, x: Tensor, real: Tensor) -> None:
        """Adds the texts `rows`."""
        self._codes[rows.to(x.device)] = encoder.mean_codes(x, real)

    def codes(self) -> Rows:
        """Those of all texts."""
        return self._codes


@final
class _SparseStore:
    """Mean codes without their zeros, on the host."""

    def __init__(self, sae: Sae, texts: int, device: torch.device) -> None:
        self._width, self._device = sae.card.d_sae, device
        self._rows: list[Tensor] = []
        self._parts: list[SparseCodes] = []

    def put(self, rows: Tensor, encoder: Encoder, x: Tensor, real: Tensor) -> None:
        """Adds the texts `rows`."""
        self._rows.append(rows)
        for some in pieces(encoder.sae, len(rows)):
            self._parts.append(without_zeros(encoder.mean_codes(x[some], real[some])))

    def codes(self) -> Rows:
        """Those of all texts."""
        parts, self._parts = joined(self._parts), []
        return SparseRows(parts, self._width, self._device).take(torch.cat(self._rows).argsort())


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
        size = _dense_bytes(attempt, texts)
        if not groups or group_bytes + size > limit_bytes:
            groups.append([])
            group_bytes = 0
        groups[-1].append(attempt)
        group_bytes += size
    return groups


def _dense_bytes(attempt: Attempt, texts: int) -> int:
    return 4 * texts * attempt.sae.card.d_sae
