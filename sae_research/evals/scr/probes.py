"""The probes of spurious-correlation removal, of the pair's classes, of its groups, and the biased one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_research.data.paired import Quadrants
from sae_research.probes.draws import draw_held_out, keyed_generator
from sae_research.probes.sae_bench import LinearProbes, SaeBenchRecipe, SaeBenchStart, draw_start, draw_two_sides
from sae_research.probes.tasks import Split
from sae_research.probes.wide import fit_wide

GROUP, CLASS, BIASED = range(3)
"""The places of the probes; also the order in which SAEBench trains them."""


class Layout(NamedTuple):
    """Where a split's texts stand: the balanced sample, quadrant by quadrant, then the rest of the biased ones."""

    balanced: list[str]
    rest: list[str]

    @classmethod
    def of(cls, split: Quadrants) -> Layout:
        """The layout of `split`."""
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
        """The rows of both sides of a probe's task, in the order of SAEBench's lists; the positive side first."""
        n = self.n
        first_first, first_second, second_first, second_second, more_first, more_second = torch.arange(6 * n).split(n)
        if probe == GROUP:
            return torch.cat([first_first, second_first]), torch.cat([first_second, second_second])
        if probe == CLASS:
            return torch.cat([first_first, first_second]), torch.cat([second_first, second_second])
        return torch.cat([first_first, more_first]), torch.cat([second_second, more_second])

    def tasks(self) -> Split:
        """The rows of the balanced sample as a task for the groups and one for the classes."""
        rows = torch.stack([torch.cat(self.sides(probe)) for probe in (GROUP, CLASS)])
        positive = torch.arange(rows.shape[1]) < rows.shape[1] // 2
        return Split(rows, positive.expand(2, -1), rows.shape[1])


def fit_keyed(x: Float[Tensor, "train_rows d"], layout: Layout, key: tuple[str | int, ...]) -> LinearProbes:
    """The three probes as convex problems; their strength is chosen on a keyed fifth of each quadrant."""
    positive, counts = torch.zeros(2, len(x), 3, dtype=torch.bool, device=x.device)
    for probe in (GROUP, CLASS, BIASED):
        sides = layout.sides(probe)
        positive[sides[0].to(x.device), probe] = True
        counts[torch.cat(sides).to(x.device), probe] = True
    held = np.concatenate([draw_held_out(layout.n, 0.2, key=(*key, block)) for block in range(6)])
    found = fit_wide(x.double(), positive, counts, torch.from_numpy(held).to(x.device))
    return LinearProbes(found.weights.T, found.biases)


def shuffled_rows(n: int, key: tuple[str | int, ...]) -> np.ndarray:
    """An order of test texts in which neighbours have nothing in common: what replicates leave out one by one."""
    return keyed_generator(*key, "order").permutation(n)


class SaeBenchStream:
    """SAEBench's random stream over a run with empty caches, in which it trains the probes of all pairs in turn."""

    def __init__(self, seed: int, *, n_ablations: int, recipe: SaeBenchRecipe) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._seed, self._n_ablations, self.recipe = seed, n_ablations, recipe

    def starts(self, train: Layout, test: Layout, d: int) -> list[SaeBenchStart]:
        """What the three probes of the next pair start from, the stream left where the pair after it begins."""
        seen, asked = _shuffled_lists(train, self._seed), _shuffled_lists(test, self._seed)
        starts = []
        for probe in (GROUP, CLASS, BIASED):
            for positive, negative in ((0, 1), (1, 0)):
                trained = draw_two_sides(seen[probe][positive], seen[probe][negative], self._generator)
                tested = draw_two_sides(asked[probe][positive], asked[probe][negative], self._generator)
                start = draw_start(trained, tested, d, self.recipe, self._generator)
                if positive == 0:  # The reversed probes are never asked.
                    starts.append(start)
        self._pass_by(seen[GROUP], asked[GROUP])
        return starts

    def _pass_by(self, train: Sequence[Tensor], test: Sequence[Tensor]) -> None:
        """The draws of clean accuracies, effects and ablations, which decide nothing, for they order whole sets."""
        once = [*[test] * 6, *[train] * 3, *[test] * (3 * self._n_ablations * 6)]
        for positives, negatives in once:
            draw_two_sides(positives, negatives, self._generator)


def _shuffled_lists(layout: Layout, seed: int) -> list[tuple[Tensor, Tensor]]:
    """Both sides of each probe's rows as SAEBench's lists, after its shuffles of one split."""
    generator = np.random.default_rng(seed)
    shuffled = []
    for probe in (GROUP, CLASS, BIASED):
        sides = [side.tolist() for side in layout.sides(probe)]
        for side in sides:
            generator.shuffle(side)
        shuffled.append((torch.tensor(sides[0]), torch.tensor(sides[1])))
    return shuffled
