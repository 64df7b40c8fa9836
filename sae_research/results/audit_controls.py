"""Whether the trained SAEs of a column are above the controls that they are held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from sae_research.metrics.intervals import mean_half_widths
from sae_research.results.columns import Column

Draws = Literal["test units", "seeds"]


class Scores(NamedTuple):
    """A column on SAEs that were measured on the same draws."""

    saes: tuple[str, ...]
    values: np.ndarray
    """As in the table of results."""
    table: np.ndarray
    """(SAE, draw)."""
    draws: Draws

    def of(self, saes: Sequence[str]) -> Scores:
        """Those of `saes` that are there."""
        places = [place for place, sae in enumerate(self.saes) if sae in saes]
        return Scores(tuple(self.saes[i] for i in places), self.values[places], self.table[places], self.draws)


def by_draws(scores: Scores, controls: Scores, sign: int, for_one: Mapping[str, str]) -> dict[str, Any]:
    """The pair of an SAE and a control whose difference has the lowest lower end, paired over the draws.

    All SAEs are above all their controls, at 5 %, where each difference is: an intersection of tests needs no
    correction. A control in `for_one` is held against that SAE alone.
    """
    halves = mean_half_widths(scores.table[:, None] - controls.table)
    margins = sign * (scores.values[:, None] - controls.values)
    return _closest(scores.saes, controls.saes, margins, halves, halves, for_one)


def by_intervals(
    column: Column, saes: Sequence[str], controls: Sequence[str], for_one: Mapping[str, str]
) -> dict[str, Any]:
    """The same from the numbers' own intervals, as if independent (MOVER), where there are no draws."""
    if column.spec.direction == "neither":
        return {}
    sign = 1 if column.spec.direction == "higher" else -1
    worse, value, better = ({} for _ in range(3))
    for name, m in column.everyone.items():
        if m.value is not None and m.ci_low is not None and m.ci_high is not None:
            ends = sorted((sign * m.ci_low, sign * m.ci_high))
            worse[name], value[name], better[name] = ends[0], sign * m.value, ends[1]
    saes, controls = ([name for name in names if name in value] for names in (saes, controls))
    of_saes, of_controls = (
        {"down": np.array([value[n] - worse[n] for n in names]), "up": np.array([better[n] - value[n] for n in names])}
        for names in (saes, controls)
    )
    margins = np.subtract.outer([value[name] for name in saes], [value[name] for name in controls])
    below = np.hypot.outer(of_saes["down"], of_controls["up"])
    above = np.hypot.outer(of_saes["up"], of_controls["down"])
    return _closest(saes, controls, margins, below, above, for_one)


def _closest(
    saes: Sequence[str],
    controls: Sequence[str],
    margins: np.ndarray,
    below: np.ndarray,
    above: np.ndarray,
    for_one: Mapping[str, str],
) -> dict[str, Any]:
    """The numbers of the audit on controls; empty where no SAE is held against any."""
    compared = np.array([[for_one.get(control, sae) == sae for control in controls] for sae in saes])
    if not compared.any():
        return {}
    margins = np.where(compared, margins, np.inf)
    lows = margins - below
    sae, control = divmod(int(np.argmin(lows)), len(controls))
    return {
        "controls": len(controls),
        "closest_control": controls[control],
        "closest_sae": saes[sae],
        "control_margin": float(margins[sae, control]),
        "control_margin_low": float(lows[sae, control]),
        "control_margin_high": float(margins[sae, control] + above[sae, control]),
        "told_above_control": float(np.mean((lows > 0).all(axis=1))),
    }
