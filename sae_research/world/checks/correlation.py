"""Spurious-correlation removal to SAEBench's definition: how far a trained SAE is ahead of a random one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sae_research.probes.lbfgs import minimise_columns
from sae_research.saes.base import Sae
from sae_research.world.checks.bar import Bar, bootstrapped, resamples
from sae_research.world.checks.subject import Subject

_PAIRS = ((21, 13), (2, 26), (1, 11), (25, 22))
"""SAEBench's pairs of professions."""
_REQUIRED = {2: None, 20: 0.30}
"""By number of ablated latents. Two cannot do it: gender is said by two dozen words, and its latents are as many."""


_Hits = dict[str, np.ndarray]


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
    """The probes with and without the bias, and what the ablations win back; all are means over the pairs."""
    saes = {"trained": subject.sae("sae-topk/k16"), "random": subject.sae("sae-random/k16")}
    found = [_measured(subject, pair, saes) for pair in _PAIRS]
    samples = [resamples(len(hits["clean"]), seed=subject.seed + i) for i, hits in enumerate(found)]

    def bar(name: str, statistic: Callable[[_Hits], float], required: float | None = None) -> Bar:
        value = np.mean([statistic(hits) for hits in found])
        redrawn = [
            [statistic({n: h[rows] for n, h in hits.items()}) for rows in s]
            for hits, s in zip(found, samples, strict=True)
        ]
        return Bar(name, bootstrapped(float(value), np.mean(redrawn, axis=0)), at_least=required)

    return [
        bar("SCR, the biased probe's loss of accuracy", lambda h: float(h["clean"].mean() - h["biased"].mean()), 0.10),
        *(bar(f"SCR n={n}, trained minus random", partial(_difference, n=n), r) for n, r in _REQUIRED.items()),
    ]


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


def _measured(subject: Subject, pair: tuple[int, int], saes: dict[str, Sae]) -> _Hits:
    """Which test texts each probe gets right: with the bias, without, and with the bias after each ablation."""
    train, test = (_quadrants(subject, split, pair, saes) for split in ("train", "test"))
    x, x_test = train.pooled["residual"], test.pooled["residual"]
    spurious = _fit(x[train.biased], train.first[train.biased])
    gender = _fit(x, train.female)
    hits = {"biased": spurious.hits(x_test, test.first), "clean": _fit(x, train.first).hits(x_test, test.first)}
    for name, sae in saes.items():
        for n in _REQUIRED:
            latents = _most_gendered(train, name, sae, gender, n)
            ablated = x_test - test.pooled[name][:, latents] @ sae.W_dec[latents]
            hits[f"{name} {n}"] = spurious.hits(ablated, test.first)
    return hits


def _most_gendered(train: _Quadrants, name: str, sae: Sae, gender: _Probe, n: int) -> Tensor:
    codes = train.pooled[name]
    difference = codes[train.female].mean(0) - codes[~train.female].mean(0)
    return (difference * (sae.W_dec @ gender.weight)).abs().topk(n).indices


def _difference(hits: _Hits, *, n: int) -> float:
    """Difference of the shares of the biased probe's loss that the ablations win back."""
    gap = float(hits["clean"].mean() - hits["biased"].mean())
    return float(hits[f"trained {n}"].mean() - hits[f"random {n}"].mean()) / gap if gap > 1e-3 else 0.0
