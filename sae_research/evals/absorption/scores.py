"""Scores of letters, and their means over the letters that an SAE has latents for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from sae_research.evals.absorption.specs import MEAN_PROBE_F1, PROBE_F1
from sae_research.measurements import Measurement, measured
from sae_research.metrics.accuracies import mean_share
from sae_research.metrics.groups import GROUPS, Grouping
from sae_research.metrics.intervals import Estimate, Sums, jackknife

_FRACTION, _FULL, _SPLIT = "absorption_fraction_score", "full_absorption_score", "num_split_features"


class SaeGate(NamedTuple):
    """Which letters of an SAE have a score, and how many it takes for a mean."""

    min_f1: float
    """Of the probe on the letter's latents, on test words."""
    min_letters: int


@dataclass(frozen=True)
class LetterResult:
    """One SAE's result for the words of one letter."""

    letter: str
    words: np.ndarray
    """The test words that the model's probe detects, by their places among all test words."""
    fractions: np.ndarray
    """The absorption fraction of each of them."""
    is_full: np.ndarray
    """Whether each of them is fully absorbed."""
    split: tuple[int, ...]
    """The latents of the letter."""
    f1_by_k: tuple[float, ...]
    """Test F1 of the probe on 1, 2, ... latents."""
    predicted: np.ndarray
    """Which of all test words the probe on `split` takes for the letter's."""

    @property
    def f1(self) -> float:
        """Test F1 of the probe on the letter's latents."""
        return self.f1_by_k[len(self.split) - 1]

    def passes(self, gate: SaeGate) -> bool:
        """Whether it has a score: the absorption of a feature that is not there would mean nothing."""
        return self.f1 >= gate.min_f1


@dataclass(frozen=True)
class LetterScores:
    """What is reported of one SAE.

    The sampling units are words: those of each letter are dealt to groups in turn. The letters are all there are, so
    they are no sample. How many latents a letter is split into is no mean over words: there the letters are the units.
    """

    results: Sequence[LetterResult]
    gate: SaeGate
    test_letters: np.ndarray
    """The letter of each test word."""

    @cached_property
    def groups(self) -> Grouping:
        """Of the test words."""
        n = len(self.test_letters)
        number = np.empty(n, dtype=np.int64)
        number[np.argsort(self.test_letters, kind="stable")] = np.arange(n)
        return Grouping(number % min(GROUPS, n), min(GROUPS, n))

    @cached_property
    def scored(self) -> list[LetterResult]:
        """The letters that have scores."""
        return [result for result in self.results if result.passes(self.gate)]

    def means(self) -> Iterator[Measurement]:
        """Mean and sample deviation over the letters that have scores; the mean F1 is over all letters."""
        yield measured(MEAN_PROBE_F1, self._f1_scores()["mean"])
        if len(self.scored) < self.gate.min_letters:
            reason = (
                f"the probe on the SAE's latents detects {len(self.scored)} of {len(self.results)} letters with F1 of "
                f"{self.gate.min_f1:g} or more; {self.gate.min_letters} are needed"
            )
            for name in (_FRACTION, _FULL, _SPLIT):
                yield Measurement(f"mean_{name}", None, reason=reason)
                yield Measurement(f"std_dev_{name}", None, reason=reason)
            return
        for name, values in (
            (_FRACTION, [r.fractions for r in self.scored]),
            (_FULL, [r.is_full for r in self.scored]),
        ):
            yield from self._over_letters(name, self._over_words(values))
        yield from self._over_letters(_SPLIT, self._split_latents())

    def _over_letters(self, name: str, numbers: dict[str, Estimate]) -> Iterator[Measurement]:
        yield measured(f"mean_{name}", numbers["mean"])
        if len(self.scored) > 1:
            yield measured(f"std_dev_{name}", numbers["std_dev"])
        else:
            yield Measurement(f"std_dev_{name}", None, reason="one letter has no deviation")

    def _over_words(self, values: Sequence[np.ndarray]) -> dict[str, Estimate]:
        """Mean and deviation over the scored letters of the mean over each letter's words."""
        rows = {name: np.zeros((len(self.test_letters), len(values))) for name in ("sum", "words")}
        for column, (result, of_words) in enumerate(zip(self.scored, values, strict=True)):
            rows["sum"][result.words, column] = of_words
            rows["words"][result.words, column] = 1
        whole = rows["sum"].sum(axis=0) / rows["words"].sum(axis=0)

        def statistic(sums: Sums) -> Sums:
            # A letter that has no word outside the group keeps the mean of all of its words.
            letters = np.where(sums["words"] > 0, sums["sum"] / sums["words"], whole)
            return {"mean": letters.mean(axis=-1), "std_dev": letters.std(axis=-1, ddof=1)}

        n_words = int(rows["words"].sum())
        return jackknife(rows, statistic, groups=self.groups, shares={"mean": n_words}, bounds={"std_dev": (0.0, 1.0)})

    def _split_latents(self) -> dict[str, Estimate]:
        """Mean and deviation of the number of latents, over letters."""
        counts = np.array([len(result.split) if result.passes(self.gate) else 0 for result in self.results])
        rows = {"n": (counts > 0).astype(np.float64), "sum": counts.astype(np.float64), "square": counts**2.0}

        def statistic(sums: Sums) -> Sums:
            mean = sums["sum"] / sums["n"]
            variance = (sums["square"] - sums["n"] * mean**2) / (sums["n"] - 1)
            return {"mean": mean, "std_dev": np.sqrt(np.maximum(variance, 0))}

        infinite = float("inf")
        bounds = {"mean": (1.0, infinite), "std_dev": (0.0, infinite)}
        # Where all letters have equally many, one of them could have had another: the least that the mean is wrong by.
        return jackknife(rows, statistic, bounds=bounds, least=dict.fromkeys(bounds, 1 / len(self.scored)))

    def _f1_scores(self) -> dict[str, Estimate]:
        """By letter the F1 of the probe on its latents, and their mean."""
        predicted = np.stack([result.predicted for result in self.results], axis=1)
        actual = self.test_letters[:, None] == np.array([ord(result.letter) - ord("a") for result in self.results])
        rows = {"hits": predicted & actual, "either": predicted.astype(np.int64) + actual}

        def statistic(sums: Sums) -> Sums:
            f1 = 2 * sums["hits"] / np.maximum(sums["either"], 1)
            by_letter = {result.letter: f1[..., i] for i, result in enumerate(self.results)}
            return {**by_letter, "mean": f1.mean(axis=-1)}

        words = {result.letter: int(actual[:, i].sum()) for i, result in enumerate(self.results)}
        return jackknife(
            {name: values.astype(np.float64) for name, values in rows.items()},
            statistic,
            groups=self.groups,
            shares={**words, "mean": sum(words.values())},
        )

    def by_letter(self) -> Iterator[Measurement]:
        """Each letter's numbers; a letter without scores has the reason."""
        f1 = self._f1_scores()
        for result in self.results:
            at = {"letter": result.letter}
            yield measured(PROBE_F1, f1[result.letter], at)
            scores: dict[str, Callable[[], Estimate]] = {
                _FRACTION: lambda result=result: mean_share(result.fractions),
                _FULL: lambda result=result: mean_share(result.is_full),
                _SPLIT: lambda result=result: Estimate(float(len(result.split))),
            }
            for name, score in scores.items():
                if result.passes(self.gate):
                    yield measured(name, score(), at)
                    continue
                reason = (
                    f"the probe on the SAE's latents detects the letter with F1 of {result.f1:.2f}; "
                    f"{self.gate.min_f1:g} is needed"
                )
                yield Measurement(name, None, reason=reason, at=at)
