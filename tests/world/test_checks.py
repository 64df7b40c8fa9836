"""The checks' own arithmetic, on cases worked out by hand."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from sae_research.evals.ravel.settings import RavelSettings
from sae_research.evals.scr.settings import ScrSettings
from sae_research.evals.tpp.settings import TppSettings
from sae_research.lm.site import Site
from sae_research.measurements import EvalOutput, Measurement
from sae_research.metrics.intervals import Estimate
from sae_research.records import read_record
from sae_research.saes.architectures.pca import PcaSae
from sae_research.saes.base import SaeCard
from sae_research.world.checks.absorption import SETTINGS as ABSORPTION
from sae_research.world.checks.autointerp import SETTINGS as AUTOINTERP
from sae_research.world.checks.bar import Bar, bootstrapped, markdown_table, mean_estimate, resamples
from sae_research.world.checks.correlation import SCR_SETTINGS, TPP_SETTINGS
from sae_research.world.checks.evaluated import difference, score_of
from sae_research.world.checks.language import _wording
from sae_research.world.checks.probing import (
    _balanced_hits,
    _best_rule,
    _by_one_latent,
    _letters_found,
    balanced_weights,
    one_against_rest,
)
from sae_research.world.checks.ravel import SETTINGS as RAVEL
from sae_research.world.checks.saes import dead_share, explained_variance
from sae_research.world.checks.sensitivity import SETTINGS as SENSITIVITY
from sae_research.world.checks.unlearning import SETTINGS as UNLEARNING
from sae_research.yaml_text import read_yaml


@pytest.mark.parametrize(
    ("estimate", "low", "high", "verdict", "words"),
    [
        (Estimate(0.7), 0.65, None, "met", ">= 0.65"),
        (Estimate(0.6), 0.65, None, "missed", ">= 0.65"),
        (Estimate(0.5), None, 0.4, "missed", "<= 0.4"),
        (Estimate(5.0), 4, 6, "met", ">= 4 and <= 6"),
        (Estimate(0.1), None, None, None, ""),
        (Estimate(0.063, -0.006, 0.131), 0, None, "open", ">= 0"),
        (Estimate(0.063, 0.006, 0.131), 0, None, "met", ">= 0"),
        (Estimate(0.39, 0.36, 0.42), None, 0.4, "open", "<= 0.4"),
        (Estimate(-0.01, -0.07, 0.05), 0, None, "missed", ">= 0"),
        (Estimate(math.nan), 0, None, "missed", ">= 0"),
        (Estimate(math.nan), None, None, None, ""),
    ],
)
def test_a_bar_is_judged_by_its_interval(
    estimate: Estimate, low: float | None, high: float | None, verdict: str | None, words: str
) -> None:
    bar = Bar("x", estimate, at_least=low, at_most=high)
    assert bar.verdict == verdict
    assert bar.requirement == words


def test_the_table_has_a_column_per_seed_and_shows_what_is_missed_or_open() -> None:
    good, bad = Bar("speed", Estimate(2.0, 1.5, 2.5), at_least=1), Bar("speed", Estimate(0.5), at_least=1)
    unsure, free = Bar("speed", Estimate(1.2, 0.9, 1.5), at_least=1), Bar("size", Estimate(3.0))
    table = markdown_table({0: [good, unsure, free], 7: [bad, good, free]}).splitlines()
    assert table[0] == "| bar | seed 0 | seed 7 | required | verdict |"
    assert table[2] == "| speed | 2.000 [1.500, 2.500] | **0.500** | >= 1 | missed |"
    assert table[3] == "| speed | *1.200 [0.900, 1.500]* | 2.000 [1.500, 2.500] | >= 1 | open |"
    assert table[4] == "| size | 3.000 | 3.000 | reported |  |"


def test_a_score_that_the_eval_does_not_give_misses_its_bar(caplog: pytest.LogCaptureFixture) -> None:
    output = EvalOutput((Measurement("score", None, reason="17 letters, 20 are needed"), Measurement("other", 0.5)))
    none, other = score_of(output, "score"), score_of(output, "other")
    bars = [Bar("lead", difference(none, other), at_least=0), Bar("score", none), Bar("other", other)]
    assert [bar.verdict for bar in bars] == ["missed", None, None]
    assert markdown_table({4: bars}).splitlines()[2] == "| lead | **no value** | >= 0 | missed |"
    assert caplog.messages == ["world check: no score: 17 letters, 20 are needed"]


def test_mean_and_bootstrap_intervals() -> None:
    estimate = mean_estimate([1.0, 2.0, 3.0])
    assert estimate.value == 2.0
    assert estimate.high == pytest.approx(2.0 + 1.96 / 3**0.5)
    assert bootstrapped(0.5, [i / 1000 for i in range(1001)])[:3] == pytest.approx((0.5, 0.025, 0.975))
    assert resamples(5, seed=1).shape == (1000, 5)


def test_balanced_hits_average_to_the_balanced_accuracy() -> None:
    targets = one_against_rest(torch.tensor([0, 0, 0, 1]))
    torch.testing.assert_close(balanced_weights(targets)[:, 0], torch.tensor([2 / 3, 2 / 3, 2 / 3, 2.0]).double())
    everything = torch.ones(4, 2, dtype=torch.bool)
    assert _balanced_hits(everything, targets).mean(dim=0).tolist() == pytest.approx([0.5, 0.5])
    assert _balanced_hits(targets > 0, targets).mean(dim=0).tolist() == pytest.approx([1.0, 1.0])


def test_the_best_token_rule_counts_presence_on_both_sides() -> None:
    # Token 1 is in 3 of 4 texts of the class and in 1 of 4 others: (0.75 + 0.75) / 2.
    inside = [{1: None}, {1: None, 2: None}, {1: None}, {2: None}]
    outside = [{1: None}, {3: None}, {3: None}, {2: None}]
    assert _best_rule(inside, outside).value == pytest.approx(0.75)


def test_one_latent_is_chosen_per_class_by_its_difference_of_means() -> None:
    labels = torch.arange(3).repeat(20)
    targets = one_against_rest(labels)
    codes = torch.cat([torch.full((60, 1), 3.0), targets[:, [2, 0, 1]].float()], dim=1)
    assert bool((_by_one_latent(codes, targets, codes) == (targets > 0)).all())


def test_letters_are_counted_by_f1() -> None:
    targets = torch.tensor([[1, 0], [1, 0], [0, 1], [0, 1]]).double()
    # First letter: 2 hits, 1 false: F1 = 0.8. Second: 1 hit, 1 missed, 1 false: F1 = 0.5.
    predicted = torch.tensor([[1, 0], [1, 1], [1, 0], [0, 1]]).bool()
    assert _letters_found(predicted, targets) == 1


def _pca(d_sae: int) -> PcaSae:
    card = SaeCard("pca", "pca", Site(0, "resid_post"), d_in=3, d_sae=d_sae, model_name="x")
    atoms = torch.eye(3)[:d_sae]
    return PcaSae(card, {"W_enc": atoms.T.contiguous(), "W_dec": atoms, "b_dec": torch.zeros(3)})


def test_explained_variance_is_one_for_the_identity_and_the_share_of_what_is_kept() -> None:
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([2.0, 1.0, 1.0])
    x = x - x.mean(0)
    rows = list(x.split(10))
    assert explained_variance(_pca(3), rows).value == pytest.approx(1.0)
    kept = float(x[:, :1].square().sum() / x.square().sum())
    assert explained_variance(_pca(1), rows).value == pytest.approx(kept, abs=1e-6)


def test_a_latent_is_dead_when_no_row_fires_it() -> None:
    rows = [torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[0.0, -1.0, 0.0]])]
    assert dead_share(_pca(3), rows) == pytest.approx(1 / 3)


def test_questions_about_the_same_attribute_have_the_same_wording() -> None:
    one, other = ({"question": f"What stops {name}?"} for name in ("Nabine", "Zoclaine"))
    assert _wording(one) == _wording(other)
    assert _wording(one) != _wording({"question": "Which organ does Nabine destroy?"})


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("absorption", ABSORPTION), ("scr", SCR_SETTINGS), ("tpp", TPP_SETTINGS), ("unlearning", UNLEARNING),
        ("ravel", RAVEL), ("sensitivity", SENSITIVITY), ("autointerp", AUTOINTERP),
    ],
)  # fmt: skip
def test_the_checks_have_the_profile_s_settings(name: str, settings: Any) -> None:
    profile = read_yaml(Path(__file__).parents[2] / "profiles" / "embedded.yaml")
    expected = read_record(type(settings), profile[name], where=name)
    if isinstance(settings, RavelSettings):
        assert set(settings.baselines) < set(expected.baselines)
        expected = dataclasses.replace(expected, baselines=settings.baselines)
    if isinstance(settings, (ScrSettings, TppSettings)):
        # A world is checked on one draw; the pipeline repeats it.
        assert expected.seeds
        expected = dataclasses.replace(expected, seeds=())
    assert settings == expected
