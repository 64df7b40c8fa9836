"""Runs of two SAEs whose true scores are known, under evals that draw texts and train probes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmarks.simulated_scores import Rng, SimulatedRun
from sae_research.data.labelled import LabelledSet
from sae_research.data.paired import PairedSet, Quadrants
from sae_research.evals.scr.report import DIRECTIONS, PairProbes, score_pair, scr_output
from sae_research.evals.shared.ablation_settings import Ablations
from sae_research.evals.sparse_probing.report import ProbeScores, probing_output
from sae_research.evals.tpp.report import TppHits, score_set, tpp_output
from sae_research.metrics.accuracies import ProbeTest

_NO_TEXTS = Quadrants([], [], [], [])


class Draws(NamedTuple):
    """What each seed draws: texts from a pool, and probes that are better or worse than others."""

    seeds: int
    pool: int
    """Texts of a class that may be drawn."""
    spread: float
    """The deviation of an accuracy over draws of training texts; common to both SAEs but for a fifth of it."""

    def shifts(self, rng: Rng) -> np.ndarray:
        """(SAE, seed): by how much the draw changes an accuracy."""
        common, individual = rng.normal(size=self.seeds), rng.normal(size=(2, self.seeds))
        return self.spread * (np.sqrt(0.8) * common + np.sqrt(0.2) * individual)

    def mean_true(self, levels: Sequence[float], shifts: Sequence[np.ndarray]) -> tuple[float, float]:
        """The expected mean of both SAEs' scores over sets with these shifts; of the one draw, where there is one."""
        of_draw = np.mean([shift[:, 0] for shift in shifts], axis=0) if self.seeds == 1 else np.zeros(2)
        one, two = (level + float(shift) for level, shift in zip(levels, of_draw, strict=True))
        return one, two


def _right(rng: Rng, hard: np.ndarray, accuracies: Sequence[float]) -> list[np.ndarray]:
    """Of each probe, whether it gets each text right; `hard` is between 0 and 1."""
    common, noise = rng.random(len(hard)), rng.random((len(accuracies), len(hard)))
    shared = rng.random((len(accuracies), len(hard))) < 0.7
    draws = np.where(shared, common, noise)
    return [draw >= 2 * (1 - accuracy) * hard for draw, accuracy in zip(draws, accuracies, strict=True)]


def probing_run(rng: Rng, metric: str, *, draws: Draws, classes: int = 4, size: int = 200) -> SimulatedRun:
    """Two data sets; half of a class's `size` test texts are of the other classes."""
    levels, shifts = (0.85, 0.87), [draws.shifts(rng) for _ in range(2)]
    scores: list[dict[str, dict[int, ProbeScores]]] = [{}, {}]
    for name, shift in zip("ab", shifts, strict=True):
        hard = rng.random((classes, draws.pool))
        for seed in range(draws.seeds):
            tests: list[dict[str, ProbeTest]] = [{}, {}]
            drawn = [rng.choice(draws.pool, size // 2, replace=False) + c * draws.pool for c in range(classes)]
            for c in range(classes):
                others = np.concatenate([texts for other, texts in enumerate(drawn) if other != c])
                texts = np.concatenate([drawn[c], rng.choice(others, size // 2, replace=False)])
                accuracies = [level + shift[sae, seed] for sae, level in enumerate(levels)]
                for of_sae, hits in zip(tests, _right(rng, hard.reshape(-1)[texts], accuracies), strict=True):
                    of_sae[str(c)] = ProbeTest(hits, texts)
            for of_sae, by_class in zip(scores, tests, strict=True):
                of_sae.setdefault(name, {})[seed] = ProbeScores(by_class, {1: by_class})
    one, two = (probing_output(of_sae, scores[0], [1]).measurements for of_sae in scores)
    return SimulatedRun((one, two), draws.mean_true(levels, shifts))


def scr_run(rng: Rng, metric: str, *, draws: Draws, size: int = 200) -> SimulatedRun:
    """Three pairs, each with a gap of .25 in direction 1, of which an ablation closes some 40 %."""
    levels, n_pairs, n_values = (0.4, 0.45), 3, (2,)
    outputs: list[list[Any]] = [[], []]
    all_probes, shifts = [], [draws.shifts(rng) for _ in range(n_pairs)]
    for number, shift in enumerate(shifts):
        paired = PairedSet("set", (f"a{number}", "b"), _NO_TEXTS, _NO_TEXTS)
        hard, probes = rng.random(draws.pool), {}
        hits: list[dict[int, dict[int, np.ndarray]]] = [{}, {}]
        for seed in range(draws.seeds):
            texts = rng.choice(draws.pool, size, replace=False)
            closed = [level + 4 * shift[sae, seed] for sae, level in enumerate(levels)]
            clean, biased, *ablated = _right(rng, hard[texts], [0.95, 0.7, *(0.7 + 0.25 * c for c in closed)])
            better = np.ones(size)
            by_direction = [{1: values.astype(float), 2: better} for values in (clean, biased)]
            probes[seed] = PairProbes(by_direction[0], by_direction[1], texts)
            for of_sae, right in zip(hits, ablated, strict=True):
                of_sae[seed] = {d: right.astype(float)[None] for d in DIRECTIONS}
        all_probes.append(probes)
        for output, of_sae in zip(outputs, hits, strict=True):
            output.append(score_pair(paired, probes, of_sae, n_values, "clean"))
    one, two = (scr_output(output, all_probes, Ablations(n_values, {})).measurements for output in outputs)
    return SimulatedRun((one, two), draws.mean_true(levels, [4 * shift for shift in shifts]))


def tpp_run(rng: Rng, metric: str, *, draws: Draws, classes: int = 4, size: int = 100) -> SimulatedRun:
    """One data set; an ablation costs the class's own probe some 20 % and the others 5 %."""
    levels, shift = (0.2, 0.22), draws.shifts(rng)
    hard = rng.random((classes, draws.pool)).reshape(-1)
    hits: list[dict[int, TppHits]] = [{}, {}]
    for seed in range(draws.seeds):
        texts = np.concatenate(
            [rng.choice(draws.pool, size // 2, replace=False) + c * draws.pool for c in range(classes)]
        )
        counts = np.repeat(np.eye(classes, dtype=bool), size // 2, axis=0)
        counts |= rng.random(counts.shape) < 1 / (classes - 1)
        clean = np.stack(_right(rng, hard[texts], [0.9] * classes), axis=1)
        for sae, of_sae in enumerate(hits):
            loss = np.full((classes, classes), 0.05) + np.eye(classes) * (levels[sae] - 0.05 + shift[sae, seed])
            ablated = np.stack(_right(rng, hard[texts], (0.9 - loss).reshape(-1)), axis=1)
            ablated = ablated.reshape(-1, classes, 1, classes)
            of_sae[seed] = TppHits(clean, ablated, counts, counts[:, None, None], texts, (True,))
    labelled = LabelledSet("set", "", {}, {str(c): [] for c in range(classes)}, {})
    one, two = (tpp_output([score_set(labelled, of_sae, (2,))], Ablations((2,), {})).measurements for of_sae in hits)
    return SimulatedRun((one, two), draws.mean_true([level - 0.05 for level in levels], [shift]))
