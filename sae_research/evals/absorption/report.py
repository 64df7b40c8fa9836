"""From what became of the words to measurements and to SAEBench's records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sae_research.evals.absorption.settings import AbsorptionSettings
from sae_research.evals.absorption.specs import ABSORPTION_SPECS
from sae_research.evals.absorption.words import LETTERS
from sae_research.measurements import EvalOutput, Measurement, measured
from sae_research.metrics.intervals import Sums, accuracy, jackknife


@dataclass(frozen=True)
class Letters:
    """What the probe on the model's activations knows."""

    f1: Sequence[float]
    """Of each letter of the alphabet, on test words."""
    settings: AbsorptionSettings
    n_left_out: int
    """Alphabetic tokens that are no words of the task."""

    @property
    def usable(self) -> list[int]:
        """The letters that it finds."""
        return [i for i, value in enumerate(self.f1) if value > self.settings.min_probe_f1]

    @property
    def are_enough(self) -> bool:
        """Whether there is a score."""
        return len(self.usable) >= self.settings.min_feats_for_eval


@dataclass(frozen=True)
class LetterResult:
    """What one SAE does with the words of one letter."""

    letter: str
    fractions: tuple[float, ...]
    """Of each test word that the probe finds: the absorption fraction."""
    is_full: tuple[bool, ...]
    """Of the same words: whether it is fully absorbed."""
    split: tuple[int, ...]
    """The latents of the letter."""
    f1_by_k: tuple[float, ...]
    """Test F1 of the probe on 1, 2, ... latents."""


def absorption_output(letters: Letters, found: Sequence[LetterResult] | None) -> EvalOutput:
    """Means over letters, and each letter's own numbers; without `found` the reason why there are none."""
    return EvalOutput(
        tuple(_missing(letters) if found is None else [*_means(found), *_by_letter(found)]),
        details=[_detail(own) for own in found or ()],
        unstructured={
            "probe_f1": {LETTERS[i]: value for i, value in enumerate(letters.f1)},
            "alphabetic_tokens_left_out": letters.n_left_out,
            "split_features": {own.letter: list(own.split) for own in found or ()},
            "sparse_probe_f1_by_k": {own.letter: list(own.f1_by_k) for own in found or ()},
        },
    )


def _missing(letters: Letters) -> Iterator[Measurement]:
    reason = (
        f"a probe on the model's activations finds {len(letters.usable)} first letters with F1 above "
        f"{letters.settings.min_probe_f1:g}; {letters.settings.min_feats_for_eval} are needed"
    )
    for spec in ABSORPTION_SPECS:
        if spec.key is not None:
            yield Measurement(spec.name, None, reason=reason)


_NAMES = ("absorption_fraction_score", "full_absorption_score", "num_split_features")


def _means(found: Sequence[LetterResult]) -> Iterator[Measurement]:
    """Mean and sample deviation over letters; the letters are the units of the intervals.

    A letter's words share its probe and its split latents, so that they are no independent units.
    """
    own = [(np.mean(o.fractions), np.mean(o.is_full), len(o.split)) for o in found]
    for name, values in zip(_NAMES, np.asarray(own, dtype=np.float64).T, strict=True):
        rows = {"n": np.ones_like(values), "sum": values - values.mean(), "square": (values - values.mean()) ** 2}

        def statistic(sums: Sums, middle: float = float(values.mean())) -> Sums:
            n, mean = sums["n"], sums["sum"] / sums["n"]
            variance = (sums["square"] - n * mean**2) / (n - 1)
            return {"mean": middle + mean, "std_dev": np.sqrt(np.maximum(variance, 0))}

        lowest = 1.0 if name == "num_split_features" else 0.0
        highest = float("inf") if name == "num_split_features" else 1.0
        estimates = jackknife(rows, statistic, bounds={"mean": (lowest, highest), "std_dev": (0.0, float("inf"))})
        yield measured(_named("mean", name), estimates["mean"])
        if len(found) > 1:
            yield measured(_named("std_dev", name), estimates["std_dev"])
        else:
            yield Measurement(_named("std_dev", name), None, reason="one letter has no deviation")


def _named(prefix: str, name: str) -> str:
    return f"{prefix}_{name}"


def _by_letter(found: Sequence[LetterResult]) -> Iterator[Measurement]:
    """Each letter's numbers; the intervals are over its words."""
    for own in found:
        at = {"letter": own.letter}
        fractions = np.asarray(own.fractions, dtype=np.float64)
        rows = {"sum": fractions, "n": np.ones_like(fractions)}
        mean = jackknife(rows, lambda sums: {"mean": sums["sum"] / sums["n"]}, bounds={"mean": (0.0, 1.0)})["mean"]
        yield measured(_NAMES[0], mean, at)
        yield measured(_NAMES[1], accuracy(np.asarray(own.is_full)), at)
        yield Measurement(_NAMES[2], float(len(own.split)), at=at)


def _detail(own: LetterResult) -> dict[str, Any]:
    return {
        "first_letter": own.letter,
        "mean_absorption_fraction": float(np.mean(own.fractions)),
        "full_absorption_rate": float(np.mean(own.is_full)),
        "num_full_absorption": sum(own.is_full),
        "num_probe_true_positives": len(own.fractions),
        "num_split_features": len(own.split),
    }
