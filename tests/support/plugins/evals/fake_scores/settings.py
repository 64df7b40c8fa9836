"""How much text the fake scores read, and how noisy they are."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FakeScoresSettings:
    """How much text is read, and how noisy the scores are."""

    dataset: str
    """The text: `embedded/<name>`."""
    little_noise: float
    """The standard deviation of the noise in the score that has little of it."""
    much_noise: float
    """That in the score that has much of it."""
    n_rows: int = 64
    context_size: int = 64
