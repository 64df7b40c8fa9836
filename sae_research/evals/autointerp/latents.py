"""What a judge said of one latent, and how much of it is right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sae_research.evals.judged.quiz import Quiz, Right
from sae_research.metrics.intervals import wilson


@dataclass(frozen=True)
class JudgedLatent:
    """A latent, asked about or passed over."""

    latent: int
    place: int
    """In the drawn order of all latents; the same latent has the same in every SAE as wide."""
    density: float
    largest: float
    sign: int
    """-1 where its negative codes count as active."""
    quiz: Quiz | None = None
    """None where it was passed over."""
    explanation: str | None = None
    predicted: frozenset[int] | None = None
    """The windows that the explanation is said to fit."""
    control: frozenset[int] | None = None
    """The same with another latent's explanation."""
    control_latent: int | None = None
    """Whose explanation that was."""
    digests: Mapping[str, str] = field(default_factory=dict)
    """Of the requests, which name the answers."""
    reason: str | None = None
    """Why it has no score."""
    control_reason: str | None = None
    """Why it has none with another latent's explanation."""

    @property
    def right(self) -> Right | None:
        """Of the answer to its own explanation."""
        return None if self.quiz is None or self.predicted is None else self.quiz.mark(self.predicted)

    @property
    def control_right(self) -> Right | None:
        """Of the answer to another latent's."""
        return None if self.quiz is None or self.control is None else self.quiz.mark(self.control)

    def row(self) -> dict[str, Any]:
        """SAEBench's five keys, and ours; null is missing, with its reason."""
        right, control = self.right, self.control_right
        interval = None if right is None else wilson(*right.windows)
        return {
            "latent": self.latent,
            "explanation": self.explanation,
            "predictions": None if self.predicted is None else sorted(self.predicted),
            "correct seqs": None if self.quiz is None else self.quiz.active,
            "score": None if right is None else right.score,
            "score_low": None if interval is None else interval.low,
            "score_high": None if interval is None else interval.high,
            "balanced_accuracy": None if right is None else right.balanced_accuracy,
            "density": self.density,
            "largest_activation": self.largest,
            "sign": self.sign,
            "windows": [] if self.quiz is None else list(self.quiz.texts),
            "kinds": [] if self.quiz is None else list(self.quiz.kinds),
            "random_explanation_of": self.control_latent,
            "random_explanation_predictions": None if self.control is None else sorted(self.control),
            "random_explanation_score": None if control is None else control.score,
            "digests": dict(self.digests),
            "reason": self.reason,
            "random_explanation_reason": self.control_reason,
        }
