"""TPP as a whole: hand-computed losses, planted classes, and that nothing depends on company."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from support.outcomes import (
    MakeSae,
    check_company,
    check_failing_sae,
    check_normalised_sae,
    check_threads,
    one,
    output_of,
)
from support.sae_bench_documents import read_by_sae_bench

from sae_research.data.labelled import LabelledSet
from sae_research.evals.base import EvalContext, Outcome
from sae_research.evals.tpp.eval import TPP
from sae_research.evals.tpp.measure import measure_tpp
from sae_research.evals.tpp.report import TppHits, score_set
from sae_research.evals.tpp.settings import TppSettings

SETTINGS = TppSettings(("one", "two"), train_size=80, test_size=40, context_size=12, n_values=(2, 5, 60))


def _texts(rng: np.random.Generator, n: int, words: Sequence[int]) -> list[str]:
    return [
        " ".join(f"w{rng.choice(words) if rng.random() < 0.4 else rng.integers(0, 58)}" for _ in range(length))
        for length in rng.integers(5, 15, n)
    ]


@pytest.fixture(scope="module")
def sets() -> list[LabelledSet]:
    rng = np.random.default_rng(0)
    words = {"a": (5, 6), "b": (20, 21), "c": (40, 41)}
    return [
        LabelledSet(
            name, "none", codes={},
            train={c: _texts(rng, 40, words[c]) for c in classes}, test={c: _texts(rng, 20, words[c]) for c in classes},
        )
        for name, classes in (("one", "abc"), ("two", "ab"))
    ]  # fmt: skip


def _measure(context: EvalContext, saes: Sequence[Any], sets: Sequence[LabelledSet], **changed: Any) -> list[Outcome]:
    return list(measure_tpp(context, saes, {0: sets}, dataclasses.replace(SETTINGS, **changed)))


def test_losses_by_hand() -> None:
    """Two classes, ten texts that all count: own losses 0.4 and 0.2, the other's 0.1 and 0."""

    def hits(*shares: float) -> np.ndarray:
        return np.stack([np.arange(10) < 10 * share - 1e-9 for share in shares], axis=-1)

    ablated = np.stack([hits(0.5, 0.9), hits(0.9, 0.8)], axis=1)[:, :, None]
    everyone = np.ones((10, 2), dtype=bool)
    labelled = LabelledSet("x", "none", {}, {"a": [], "b": []}, {})
    scores = score_set(
        labelled, {0: TppHits(hits(0.9, 1.0), ablated, everyone, everyone[:, None, None], np.arange(10), (True,))}, (2,)
    )
    assert scores.by_class["a"] == pytest.approx(
        {"tpp_threshold_2_total_metric": 0.3, "tpp_threshold_2_intended_diff_only": 0.4,
         "tpp_threshold_2_unintended_diff_only": 0.1}
    )  # fmt: skip
    assert scores.by_class["b"]["tpp_threshold_2_total_metric"] == pytest.approx(0.2)
    assert scores.by_n[2]["tpp_total_metric"].mean.value == pytest.approx(0.25)


def test_what_is_reported(context: EvalContext, make_sae: MakeSae, sets: list[LabelledSet]) -> None:
    (outcome,) = _measure(context, [make_sae("relu")], sets)
    output = output_of(outcome)
    assert {m.metric for m in output.measurements} == {
        s.name for s in TPP.specs if not s.name.endswith(("_seed_std", "interpolates_here"))
    }
    assert [detail["dataset_name"] for detail in output.details] == ["one_tpp_results", "two_tpp_results"]
    for metric in ("tpp_total_metric", "tpp_intended_diff_only", "tpp_unintended_diff_only"):
        whole = one(outcome, metric, n=5)
        parts = [one(outcome, metric, n=5, dataset=name).value for name in ("one", "two")]
        assert whole.value == pytest.approx(np.mean(parts))  # type: ignore[arg-type]
        assert whole.ci_low is not None and len(whole.replicates) == 32
        classes = [own[f"tpp_threshold_5_{metric.removeprefix('tpp_')}"] for own in output.unstructured["one"].values()]
        assert parts[0] == pytest.approx(np.mean(classes))
    assert one(outcome, "tpp_total_metric", n=60).reason == "the SAE has fewer latents than n = 60"


