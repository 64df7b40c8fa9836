"""What latents are held against: what was found of another latent of the same SAE."""

from __future__ import annotations

from collections.abc import Hashable, Sequence


def others(values: Sequence[Hashable]) -> list[int | None]:
    """For each value the index of the next one in the circle that differs from it; None where all are equal.

    With values that all differ this is the shift by one, which has no fixed point: each serves once.
    """
    n = len(values)
    steps = [next((s for s in range(1, n) if values[(i + s) % n] != values[i]), None) for i in range(n)]
    return [None if step is None else (i + step) % n for i, step in enumerate(steps)]
