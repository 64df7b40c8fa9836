"""From the absorption of words to measurements and to SAEBench's records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sae_research.evals.absorption.scores import LetterResult, LetterScores, SaeGate
from sae_research.evals.absorption.specs import ABSORPTION_SPECS, MEAN_PROBE_F1
from sae_research.evals.absorption.words import LETTERS
from sae_research.measurements import EvalOutput, Measurement


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


def absorption_output(
    letters: KnownLetters, gate: SaeGate, test_letters: np.ndarray, results: Sequence[LetterResult] | None
) -> EvalOutput:
    """Means over letters, and each letter's own numbers; without results, missing metrics with the reason.

    `test_letters` is the letter of each test word.
    """
    if results is None:
        measurements = list(_missing(letters))
    else:
        scores = LetterScores(results, gate, test_letters)
        measurements = [*scores.means(), *scores.by_letter()]
    return EvalOutput(
        tuple(measurements),
        details=[_detail(result, gate) for result in results or ()],
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
        if spec.key is not None or spec.name == MEAN_PROBE_F1:
            yield Measurement(spec.name, None, reason=reason)


def _detail(result: LetterResult, gate: SaeGate) -> dict[str, Any]:
    """SAEBench's record; without rates where the letter has no score."""
    scored = result.passes(gate)
    return {
        "first_letter": result.letter,
        "mean_absorption_fraction": float(np.mean(result.fractions)) if scored else None,
        "full_absorption_rate": float(np.mean(result.is_full)) if scored else None,
        "num_full_absorption": int(result.is_full.sum()) if scored else None,
        "num_probe_true_positives": len(result.fractions),
        "num_split_features": len(result.split),
    }
