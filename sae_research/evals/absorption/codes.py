"""Codes of words, sparse: read once for all SAEs, encoded once for each, gathered by rows or by latents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_research.evals.base import EvalContext
from sae_research.evals.shared.attempts import Attempt, do_each
from sae_research.evals.shared.batches import finite, is_real, pieces
from sae_research.lm.site import Site
from sae_research.saes.base import Sae
from sae_research.saes.encoding import Screen
from sae_research.saes.kernels.screening import SparseCodes

# Up to so many codes are held densely too, for speed: 256 MiB in float32.
_DENSE_ELEMENTS = 2**26


class WordCodes:
    """The codes of one SAE, one row per word."""

    def __init__(self, codes: SparseCodes, d_sae: int) -> None:
        self._codes = codes
        self._owners = torch.arange(len(codes.counts), device=codes.counts.device).repeat_interleave(codes.counts)
        self.d_sae = d_sae
        small = len(codes.counts) * d_sae <= _DENSE_ELEMENTS
        self._dense = self._gather(torch.arange(len(codes.counts), device=codes.counts.device)) if small else None

    def __len__(self) -> int:
        return len(self._codes.counts)

    def rows(self, words: Int[Tensor, " some"]) -> Float[Tensor, "some d_sae"]:
        """The codes of some words."""
        return self._gather(words) if self._dense is None else self._dense[words]

    def _gather(self, words: Int[Tensor, " some"]) -> Float[Tensor, "some d_sae"]:
        counts, latents, values = self._codes
        places = _places(counts, words)
        owners = torch.arange(len(words), device=words.device).repeat_interleave(counts[words])
        slots = owners * self.d_sae + latents[places]
        dense = values.new_zeros(len(words) * self.d_sae)
        dense[slots] = values[places]
        return dense.view(len(words), self.d_sae)

    def columns(self, latents: Int[Tensor, " some"]) -> Float[Tensor, "words some"]:
        """The codes of some latents, which must all differ."""
        slots = latents.new_full((self.d_sae,), -1)
        slots[latents] = torch.arange(len(latents), device=latents.device)
        slot = slots[self._codes.latents.long()]
        hit = slot >= 0
        dense = self._codes.values.new_zeros(len(self), len(latents))
        dense[self._owners[hit], slot[hit]] = self._codes.values[hit]
        return dense


class Reading(NamedTuple):
    """What the language model gives at the words' tokens."""

    x: Float[Tensor, "words d_in"]
    in_context: dict[Attempt, SparseCodes]
    """The codes of SAEs of scope `sequence`, for which a word's prompt, without BOS, is the sequence."""

    def codes(self, attempt: Attempt) -> WordCodes:
        """The codes of the words."""
        sae = attempt.sae
        found = self.in_context[attempt] if sae.scope == "sequence" else _encode(sae, self.x)
        finite(found.values, "codes")
        return WordCodes(found, sae.card.d_sae)


def read_prompts(
    context: EvalContext, attempts: Sequence[Attempt], prompts: Sequence[Sequence[int]], *, site: Site, position: int
) -> Reading:
    """Runs the model up to the site, once for each prompt."""
    lm = context.lm
    x = torch.zeros(len(prompts), lm.width(site), device=lm.device)
    whole = [attempt for attempt in attempts if attempt.sae.scope == "sequence"]
    parts: dict[Attempt, list[SparseCodes]] = {attempt: [] for attempt in whole}
    order = torch.tensor([len(ids) for ids in prompts], dtype=torch.long).argsort(stable=True)
    context.progress.expect(len(prompts))
    for batch in order.split(context.batch_size) if prompts else ():
        tokens, places = _padded([prompts[i] for i in batch.tolist()], position)
        tokens, places = tokens.to(lm.device), places.to(lm.device)
        seen = lm.capture(tokens, site).float()
        x[batch.to(lm.device)] = seen[torch.arange(len(batch), device=lm.device), places]
        real = is_real(lm, tokens) & (torch.arange(tokens.shape[1], device=lm.device) < (places - position)[:, None])
        for attempt, found in do_each(lm.device, whole, _encode_in_context, seen, real, places).items():
            parts[attempt].append(found)
        context.progress.advance(len(batch), doing=f"{len(attempts)} SAEs at {site.hook_name}")
    back = order.argsort().to(lm.device)
    return Reading(x, {a: _reordered(found, back) for a, found in parts.items() if a.error is None and found})


def _padded(prompts: Sequence[Sequence[int]], position: int) -> tuple[Tensor, Tensor]:
    """Token rows, padded on the right with any token, and where in each the word stands."""
    tokens = torch.zeros(len(prompts), max(len(ids) for ids in prompts), dtype=torch.long)
    for row, ids in enumerate(prompts):
        tokens[row, : len(ids)] = torch.tensor(ids)
    return tokens, torch.tensor([len(ids) + position for ids in prompts])


def _encode(sae: Sae, x: Float[Tensor, "words d_in"]) -> SparseCodes:
    screen = Screen.of(sae)
    found = screen.encode(x) if screen is not None else None
    if found is not None:
        return found
    return _joined([_sparse(sae.encode(x[part]).float()) for part in pieces(sae, len(x), 1)])


def _encode_in_context(attempt: Attempt, x: Tensor, real: Tensor, places: Tensor) -> SparseCodes:
    sae, parts = attempt.sae, []
    for part in pieces(sae, *x.shape[:2]):
        codes = sae.encode(x[part], mask=real[part])
        parts.append(_sparse(codes[torch.arange(len(codes), device=x.device), places[part]].float()))
    return _joined(parts)


def _sparse(codes: Float[Tensor, "words d_sae"]) -> SparseCodes:
    where = codes.nonzero(as_tuple=True)
    return SparseCodes((codes != 0).sum(dim=1), where[1], codes[where])


def _joined(parts: Sequence[SparseCodes]) -> SparseCodes:
    return SparseCodes(*(torch.cat(values) for values in zip(*parts, strict=True)))


def _reordered(parts: Sequence[SparseCodes], order: Int[Tensor, " words"]) -> SparseCodes:
    codes = _joined(parts)
    places = _places(codes.counts, order)
    return SparseCodes(codes.counts[order], codes.latents[places], codes.values[places])


def _places(counts: Int[Tensor, " words"], words: Int[Tensor, " some"]) -> Int[Tensor, " codes"]:
    """Where the codes of `words` stand among those of all."""
    own = counts[words]
    shift = (counts.cumsum(0) - counts)[words] - (own.cumsum(0) - own)
    return torch.arange(int(own.sum()), device=own.device) + shift.repeat_interleave(own)
