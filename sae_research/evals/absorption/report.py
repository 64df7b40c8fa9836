"""From the absorption of words to measurements and to SAEBench's records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sae_research.evals.absorption.specs import ABSORPTION_SPECS
from sae_research.evals.absorption.words import LETTERS
from sae_research.measurements import EvalOutput, Measurement, measured
from sae_research.metrics.intervals import Sums, accuracy, jackknife


@dataclass(frozen=True)
class KnownLetters:
    """How well the probe on the model's activations detects each letter."""

    f1: Sequence[float]
    """By letter of the alphabet, on test words."""
    n_left_out: int
    """Alphabetic tokens that are not words of the task."""
    min_f1: float
    min_letters: int

    @property
    def usable(self) -> list[int]:
        """The letters that it detects."""
        return [i for i, value in enumerate(self.f1) if value > self.min_f1]

    @property
    def are_enough(self) -> bool:
        """Whether they suffice for a score."""
        return len(self.usable) >= self.min_letters


@dataclass(frozen=True)
class LetterResult:
    """One SAE's result for the words of one letter."""

    letter: str
    fractions: tuple[float, ...]
    """The absorption fraction of each test word that the probe detects."""
    is_full: tuple[bool, ...]
    """Whether each of these words is fully absorbed."""
    split: tuple[int, ...]
    """The latents of the letter."""
    f1_by_k: tuple[float, ...]
    """Test F1 of the probe on 1, 2, ... latents."""


def absorption_output(letters: KnownLetters, results: Sequence[LetterResult] | None) -> EvalOutput:
    """Means over letters, and each letter's own numbers; without results, missing metrics with the reason."""
    return EvalOutput(
        tuple(_missing(letters) if results is None else [*_means(results), *_by_letter(results)]),
        details=[_detail(result) for result in results or ()],
        unstructured={
            "probe_f1": {LETTERS[i]: value for i, value in enumerate(letters.f1)},
            "alphabetic_tokens_left_out": letters.n_left_out,
            "split_features": {result.letter: list(result.split) for result in results or ()},
            "sparse_probe_f1_by_k": {result.letter: list(result.f1_by_k) for result in results or ()},
        },
    )


def _missing(letters: KnownLetters) -> Iterator[Measurement]:
    reason = (
        f"a probe on the model's activations finds {len(letters.usable)} first letters with F1 above "
        f"{letters.min_f1:g}; {letters.min_letters} are needed"
    )
    for spec in ABSORPTION_SPECS:
        if spec.key is not None:
            yield Measurement(spec.name, None, reason=reason)


_NAMES = ("absorption_fraction_score", "full_absorption_score", "num_split_features")


def _means(results: Sequence[LetterResult]) -> Iterator[Measurement]:
    """Mean and sample deviation over letters; the letters are the units of the intervals.

    A letter's words share its probe and its split latents, so they are not independent units.
    """
    table = [(np.mean(result.fractions), np.mean(result.is_full), len(result.split)) for result in results]
    for name, values in zip(_NAMES, np.asarray(table, dtype=np.float64).T, strict=True):
        rows = {"n": np.ones_like(values), "sum": values - values.mean(), "square": (values - values.mean()) ** 2}

        def statistic(sums: Sums, middle: float = float(values.mean())) -> Sums:
            n, mean = sums["n"], sums["sum"] / sums["n"]
            variance = (sums["square"] - n * mean**2) / (n - 1)
            return {"mean": middle + mean, "std_dev": np.sqrt(np.maximum(variance, 0))}

        lowest = 1.0 if name == "num_split_features" else 0.0
        highest = float("inf") if name == "num_split_features" else 1.0
        estimates = jackknife(rows, statistic, bounds={"mean": (lowest, highest), "std_dev": (0.0, float("inf"))})
        yield measured(f"mean_{name}", estimates["mean"])
        if len(results) > 1:
            yield measured(f"std_dev_{name}", estimates["std_dev"])
        else:
            yield Measurement(f"std_dev_{name}", None, reason="one letter has no deviation")


def _by_letter(results: Sequence[LetterResult]) -> Iterator[Measurement]:
    """Each letter's numbers; the intervals are over its words."""
    for result in results:
        at = {"letter": result.letter}
        fractions = np.asarray(result.fractions, dtype=np.float64)
        rows = {"sum": fractions, "n": np.ones_like(fractions)}
        mean = jackknife(rows, lambda sums: {"mean": sums["sum"] / sums["n"]}, bounds={"mean": (0.0, 1.0)})["mean"]
        yield measured(_NAMES[0], mean, at)
        yield measured(_NAMES[1], accuracy(np.asarray(result.is_full)), at)
        yield Measurement(_NAMES[2], float(len(result.split)), at=at)


def _detail(result: LetterResult) -> dict[str, Any]:
    """SAEBench's record of one letter."""
    return {
        "first_letter": result.letter,
        "mean_absorption_fraction": float(np.mean(result.fractions)),
        "full_absorption_rate": float(np.mean(result.is_full)),
        "num_full_absorption": sum(result.is_full),
        "num_probe_true_positives": len(result.fractions),
        "num_split_features": len(result.split),
    }
