"""The vertical scale of a picture: as wide as most SAEs need, with the few that are far off at its edge."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from sae_research.plots.points import Panel, Point

_LOG_FROM = 30.0
"""Errors that span more than this factor get a logarithmic scale."""
_FENCE = 4.0
"""A value this many interquartile ranges outside the quartiles is far off."""
_FEW = 0.1
"""The share of values that may be called far off."""
_GAIN = 2.0
"""How much finer the scale must become."""
_LINE = 0.065
"""The height of a line of text, as a share of the axis."""
_STRETCH = 1.5
"""How much an SAE that interpolates may widen the scale before it is set at the edge instead."""


@dataclass(frozen=True)
class Scale:
    """The ends of the axis, and whether it is logarithmic."""

    low: float
    high: float
    log: bool = False

    def shows(self, value: float) -> bool:
        return self.low <= value <= self.high

    def clamp(self, value: float, level: int = 0) -> float:
        """`value`, or a place just inside the end beyond which it lies, `level` lines of text away from it."""
        if self.shows(value):
            return value
        inset = 0.03 + _LINE * level
        if self.log:
            room = (self.high / self.low) ** inset
            return self.low * room if value < self.low else self.high / room
        room = (self.high - self.low) * inset
        return self.low + room if value < self.low else self.high - room


def edge_levels(points: Sequence[Point], scale: Scale, *, width: float) -> dict[Point, int]:
    """How far from the edge each point beyond `scale` is drawn, in lines of text, so that no two overlap.

    The farthest stand nearest the edge. Two points collide if their L0 differ by less than the factor `width`.
    """
    levels: dict[Point, int] = {}
    beyond = [point for point in points if not scale.shows(point.value)]
    for point in sorted(beyond, key=lambda p: -max(scale.low - p.value, p.value - scale.high)):
        taken = {
            level
            for other, level in levels.items()
            if (other.value < scale.low) == (point.value < scale.low)
            and abs(math.log(other.l0 / point.l0)) < math.log(width)
        }
        levels[point] = next(level for level in range(len(taken) + 1) if level not in taken)
    return levels


def find_scale(panels: Sequence[Panel], direction: str | None) -> Scale:
    """A scale for all panels of a picture.

    It follows the SAEs whose numbers mean something. Values that are far off and SAEs that interpolate widen it only a
    little. Reference levels and their intervals are always on it.
    """
    points = [point for panel in panels for point in panel.points]
    meant = [point for point in points if point.interpolates != "most"] or points
    values = [point.value for point in meant]
    references = [(r.level, r.low, r.high) for panel in panels for r in panel.references]
    levels = [end for ends in references for end in ends if end is not None]
    if direction == "lower" and min(values) > 0 and max(values) / min(values) > _LOG_FROM:
        return _log_scale(values, points)
    shown = set(without_outliers(values))
    near = [point for point in meant if point.value in shown]
    ends = [end for p in near for end in (p.value, p.low, p.high) if end is not None] + levels
    low, high = _stretched(min(ends), max(ends), [point.value for point in points if point not in meant])
    spare = (high - low) * 0.08 or max(abs(high) * 0.05, 1e-3)
    return Scale(low - spare, high + spare)


def without_outliers(values: Sequence[float]) -> list[float]:
    """`values` without those that are far off, if they are few and leaving them out doubles the resolution."""
    if len(values) < 6:
        return list(values)
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    fence = _FENCE * (third - first)
    near = [value for value in values if fence == 0 or first - fence <= value <= third + fence]
    few = len(values) - len(near) <= max(2, _FEW * len(values))
    gain = max(values) - min(values) >= _GAIN * (max(near) - min(near))
    return near if few and gain else list(values)


def _log_scale(values: Sequence[float], points: Sequence[Point]) -> Scale:
    low, high = math.log(min(values)), math.log(max(values))
    others = [math.log(point.value) for point in points if point.value > 0]
    low, high = _stretched(low, high, others)
    spare = (high - low) * 0.08
    return Scale(math.exp(low - spare), math.exp(high + spare), log=True)


def _stretched(low: float, high: float, others: Sequence[float]) -> tuple[float, float]:
    """The range with those of `others` that widen it by no more than the allowed factor."""
    limit = (high - low) * (_STRETCH - 1)
    near = [value for value in others if low - limit <= value <= high + limit]
    return min([low, *near]), max([high, *near])
