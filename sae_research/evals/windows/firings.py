"""Where chosen latents of SAEs fire in rows of text, from one pass of the language model for all SAEs of a site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sae_research.evals.base import EvalContext
from sae_research.evals.shared.attempts import Attempt, do_each
from sae_research.evals.shared.batches import is_real
from sae_research.lm.site import Site
from sae_research.probes.draws import keyed_generator
from sae_research.saes.encoding import Encoder


class Codes(NamedTuple):
    """The codes of one latent other than 0, in order of rows, then positions."""

    rows: np.ndarray
    positions: np.ndarray
    values: np.ndarray


class Firings(NamedTuple):
    """Where one latent is active, in order of rows, then positions."""

    sign: int
    """1 or -1: the sign of its codes that counts as active, the one with more energy."""
    rows: np.ndarray
    positions: np.ndarray
    activations: np.ndarray
    """The codes times the sign, all above 0."""


def candidate_latents(d_sae: int, n: int, *, seed: int) -> np.ndarray:
    """The first `n` latents of an order that depends on `seed` and `d_sae` alone: SAEs on one dictionary share it."""
    return keyed_generator("judged", seed, "latents", d_sae).permutation(d_sae)[:n]


def drawn_places(d_sae: int, *, seed: int) -> dict[int, int]:
    """The place of each latent in that order."""
    return {latent: place for place, latent in enumerate(candidate_latents(d_sae, d_sae, seed=seed).tolist())}


def find_firings(
    context: EvalContext,
    latents: Mapping[Attempt, np.ndarray],
    rows: Int[Tensor, "row position"],
    *,
    site: Site,
) -> dict[Attempt, list[Firings]]:
    """The firings of each SAE's `latents`, in their order; of SAEs that have not failed."""
    codes = find_codes(context, latents, rows, site=site)
    return {attempt: [_firings(one) for one in of_sae] for attempt, of_sae in codes.items()}


def find_codes(
    context: EvalContext,
    latents: Mapping[Attempt, np.ndarray],
    rows: Int[Tensor, "row position"],
    *,
    site: Site,
) -> dict[Attempt, list[Codes]]:
    """The codes of each SAE's `latents` at real tokens, in their order; of SAEs that have not failed."""
    seekers = {attempt: _Seeker(attempt, chosen) for attempt, chosen in latents.items()}
    context.progress.expect(len(rows))
    for start in range(0, len(rows), context.batch_size):
        tokens = rows[start : start + context.batch_size].to(context.lm.device)
        x, real = context.lm.capture(tokens, site), is_real(context.lm, tokens)
        do_each(context.lm.device, latents, _seek, seekers, x, real, start)
        context.progress.advance(len(tokens), doing=f"{len(latents)} SAEs at {site.hook_name}")
    return {attempt: seekers[attempt].codes() for attempt in latents if attempt.error is None}


def _seek(attempt: Attempt, seekers: Mapping[Attempt, _Seeker], x: Tensor, real: Tensor, first_row: int) -> None:
    seekers[attempt].add(x, real, first_row)


class _Seeker:
    """Collects the codes of some latents, without their zeros."""

    def __init__(self, attempt: Attempt, latents: np.ndarray) -> None:
        self._encoder = Encoder(attempt.sae, attempt.supports)
        self._n = len(latents)
        device = attempt.sae.W_dec.device
        self._slots = torch.full((attempt.sae.card.d_sae,), -1, dtype=torch.int32, device=device)
        self._slots[torch.from_numpy(latents).to(device)] = torch.arange(self._n, dtype=torch.int32, device=device)
        self._parts: list[tuple[Tensor, Tensor, Tensor]] = []

    def add(self, x: Float[Tensor, "row position d"], real: Bool[Tensor, "row position"], first_row: int) -> None:
        """Adds the next rows."""
        places = real.nonzero()
        token = 0
        for codes in self._encoder.encode(x, real):
            slots = self._slots[codes.latents.long()]
            wanted = slots >= 0
            at = places[token + codes.owners[wanted]]
            token += len(codes.counts)
            rows = (at + at.new_tensor([first_row, 0])).int()
            self._parts.append((rows.cpu(), slots[wanted].cpu(), codes.values[wanted].float().cpu()))

    def codes(self) -> list[Codes]:
        """Those of each latent."""
        places, slots, values = (torch.cat(parts).numpy() for parts in zip(*self._parts, strict=True))
        order = np.lexsort((places[:, 1], places[:, 0], slots))
        ends = np.searchsorted(slots[order], np.arange(self._n + 1))
        chosen = (order[a:b] for a, b in pairwise(ends))
        return [Codes(places[some, 0], places[some, 1], values[some]) for some in chosen]


def _firings(codes: Codes) -> Firings:
    energy = np.square(codes.values.astype(np.float64)) * np.sign(codes.values)
    sign = 1 if energy.sum() >= 0 else -1
    active = codes.values * sign > 0
    return Firings(sign, codes.rows[active], codes.positions[active], codes.values[active] * sign)


def share_of_negative(firings: Sequence[Firings]) -> float:
    """The share of latents whose negative codes count as active."""
    return float(np.mean([one.sign < 0 for one in firings])) if firings else 0.0