def test_ablating_every_channel_leaves_chance(context: EvalContext, make_sae: MakeSae, sets: list[LabelledSet]) -> None:
    """Signed codes of the identity, SAEBench's filling up: all 16 channels go, and each probe is right by half."""
    (outcome,) = _measure(context, [make_sae("identity", d_sae=16)], sets, n_values=(16,), rules="sae_bench")
    assert one(outcome, "tpp_total_metric", n=16).value == pytest.approx(0.0, abs=0.25)
    assert one(outcome, "tpp_intended_diff_only", n=16).value > 0.05  # type: ignore[operator]


def test_the_targeted_class_loses_most(context: EvalContext, make_sae: MakeSae, sets: list[LabelledSet]) -> None:
    for outcome in _measure(context, [make_sae("relu"), make_sae("mpsae", s=3)], sets):
        assert one(outcome, "tpp_intended_diff_only", n=5).value > 0.05  # type: ignore[operator]


def test_company_order_memory_and_threads_change_nothing(
    context: EvalContext, make_sae: MakeSae, sets: list[LabelledSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    saes = [make_sae("relu"), make_sae("topk", k=4), make_sae("ihtp", k=1), make_sae("mpsae", s=3)]
    measure = partial(_measure, context, sets=sets)
    together = check_company(measure, saes)
    monkeypatch.setattr("sae_research.evals.shared.pooling.free_memory", lambda _device: 3)
    check_threads(measure, saes, together)


def test_numbers_by_share_of_d_in_are_those_of_the_number_of_latents(
    context: EvalContext, make_sae: MakeSae, sets: list[LabelledSet]
) -> None:
    """Of 16 dimensions 12 % are 1.92 latents, 31 % are 4.96, and 1 % is one at least."""
    shares = {1: 1, 12: 2, 31: 5}
    (outcome,) = _measure(context, [make_sae("relu")], sets, n_values=(1, 2, 5), n_shares=tuple(shares))
    for percent, n in shares.items():
        for place in ({}, {"dataset": "two"}):
            by_share = one(outcome, "tpp_total_metric_by_share", percent=percent, **place)
            by_number = one(outcome, "tpp_total_metric", n=n, **place)
            assert by_share == dataclasses.replace(by_number, metric=by_share.metric, at=by_share.at)
    (alone,) = _measure(context, [make_sae("relu")], sets, n_values=(2,), n_shares=(31,))
    other = one(alone, "tpp_total_metric_by_share", percent=31)
    assert other == one(outcome, "tpp_total_metric_by_share", percent=31)
    assert list(output_of(alone).details[0]) == ["dataset_name", *_keys(2)], "SAEBench's record has its grid alone"
    (theirs,) = _measure(context, [make_sae("relu")], sets, sampling="sae_bench")
    assert "sampling: sae_bench" in str(one(theirs, "tpp_total_metric_by_share", percent=4).reason)


def _keys(n: int) -> list[str]:
    return [f"tpp_threshold_{n}_{name}" for name in ("total_metric", "intended_diff_only", "unintended_diff_only")]


@pytest.mark.parametrize("wrong", [(0,), (101,), (1, 1)])
def test_shares_are_percentages(wrong: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="n_shares holds"):
        dataclasses.replace(SETTINGS, n_shares=wrong)


def test_one_failing_sae_leaves_the_others_alone(
    context: EvalContext, make_sae: MakeSae, sets: list[LabelledSet]
) -> None:
    check_failing_sae(partial(_measure, context, sets=sets), make_sae)


def test_an_sae_that_normalises_is_ablated_in_the_units_of_activations(
    context: EvalContext, make_sae: MakeSae, sets: list[LabelledSet]
) -> None:
    check_normalised_sae(partial(_measure, context, sets=sets), make_sae)


def test_sae_bench_reads_the_result(context: EvalContext, make_sae: MakeSae, sets: list[LabelledSet]) -> None:
    (outcome,) = _measure(context, [make_sae("relu")], sets, n_values=(2, 500))
    read = read_by_sae_bench(TPP, output_of(outcome), SETTINGS)
    assert read.eval_result_metrics.tpp_metrics.tpp_threshold_2_total_metric == pytest.approx(
        one(outcome, "tpp_total_metric", n=2).value
    )
    assert read.eval_result_metrics.tpp_metrics.tpp_threshold_500_total_metric is None
    assert read.eval_config.perform_scr is False
