"""Codes of words, sparse: the model reads each prompt once, each SAE encodes each word once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_research.device_memory import free_memory
from sae_research.evals.base import EvalContext
from sae_research.evals.shared.attempts import Attempt, do_each
from sae_research.evals.shared.batches import is_real
from sae_research.lm.site import Site
from sae_research.saes.codes import SparseCodes, joined
from sae_research.saes.encoding import Encoder

# Up to this many codes are held densely too, for speed: 256 MiB in float32, or on a GPU a share of its free memory.
_DENSE_ELEMENTS = 2**26
_DENSE_SHARE = 1 / 8


class WordCodes:
    """The codes of one SAE, one row per word."""

    def __init__(self, codes: SparseCodes, d_sae: int) -> None:
        self._codes = codes
        self.d_sae = d_sae
        is_small = len(codes.counts) * d_sae <= _most_dense(codes.counts.device)
        self._dense = codes.dense(d_sae) if is_small else None

    def rows(self, words: Int[Tensor, " some"]) -> Float[Tensor, "some d_sae"]:
        """The codes of some words."""
        return self._codes.take(words).dense(self.d_sae) if self._dense is None else self._dense[words]

    def columns(self, latents: Int[Tensor, " some"]) -> Float[Tensor, "words some"]:
        """The codes of some latents, which must all differ."""
        return self._codes.columns(latents, self.d_sae)


class Reading(NamedTuple):
    """Activations, and codes in context, at the words' tokens."""

    x: Float[Tensor, "words d_in"]
    in_context: Mapping[Attempt, SparseCodes]
    """The codes of SAEs of scope `sequence`; the sequence is the word's prompt without BOS."""

    def codes(self, attempt: Attempt) -> WordCodes:
        """The codes of the words."""
        sae = attempt.sae
        if sae.scope == "sequence":
            return WordCodes(self.in_context[attempt], sae.card.d_sae)
        every_word = torch.ones(len(self.x), dtype=torch.bool, device=self.x.device)
        return WordCodes(joined(Encoder(sae).encode(self.x, every_word)), sae.card.d_sae)


def read_prompts(
    context: EvalContext, attempts: Sequence[Attempt], prompts: Sequence[Sequence[int]], *, site: Site, position: int
) -> Reading:
    """Runs the model up to the site, once per prompt."""
    lm = context.lm
    x = torch.zeros(len(prompts), lm.width(site), device=lm.device)
    encoders = {
        attempt: Encoder(attempt.sae, attempt.supports) for attempt in attempts if attempt.sae.scope == "sequence"
    }
    parts: dict[Attempt, list[SparseCodes]] = {attempt: [] for attempt in encoders}

    def encode(attempt: Attempt, x: Tensor, real: Tensor, words: Tensor) -> SparseCodes:
        return joined(encoders[attempt].encode(x, real, wanted=words))

    order = torch.tensor([len(ids) for ids in prompts], dtype=torch.long).argsort(stable=True)
    context.progress.expect(len(prompts))
    for batch in order.split(context.batch_size) if prompts else ():
        tokens, places = _padded([prompts[i] for i in batch.tolist()], position)
        tokens, places = tokens.to(lm.device), places.to(lm.device)
        read = lm.capture(tokens, site).float()
        positions = torch.arange(tokens.shape[1], device=lm.device)
        words = positions == places[:, None]
        x[batch.to(lm.device)] = read[words]
        # With position -2, the word of a prompt of 5 tokens is at place 3, so 3 - (-2) = 5 is where padding begins.
        real = is_real(lm, tokens) & (positions < (places - position)[:, None])
        for attempt, codes in do_each(lm.device, encoders, encode, read, real, words).items():
            parts[attempt].append(codes)
        context.progress.advance(len(batch), doing=f"{len(attempts)} SAEs at {site.hook_name}")
    back = order.argsort().to(lm.device)
    return Reading(x, {a: joined(codes).take(back) for a, codes in parts.items() if a.error is None and codes})


def _most_dense(device: torch.device) -> int:
    if device.type == "cpu":
        return _DENSE_ELEMENTS
    return max(_DENSE_ELEMENTS, int(_DENSE_SHARE * free_memory(device)) // 4)


def _padded(prompts: Sequence[Sequence[int]], position: int) -> tuple[Tensor, Tensor]:
    """Token rows, padded on the right with an arbitrary token, and the position of the word in each."""
    tokens = torch.zeros(len(prompts), max(len(ids) for ids in prompts), dtype=torch.long)
    for row, ids in enumerate(prompts):
        tokens[row, : len(ids)] = torch.tensor(ids)
    return tokens, torch.tensor([len(ids) + position for ids in prompts])
