"""An SAE's numbers from those of its latents: worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from sae_research.evals.sensitivity.activations import Active, Tokens
from sae_research.evals.sensitivity.formulas import LatentShares, sensitivities
from sae_research.evals.sensitivity.latents import AskedLatent, ExampledLatent, TextOf, latent_row
from sae_research.evals.sensitivity.specs import CONTRAST, ORIGINAL, OTHER, RETAINED, SENSITIVITY
from sae_research.evals.sensitivity.written import Written
from sae_research.judges.prompts import render
from sae_research.judges.records import Request
from sae_research.metrics.groups import dealt

NONE = [math.nan] * 4
SHARES = LatentShares(
    own=np.array([[1.0, 0.8, 0.5, 0.2], [0.6, 0.5, 0.4, 0.0], [0.2, 0.2, 0.0, 0.1]]),
    original=np.array([[1.0, 1.0, 1.0, 0.5], [1.0, 0.5, 0.5, 0.0], [0.4, 0.0, 0.0, 0.0]]),
    other=np.array([[0.3, 0.1, 0.0, 0.0], [0.1, 0.1, 0.1, 0.2], NONE]),
)
"""Three latents at 0, 1, 10 and 50 %; the last one has no other latent's texts."""


def test_means_over_latents() -> None:
    found = sensitivities(SHARES, dealt(3))
    at_0 = {metric: found[metric, 0].value for metric in (SENSITIVITY, ORIGINAL, OTHER, CONTRAST, RETAINED)}
    # (1 + .6 + .2) / 3; (1 + 1 + .4) / 3; (.3 + .1) / 2; (.7 + .5) / 2; 1.8 / 2.4
    assert at_0 == pytest.approx({SENSITIVITY: 0.6, ORIGINAL: 0.8, OTHER: 0.2, CONTRAST: 0.6, RETAINED: 0.75})
    at_50 = {metric: found[metric, 50].value for metric in (SENSITIVITY, ORIGINAL, OTHER, CONTRAST, RETAINED)}
    # (.2 + 0 + .1) / 3; .5 / 3; .2 / 2; (.2 - .2) / 2; .3 / .5
    assert at_50 == pytest.approx({SENSITIVITY: 0.1, ORIGINAL: 0.5 / 3, OTHER: 0.1, CONTRAST: 0.0, RETAINED: 0.6})


def test_intervals_leave_out_one_latent_at_a_time() -> None:
    """A mean's jackknife is the usual standard error; Student's quantile with two degrees of freedom."""
    shares = LatentShares(SHARES.own, SHARES.original, np.nan_to_num(SHARES.other, nan=0.5))
    found = sensitivities(shares, dealt(3))
    differences = shares.own[:, 0] - shares.other[:, 0]
    half = stats.t.ppf(0.975, 2) * differences.std(ddof=1) / math.sqrt(3)
    contrast = found[CONTRAST, 0]
    assert contrast.value == pytest.approx(differences.mean())
    assert (contrast.low, contrast.high) == pytest.approx(
        (max(-1, contrast.value - half), min(1, contrast.value + half))
    )
    ratios = [(1.8 - own) / (2.4 - original) for own, original in zip([1, 0.6, 0.2], [1, 1, 0.4], strict=True)]
    error = math.sqrt(2 / 3 * sum((ratio - np.mean(ratios)) ** 2 for ratio in ratios))
    retained = found[RETAINED, 0]
    assert retained.high == pytest.approx(0.75 + stats.t.ppf(0.975, 2) * error)
    assert retained.low == pytest.approx(max(0, 0.75 - stats.t.ppf(0.975, 2) * error))


def test_what_has_no_divisor_is_left_out() -> None:
    silent = LatentShares(SHARES.own, np.zeros((3, 4)), np.array([NONE] * 3))
    assert {metric for metric, _ in sensitivities(silent, dealt(3))} == {SENSITIVITY, ORIGINAL}


def _text(*activations: float) -> TextOf:
    at = np.array(activations)
    return TextOf("text", Tokens((2, *range(len(at))), (), False), Active(np.flatnonzero(at), at[at > 0]))


def _latent(**more: object) -> AskedLatent:
    about = ExampledLatent(7, 3, 0.01, 10.0, 1, ((("a", True),),), (9.0,))
    return AskedLatent(about, render(about.examples), Request((), 5), **more)  # type: ignore[arg-type]


def test_a_latent_is_active_beyond_a_share_of_its_largest_activation() -> None:
    """Its largest is 10: .1 is no more than 1 % of it, 1 no more than 10 %, 5 no more than 50 %."""
    texts = (_text(0, 0), _text(0.1, 0), _text(0, 1.0), _text(0.2, 5.0, 0), _text(5.1))
    latent = _latent(own=texts, original=(_text(0.0), _text(3.0)), control=(_text(0.05),), written=Written((), ("c",)))
    assert latent.own_shares.tolist() == [0.8, 0.6, 0.4, 0.2]
    row = latent_row(latent.about, latent)
    assert [row[f"sensitivity_{percent}"] for percent in (0, 1, 10, 50)] == [0.8, 0.6, 0.4, 0.2]
    assert [row[f"original_{percent}"] for percent in (0, 1, 10, 50)] == [0.5, 0.5, 0.5, 0.0]
    assert [row[f"other_{percent}"] for percent in (0, 1, 10, 50)] == [1.0, 0.0, 0.0, 0.0]
    assert (row["n_texts"], row["n_copies"], row["latent"], row["sign"]) == (5, 1, 7, 1)


def test_a_latents_interval_is_wilsons() -> None:
    """Ten texts, all active: [.72, 1]."""
    row = latent_row(_latent().about, _latent(own=(_text(1.0),) * 10))
    assert (row["sensitivity_0_low"], row["sensitivity_0_high"]) == pytest.approx((0.7225, 1.0), abs=1e-4)
    empty = latent_row(_latent().about, _latent(reason="no texts"))
    assert empty["sensitivity_0"] is None and empty["reason"] == "no texts"


def test_texts_are_kept_with_what_the_latent_does_on_them() -> None:
    row = _text(0.0, 1.23456, 0.0, 20.0).row()
    assert row == {"text": "text", "tokens": "2 0 1 2 3", "token_ends": "", "activations": "1:1.235 3:20"}
