"""Each question by hand: value, interval, verdict at every threshold, and what it rests on."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sae_research.measurements import Measurement, Table
from sae_research.results.health import answers
from sae_research.results.health.answers import Answer
from sae_research.results.health.settings import HealthSettings, L0Limits, Limits, RedundancyLimits
from sae_research.results.latents import Latents, latents_of

DEFAULT = HealthSettings()


def measured(
    metric: str, value: float | None, low: float | None = None, high: float | None = None
) -> dict[str, Measurement]:
    reason = "no such number" if value is None else None
    return {metric: Measurement(metric, value, reason, low, high)}


@pytest.mark.parametrize(
    ("value", "low", "high", "verdict"),
    [
        (0.7, None, None, "healthy"),
        (0.6999, None, None, "borderline"),
        (0.6, None, None, "borderline"),
        (0.5999, None, None, "bad"),
        (0.0723, 0.06, 0.08, "bad"),
        (0.71, 0.70, 0.72, "healthy"),
        (0.71, 0.69, 0.73, "borderline"),
        (0.59, 0.57, 0.61, "borderline"),
        (0.59, 0.58, 0.5999, "bad"),
        (1.2, 1.1, 1.3, "healthy"),
        (-3.0, -4.0, -2.0, "bad"),
    ],
)
def test_loss_recovered(value: float, low: float | None, high: float | None, verdict: str) -> None:
    answer = answers.loss_recovered(measured("ce_loss_score", value, low, high), DEFAULT)
    assert answer == Answer(value, low, high, verdict)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "low", "high", "verdict"),
    [
        (20, None, None, "healthy"), (200, None, None, "healthy"), (19.99, None, None, "bad"),
        (227.37, None, None, "bad"), (200, 199, 201, "borderline"), (201, 199, 203, "borderline"),
        (19, 18, 20, "borderline"), (19, 18, 19.9, "bad"), (30, 20, 40, "healthy"), (100, 10, 300, "borderline"),
    ],
)  # fmt: skip
def test_l0(value: float, low: float | None, high: float | None, verdict: str) -> None:
    assert answers.l0(measured("l0", value, low, high), DEFAULT).verdict == verdict


@pytest.mark.parametrize(
    ("value", "low", "high", "verdict"),
    [
        (0.25, None, None, "healthy"), (0.2501, None, None, "borderline"), (0.35, None, None, "borderline"),
        (0.3501, None, None, "bad"), (0.24, 0.2, 0.26, "borderline"), (0.4, 0.34, 0.46, "borderline"),
        (0.4, 0.36, 0.44, "bad"),
    ],
)  # fmt: skip
def test_absorption_is_the_evals_own(value: float, low: float | None, high: float | None, verdict: str) -> None:
    metric = "mean_absorption_fraction_score"
    assert answers.absorption(measured(metric, value, low, high), DEFAULT).verdict == verdict


def test_redundancy_counts_latents_with_a_near_copy() -> None:
    latents = Latents(np.zeros(10), np.array([1.0, 1.0, 0.9, 0.8999, 0.5, 0.1, 0, 0, -0.2, -1.0]))
    answer = answers.redundant({}, latents, DEFAULT)
    assert (answer.value, answer.low, answer.high, answer.verdict) == (0.3, None, None, "borderline")
    assert answer.evidence == {"cosine": 0.9, "largest_cosine": 1.0}
    stricter = HealthSettings(redundant=RedundancyLimits(cosine=0.5))
    assert (answers.redundant({}, latents, stricter).value, answers.redundant({}, latents, stricter).verdict) == (
        0.5,
        "bad",
    )
    lax = HealthSettings(redundant=RedundancyLimits(healthy=0.3))
    assert answers.redundant({}, latents, lax).verdict == "healthy"


def test_a_lone_latent_has_no_copy() -> None:
    answer = answers.redundant({}, Latents(np.ones(1), np.array([math.nan])), DEFAULT)
    assert answer == Answer(reason="core has no record of the latents' decoder cosines")
    assert answers.redundant({}, None, DEFAULT).value is None


def test_dead_latents_rest_on_tokens_and_may_be_rare() -> None:
    # Of 20 latents 8 are silent on 6400 tokens, 5 fired once, 1 twice, 6 often: Chao's 5 * 4 / (2 * 2) = 5 are rare.
    counts = np.array([0] * 8 + [1] * 5 + [2] + [500] * 6)
    core = measured("frac_dead", 0.4, 0.38, 0.43) | measured("real_tokens_sparsity", 6400.0)
    answer = answers.dead(core, Latents(np.round(counts / 6400, 10), np.zeros(20)), DEFAULT)
    assert answer.evidence == {
        "tokens": 6400, "silent_latents_fire_on_less_than": 3 / 6400, "silent_latents": 8, "silent_but_rare": 5,
    }  # fmt: skip
    assert (answer.value, answer.low, answer.high) == (0.4, pytest.approx(3 / 20), 0.43)
    assert answer.verdict == "borderline", "8 of 20 are too many, but only 3 are certainly not rare"


def test_many_latents_that_never_fire_are_dead() -> None:
    counts = np.array([0] * 888 + [1] * 2 + [900] * 110)
    core = measured("frac_dead", 0.888, 0.887, 0.889) | measured("real_tokens_sparsity", 6400.0)
    answer = answers.dead(core, Latents(counts / 6400, np.zeros(1000)), DEFAULT)
    assert (answer.evidence["silent_latents"], answer.evidence["silent_but_rare"], answer.verdict) == (888, 1, "bad")


def test_the_rule_of_three_bounds_what_a_silent_latent_fires_on() -> None:
    for tokens in (1000, 100_000):
        core = measured("frac_dead", 0.0) | measured("real_tokens_sparsity", float(tokens))
        bound = answers.dead(core, None, DEFAULT).evidence["silent_latents_fire_on_less_than"]
        # A latent of that density is silent on all of them with a probability of 5 %.
        assert 0.0495 < (1 - bound) ** tokens < 0.05


def test_no_more_latents_are_rare_than_silent() -> None:
    assert answers.count_silent(np.array([0.0, 0.0, *[1 / 100] * 9]), 100) == (2, 2)


@pytest.mark.parametrize(
    ("share", "verdict"), [(0.1, "healthy"), (0.1001, "borderline"), (0.2, "borderline"), (0.21, "bad")]
)
def test_dead_without_records_of_latents(share: float, verdict: str) -> None:
    assert answers.dead(measured("frac_dead", share), None, DEFAULT).verdict == verdict


def test_a_missing_number_has_the_reason_and_no_verdict() -> None:
    missing = {**measured("l0", None), **measured("ce_loss_score", None)}
    assert answers.l0(missing, DEFAULT) == answers.loss_recovered(missing, DEFAULT) == Answer(reason="no such number")
    assert answers.dead({}, None, DEFAULT) == Answer(reason="not measured")
    of_words = answers.absorption(measured("mean_absorption_fraction_score", None), DEFAULT)
    assert (of_words.reason, of_words.verdict) == ("no such number", None)


def test_records_of_latents_are_cores_own() -> None:
    table = Table({"feature_density": np.array([0.5]), "max_decoder_cosine_sim": np.array([np.nan], dtype=np.float32)})
    latents = latents_of({"latents": table})
    assert latents is not None
    assert latents.density.tolist() == [0.5]
    assert np.isnan(latents.decoder_cosine).tolist() == [True]
    assert latents_of({}) is latents_of({"latents": Table({"latent": np.arange(3)})}) is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: HealthSettings(loss_recovered=Limits(0.5, 0.6)), "loss_recovered: healthy is below borderline"),
        (lambda: HealthSettings(dead=Limits(0.3, 0.2)), "dead: healthy is above borderline"),
        (lambda: HealthSettings(redundant=RedundancyLimits(healthy=0.9)), "redundant: healthy is above borderline"),
        (lambda: L0Limits(healthy=(3.0,)), r"healthy is \[3.0\], expected \[from, to\]"),
        (lambda: L0Limits(sweet_spot=(9.0, 3.0)), r"sweet_spot is \[9.0, 3.0\], expected \[from, to\]"),
        (lambda: RedundancyLimits(cosine=1.5), "cosine is 1.5, expected -1 to 1"),
        (lambda: HealthSettings(tokens_per_latent=-1), "tokens_per_latent is -1, expected at least 0"),
    ],
)
def test_thresholds_that_make_no_sense_are_refused(wrong: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wrong()  # type: ignore[operator]
