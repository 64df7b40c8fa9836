"""Spurious-correlation removal with two latents: a trained SAE against a random one, to SAEBench's definition."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sae_research.metrics.intervals import Estimate
from sae_research.probes.lbfgs import minimise_columns
from sae_research.saes.base import Sae
from sae_research.world.checks.bar import Bar, bootstrapped, resamples
from sae_research.world.checks.subject import Subject
from sae_research.world.families.bios import PROFESSIONS

_PAIRS = ((21, 13), (2, 26))
_N_ABLATED = 2


class _Quadrants(NamedTuple):
    """Pooled activations and codes of two professions' bios, with who is of the first and who is female."""

    pooled: dict[str, Float[Tensor, "text width"]]
    first: Tensor
    female: Tensor

    @property
    def biased(self) -> Tensor:
        """The texts of the spurious corner: men of the first profession, women of the second."""
        return self.first != self.female


class _Probe(NamedTuple):
    weight: Float[Tensor, " d"]
    bias: Tensor

    def hits(self, x: Tensor, target: Tensor) -> np.ndarray:
        return ((x @ self.weight + self.bias > 0) == target).double().numpy()


def correlation_bars(subject: Subject) -> list[Bar]:
    """One bar per pair of professions."""
    saes = {"trained": subject.sae("sae-topk/k16"), "random": subject.sae("sae-random/k16")}
    bars = []
    for pair in _PAIRS:
        train, test = (_quadrants(subject, split, pair, saes) for split in ("train", "test"))
        estimate = _trained_minus_random(train, test, saes, seed=subject.seed)
        names = " / ".join(PROFESSIONS[p] for p in pair)
        bars.append(Bar(f"SCR n=2, trained minus random, {names}", estimate, at_least=0.40))
    return bars


def _quadrants(subject: Subject, split: str, pair: tuple[int, int], saes: dict[str, Sae]) -> _Quadrants:
    rows = [r for r in subject.rows("bios", split, ["hard_text", "profession", "gender"]) if r["profession"] in pair]
    return _Quadrants(
        subject.pooled([row["hard_text"] for row in rows], saes),
        torch.tensor([row["profession"] == pair[0] for row in rows]),
        torch.tensor([row["gender"] == 1 for row in rows]),
    )


def _fit(x: Tensor, target: Tensor) -> _Probe:
    targets = target[:, None].double()
    found = minimise_columns(x.double(), targets, torch.ones_like(targets))
    return _Probe(found.weights[:, 0].float(), found.biases[0].float())


def _trained_minus_random(train: _Quadrants, test: _Quadrants, saes: dict[str, Sae], *, seed: int) -> Estimate:
    """Difference of the shares of the biased probe's loss that the ablations win back."""
    x, x_test = train.pooled["residual"], test.pooled["residual"]
    spurious = _fit(x[train.biased], train.first[train.biased])
    gender = _fit(x, train.female)
    hits = {"biased": spurious.hits(x_test, test.first), "clean": _fit(x, train.first).hits(x_test, test.first)}
    for name, sae in saes.items():
        latents = _most_gendered(train, name, sae, gender)
        ablated = x_test - test.pooled[name][:, latents] @ sae.W_dec[latents]
        hits[name] = spurious.hits(ablated, test.first)
    samples = resamples(len(x_test), seed=seed)
    return bootstrapped(_difference(hits), [_difference({n: h[rows] for n, h in hits.items()}) for rows in samples])


def _most_gendered(train: _Quadrants, name: str, sae: Sae, gender: _Probe) -> Tensor:
    codes = train.pooled[name]
    difference = codes[train.female].mean(0) - codes[~train.female].mean(0)
    return (difference * (sae.W_dec @ gender.weight)).abs().topk(_N_ABLATED).indices


def _difference(hits: dict[str, np.ndarray]) -> float:
    means = {name: float(values.mean()) for name, values in hits.items()}
    gap = means["clean"] - means["biased"]
    return (means["trained"] - means["random"]) / gap if gap > 1e-3 else 0.0
