"""An SAE's sensitivity from the shares of texts on which its latents are active."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from sae_research.evals.sensitivity.specs import CONTRAST, ORIGINAL, OTHER, PERCENTS, RETAINED, SENSITIVITY
from sae_research.metrics.groups import Grouping
from sae_research.metrics.intervals import Estimate, Sums, jackknife


class LatentShares(NamedTuple):
    """(latent, percentage): the share of texts on which each latent is active beyond each of `PERCENTS`."""

    own: np.ndarray
    """Of the texts written for it."""
    original: np.ndarray
    """Of its examples."""
    other: np.ndarray
    """Of the texts written for another latent; NaN where there are none."""


def sensitivities(shares: LatentShares, groups: Grouping) -> Mapping[tuple[str, int], Estimate]:
    """By metric and percentage; those that are undefined are left out.

    Means over latents; the contrast is the mean of paired differences; retained is a ratio of sums. Latents are the
    sampling units: the texts of one are never taken for independent.
    """
    has_control = ~np.isnan(shares.other[:, :1])
    rows = {
        "n": np.ones((len(shares.own), 1)),
        "controls": has_control.astype(np.float64),
        SENSITIVITY: shares.own,
        ORIGINAL: shares.original,
        OTHER: np.where(has_control, shares.other, 0),
        CONTRAST: np.where(has_control, shares.own - shares.other, 0),
    }

    def statistic(sums: Sums) -> Sums:
        by_metric = {
            SENSITIVITY: sums[SENSITIVITY] / sums["n"],
            ORIGINAL: sums[ORIGINAL] / sums["n"],
            OTHER: sums[OTHER] / sums["controls"],
            CONTRAST: sums[CONTRAST] / sums["controls"],
            RETAINED: sums[SENSITIVITY] / sums[ORIGINAL],
        }
        return {_key(m, percent): by_metric[m][..., i] for m in by_metric for i, percent in enumerate(PERCENTS)}

    n, controls = len(shares.own), int(has_control.sum())
    units = {SENSITIVITY: n, ORIGINAL: n, OTHER: controls}
    bounds = {CONTRAST: (-1.0, 1.0), RETAINED: (0.0, math.inf)}
    estimates = jackknife(
        rows,
        statistic,
        groups=groups,
        bounds={_key(metric, percent): ends for metric, ends in bounds.items() for percent in PERCENTS},
        shares={_key(metric, percent): of for metric, of in units.items() if of for percent in PERCENTS},
    )
    metrics = (SENSITIVITY, ORIGINAL, OTHER, CONTRAST, RETAINED)
    by_place = {(metric, percent): estimates[_key(metric, percent)] for metric in metrics for percent in PERCENTS}
    return {place: estimate for place, estimate in by_place.items() if math.isfinite(estimate.value)}


def _key(metric: str, percent: int) -> str:
    return f"{metric}/{percent}"
