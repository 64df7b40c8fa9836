"""What chosen latents do on texts: one pass over the texts of all SAEs of a site, each text once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sae_research.evals.base import EvalContext
from sae_research.evals.shared.attempts import Attempt, do_each
from sae_research.evals.shared.batches import is_real
from sae_research.lm.site import Site
from sae_research.lm.tokens import bos_id
from sae_research.saes.encoding import Encoder

_ELEMENTS_AT_ONCE = 2**24
"""Activations of the model that are held for the SAEs to encode: 64 MiB in float32."""


class Tokens(NamedTuple):
    """A text as the model reads it."""

    ids: tuple[int, ...]
    """BOS first."""
    ends: tuple[int, ...]
    """Where in the text each token but BOS ends; empty where the tokenizer does not tell."""
    is_cut: bool
    """Whether the text has more tokens."""


class Asking(NamedTuple):
    """What is wanted of one SAE: pairs of a text and a latent, none twice."""

    texts: np.ndarray
    """The number of each pair's text."""
    latents: np.ndarray
    signs: np.ndarray
    """1 or -1 for each pair: the sign of the code that counts as active."""


class Active(NamedTuple):
    """Where the latent of a pair is active on its text."""

    places: np.ndarray
    """The numbers of the tokens but BOS, from 0, rising."""
    activations: np.ndarray

    @property
    def largest(self) -> float:
        """0 where it is nowhere active."""
        return float(self.activations.max()) if len(self.activations) else 0.0


def tokenize(tokenizer: Any, texts: Sequence[str], *, longest: int) -> list[Tokens]:
    """Each text after BOS, cut to `longest` tokens in all."""
    if not texts:
        return []
    bos = bos_id(tokenizer)
    knows_places = bool(tokenizer.is_fast)
    encoded = tokenizer(list(texts), add_special_tokens=False, return_offsets_mapping=knows_places, verbose=False)
    ends = [[end for _, end in of_text] for of_text in encoded["offset_mapping"]] if knows_places else [[]] * len(texts)
    return [
        Tokens((bos, *ids[: longest - 1]), tuple(of_text[: longest - 1]), len(ids) > longest - 1)
        for ids, of_text in zip(encoded["input_ids"], ends, strict=True)
    ]


def find_activations(
    context: EvalContext, asking: Mapping[Attempt, Asking], texts: Sequence[Tokens], *, site: Site, longest: int
) -> dict[Attempt, list[Active]]:
    """By SAE that has not failed, where the latents of its pairs are active, in the order of the pairs."""
    readers = {attempt: _Reader(attempt, of_sae) for attempt, of_sae in asking.items()}
    context.progress.expect(len(texts))
    for numbers in _chunks(texts, width=context.lm.width(site)):
        x, real = _read(context, [texts[i].ids for i in numbers], site, longest)
        place_of = np.full(len(texts), -1)
        place_of[numbers] = np.arange(len(numbers))
        do_each(context.lm.device, asking, _encode, readers, x, real, place_of)
        context.progress.advance(len(numbers), doing=f"texts for {len(asking)} SAEs at {site.hook_name}")
    return {attempt: readers[attempt].active() for attempt in asking if attempt.error is None}


def _chunks(texts: Sequence[Tokens], *, width: int) -> Iterator[list[int]]:
    """The numbers of the texts by rising length, as many at a time as may be held."""
    chunk: list[int] = []
    for number in sorted(range(len(texts)), key=lambda i: len(texts[i].ids)):
        # The last text of a chunk is its longest.
        if chunk and (len(chunk) + 1) * len(texts[number].ids) * width > _ELEMENTS_AT_ONCE:
            yield chunk
            chunk = []
        chunk.append(number)
    if chunk:
        yield chunk


def _read(
    context: EvalContext, rows: Sequence[Sequence[int]], site: Site, longest: int
) -> tuple[Float[Tensor, "row position d"], Bool[Tensor, "row position"]]:
    """The model's activations on some rows, padded on the right, and which tokens are real."""
    lm = context.lm
    length = max(map(len, rows))
    tokens = torch.full((len(rows), length), int(lm.tokenizer.pad_token_id))  # type: ignore[arg-type]
    for row, ids in enumerate(rows):
        tokens[row, : len(ids)] = torch.tensor(ids)
    tokens = tokens.to(lm.device)
    at_once = max(1, context.batch_size * longest // length)
    # No token sees what follows it, so padding changes nothing.
    x = torch.cat([lm.capture(part, site) for part in tokens.split(at_once)])
    return x, is_real(lm, tokens)


def _encode(attempt: Attempt, readers: Mapping[Attempt, _Reader], x: Tensor, real: Tensor, places: np.ndarray) -> None:
    readers[attempt].add(x, real, places)


class _Reader:
    """Collects where the latents of one SAE's pairs are active."""

    def __init__(self, attempt: Attempt, asking: Asking) -> None:
        self._encoder = Encoder(attempt.sae, attempt.supports)
        self._asking = asking
        self._d_sae = attempt.sae.card.d_sae
        wanted = np.unique(asking.latents)
        self._is_wanted = torch.zeros(self._d_sae, dtype=torch.bool)
        self._is_wanted[torch.from_numpy(wanted)] = True
        self._is_wanted = self._is_wanted.to(attempt.sae.W_dec.device)
        # Pairs by text, then latent, so that a code finds its pair.
        self._keys = asking.texts.astype(np.int64) * self._d_sae + asking.latents
        self._order = np.argsort(self._keys, kind="stable")
        self._texts = np.unique(asking.texts)
        self._parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def add(self, x: Float[Tensor, "row position d"], real: Bool[Tensor, "row position"], place_of: np.ndarray) -> None:
        """Encodes those rows of a chunk that this SAE asks for; `place_of` is the row of each text, -1 for none."""
        texts = self._texts[place_of[self._texts] >= 0]
        if not len(texts):
            return
        rows = torch.from_numpy(place_of[texts]).to(x.device)
        x, real = x[rows], real[rows]
        at = real.nonzero()
        token = 0
        for codes in self._encoder.encode(x, real):
            wanted = self._is_wanted[codes.latents.long()]
            places = at[token + codes.owners[wanted]].cpu().numpy()
            token += len(codes.counts)
            latents = codes.latents[wanted].cpu().numpy().astype(np.int64)
            self._keep(texts[places[:, 0]] * self._d_sae + latents, places[:, 1], codes.values[wanted].float().cpu())

    def _keep(self, keys: np.ndarray, positions: np.ndarray, values: Float[Tensor, " code"]) -> None:
        """Those codes whose text and latent are a pair."""
        order, activations = self._order, values.numpy()
        sorted_keys = self._keys[order]
        at = np.minimum(np.searchsorted(sorted_keys, keys), len(order) - 1)
        pairs = order[at]
        activations = activations * self._asking.signs[pairs]
        kept = (sorted_keys[at] == keys) & (activations > 0)
        # Position 0 is BOS.
        self._parts.append((pairs[kept], positions[kept] - 1, activations[kept]))

    def active(self) -> list[Active]:
        """That of each pair."""
        n = len(self._keys)
        none = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
        pairs, places, activations = (np.concatenate(parts) for parts in zip(none, *self._parts, strict=True))
        order = np.lexsort((places, pairs))
        ends = np.searchsorted(pairs[order], np.arange(n + 1))
        return [Active(places[order[a:b]], activations[order[a:b]]) for a, b in pairwise(ends)]
