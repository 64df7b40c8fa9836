"""The three probes of a pair: of its groups, of its classes, and the biased one that cannot tell these apart."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_research.data.paired import Quadrants
from sae_research.probes.draws import draw_held_out
from sae_research.probes.sae_bench import LinearProbes, SaeBenchRecipe, SaeBenchStart, draw_start, draw_two_sides
from sae_research.probes.tasks import TaskRows
from sae_research.probes.wide import fit_wide

GROUP, CLASS, BIASED = range(3)
"""The places of the probes; also the order in which SAEBench trains them."""


class PairTexts(NamedTuple):
    """A split's texts in the order of their rows: the balanced sample by quadrant, then the rest of the biased ones."""

    balanced: list[str]
    rest: list[str]

    @classmethod
    def of(cls, split: Quadrants) -> PairTexts:
        """The texts of `split`."""
        n = split.n
        return cls(
            [*split.first_first[:n], *split.first_second, *split.second_first, *split.second_second[:n]],
            [*split.first_first[n:], *split.second_second[n:]],
        )

    @property
    def n(self) -> int:
        """Texts of each quadrant in the balanced sample."""
        return len(self.balanced) // 4

    def sides(self, probe: int) -> tuple[Int[Tensor, " rows"], Int[Tensor, " rows"]]:
        """The rows of both sides of a probe's task in the order of SAEBench's lists, the positive side first."""
        n = self.n
        first_first, first_second, second_first, second_second, more_first, more_second = torch.arange(6 * n).split(n)
        if probe == GROUP:
            return torch.cat([first_first, second_first]), torch.cat([first_second, second_second])
        if probe == CLASS:
            return torch.cat([first_first, first_second]), torch.cat([second_first, second_second])
        return torch.cat([first_first, more_first]), torch.cat([second_second, more_second])

    def tasks(self) -> TaskRows:
        """The rows of the balanced sample as one task for the groups and one for the classes."""
        rows = torch.stack([torch.cat(self.sides(probe)) for probe in (GROUP, CLASS)])
        positive = torch.arange(rows.shape[1]) < rows.shape[1] // 2
        return TaskRows(rows, positive.expand(2, -1), rows.shape[1])


def fit_keyed(x: Float[Tensor, "train_rows d"], texts: PairTexts, key: tuple[str | int, ...]) -> LinearProbes:
    """The three probes as convex problems; their regularisation is chosen on a keyed fifth of each quadrant."""
    positive, counts = torch.zeros(2, len(x), 3, dtype=torch.bool, device=x.device)
    for probe in (GROUP, CLASS, BIASED):
        sides = texts.sides(probe)
        positive[sides[0].to(x.device), probe] = True
        counts[torch.cat(sides).to(x.device), probe] = True
    held_out = np.concatenate([draw_held_out(texts.n, 0.2, key=(*key, block)) for block in range(6)])
    probes = fit_wide(x.double(), positive, counts, torch.from_numpy(held_out).to(x.device))
    return LinearProbes(probes.weights.T, probes.biases)


class SaeBenchStream:
    """SAEBench's random stream over a run with empty caches, which trains the probes of one pair after another."""

    def __init__(self, seed: int, *, n_ablations: int, recipe: SaeBenchRecipe) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._seed, self._n_ablations, self.recipe = seed, n_ablations, recipe

    def starts(self, train: PairTexts, test: PairTexts, d: int) -> list[SaeBenchStart]:
        """Where the three probes of the next pair start; leaves the stream where the pair after it begins."""
        train_lists, test_lists = _shuffled_lists(train, self._seed), _shuffled_lists(test, self._seed)
        starts = []
        for probe in (GROUP, CLASS, BIASED):
            for positive, negative in ((0, 1), (1, 0)):
                train_rows = draw_two_sides(train_lists[probe][positive], train_lists[probe][negative], self._generator)
                test_rows = draw_two_sides(test_lists[probe][positive], test_lists[probe][negative], self._generator)
                start = draw_start(train_rows, test_rows, d, self.recipe, self._generator)
                if positive == 0:  # SAEBench trains the reversed probes too, and never uses them.
                    starts.append(start)
        # The draws of clean accuracies, effects and ablations only shuffle whole sets, but they move the stream.
        train_sides, test_sides = train_lists[GROUP], test_lists[GROUP]
        for sides in [*[test_sides] * 6, *[train_sides] * 3, *[test_sides] * (3 * self._n_ablations * 6)]:
            draw_two_sides(*sides, self._generator)
        return starts


def _shuffled_lists(texts: PairTexts, seed: int) -> list[tuple[Tensor, Tensor]]:
    """Both sides of each probe's rows as SAEBench's lists, after its shuffles of one split."""
    generator = np.random.default_rng(seed)
    shuffled = []
    for probe in (GROUP, CLASS, BIASED):
        sides = [side.tolist() for side in texts.sides(probe)]
        for side in sides:
            generator.shuffle(side)
        shuffled.append((torch.tensor(sides[0]), torch.tensor(sides[1])))
    return shuffled
