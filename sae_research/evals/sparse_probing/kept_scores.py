"""Probes' scores as tensors by name, and back: `<seed>/<k, or wide>/<hits or examples>/<class>`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sae_research.evals.sparse_probing.report import ProbeScores, ScoresBySeed
from sae_research.metrics.accuracies import ProbeTest
from sae_research.probes.tasks import ClassTests

_WIDE = "wide"


def scores_as_tensors(scores: ScoresBySeed) -> dict[str, Tensor]:
    """All scores; a class that no probe of a kind was trained for has no name among them."""
    tensors: dict[str, Tensor] = {}
    for seed, of_seed in scores.items():
        for probe, tests in {_WIDE: of_seed.wide, **of_seed.top}.items():
            for number, (name, test) in enumerate(tests.items()):
                place = f"{seed}/{probe}"
                # The number keeps the order of classes: a file lists its names in an order of its own.
                tensors[f"{place}/hits/{number}/{name}"] = torch.from_numpy(test.hits)
                tensors[f"{place}/examples/{number}/{name}"] = torch.from_numpy(test.examples)
    return tensors


def scores_from_tensors(tensors: Mapping[str, Tensor], seeds: Sequence[int]) -> ScoresBySeed:
    """What `scores_as_tensors` was called with."""
    arrays: dict[str, dict[str, dict[str, dict[tuple[int, str], Tensor]]]] = {}
    for name, tensor in tensors.items():
        seed, probe, what, number, of_class = name.split("/", 4)
        by_class = arrays.setdefault(seed, {}).setdefault(probe, {}).setdefault(what, {})
        by_class[int(number), of_class] = tensor
    scores = {}
    for seed in seeds:
        probes = {probe: _tests(by_name) for probe, by_name in arrays.get(str(seed), {}).items()}
        wide = probes.pop(_WIDE, {})
        scores[seed] = ProbeScores(
            wide, {int(k): tests for k, tests in sorted(probes.items(), key=lambda p: int(p[0]))}
        )
    return scores


def _tests(arrays: Mapping[str, Mapping[tuple[int, str], Tensor]]) -> ClassTests:
    return {
        place[1]: ProbeTest(arrays["hits"][place].numpy(), arrays["examples"][place].numpy())
        for place in sorted(arrays["hits"])
    }
