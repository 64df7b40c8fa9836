"""SCR as a whole: a planted correlation, what is missing and why, and that nothing depends on company."""

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

from sae_research.data.paired import PairedSet, PairPool, cut_pair
from sae_research.errors import UserError
from sae_research.evals.base import EvalContext, Outcome
from sae_research.evals.scr.eval import SCR
from sae_research.evals.scr.measure import measure_scr
from sae_research.evals.scr.probes import BIASED, CLASS, GROUP, PairTexts
from sae_research.evals.scr.report import PairProbes, score_pair
from sae_research.evals.scr.settings import ScrSettings
from sae_research.metrics.draws import Repeated
from sae_research.metrics.intervals import Estimate
from sae_research.records import read_record

SETTINGS = ScrSettings(("one",), train_size=120, test_size=80, context_size=12, n_values=(2, 5, 60))


def _texts(rng: np.random.Generator, n: int, word: int, marks: Sequence[int]) -> list[str]:
    """Texts of 6 to 14 words, some that tell the class, more that tell the group."""
    made = []
    for length in rng.integers(6, 15, n):
        kinds = rng.random(length)
        words = np.where(
            kinds < 0.2, word, np.where(kinds < 0.55, rng.choice(marks, length), rng.integers(0, 58, length))
        )
        made.append(" ".join(f"w{i}" for i in words))
    return made


@pytest.fixture(scope="module")
def pool() -> PairPool:
    rng = np.random.default_rng(0)
    groups = {"m": (40, 41), "f": (50, 51)}
    splits = [
        {label: {g: _texts(rng, n, 5 + 3 * i, marks) for g, marks in groups.items()} for i, label in enumerate("abc")}
        for n in (70, 50)
    ]
    return PairPool("one", ("m", "f"), (("a", "b"), ("b", "c")), *splits)


@pytest.fixture(scope="module")
def sets(pool: PairPool) -> list[PairedSet]:
    return [cut_pair(pool, pair, train=30, test=20, seed=0, sampling="keyed") for pair in pool.pairs]


def _measure(context: EvalContext, saes: Sequence[Any], sets: Sequence[PairedSet], **changed: Any) -> list[Outcome]:
    return list(measure_scr(context, saes, {0: sets}, dataclasses.replace(SETTINGS, **changed)))


def test_what_is_reported(context: EvalContext, make_sae: MakeSae, sets: list[PairedSet]) -> None:
    (outcome,) = _measure(context, [make_sae("relu")], sets)
    output = output_of(outcome)
    assert {m.metric for m in output.measurements} == {
        s.name for s in SCR.specs if not s.name.endswith(("_seed_std", "interpolates_here"))
    }
    assert [detail["dataset_name"] for detail in output.details] == ["one_scr_a_b_results", "one_scr_b_c_results"]
    for n in (2, 5):
        parts = [one(outcome, "scr_metric", n=n, dataset="one", pair=pair).value for pair in ("a / b", "b / c")]
        whole = one(outcome, "scr_metric", n=n)
        assert whole.value == pytest.approx(np.mean(parts))  # type: ignore[arg-type]
        assert whole.ci_low is not None and whole.ci_high is not None
        assert whole.ci_low < whole.value < whole.ci_high  # type: ignore[operator]
        assert len(whole.replicates) == 32
    assert one(outcome, "scr_metric", n=60).reason == "the SAE has fewer latents than n = 60"


def test_ablating_all_of_a_basis_leaves_nothing_of_the_correlation(
    context: EvalContext, make_sae: MakeSae, sets: list[PairedSet]
) -> None:
    """With the identity for an SAE the biased probe sees the remaining coordinates only: direct check of one number."""
    (outcome,) = _measure(context, [make_sae("identity", d_sae=16)], sets, n_values=(16,))
    detail = output_of(outcome).unstructured["one_scr_a_b"]
    measured = one(outcome, "scr_dir1", n=16, dataset="one", pair="a / b").value
    # All channels are gone: the probe says the same of every text, right for half of them.
    expected = (0.5 - detail["biased_accuracy_dir1"]) / (detail["clean_accuracy_dir1"] - detail["biased_accuracy_dir1"])
    assert measured == pytest.approx(expected)
    assert detail["biased_accuracy_dir1"] < detail["biased_accuracy_dir2"], "the group is easier to tell"


def test_rows_of_both_sides_by_hand() -> None:
    pool = PairPool("x", ("m", "f"), (("a", "b"),), *[
        {c: {g: [f"{c}{g}{i}" for i in range(4)] for g in "mf"} for c in "ab"} for _ in range(2)
    ])  # fmt: skip
    split = PairTexts.of(cut_pair(pool, ("a", "b"), train=2, test=2, seed=0, sampling="sae_bench").train)
    texts = [*split.balanced, *split.rest]

    def named(probe: int) -> list[list[str]]:
        return [[texts[i] for i in side] for side in split.sides(probe)]

    assert named(GROUP) == [["am0", "am1", "bm0", "bm1"], ["af0", "af1", "bf0", "bf1"]]
    assert named(CLASS) == [["am0", "am1", "af0", "af1"], ["bm0", "bm1", "bf0", "bf1"]]
    assert named(BIASED) == [["am0", "am1", "am2", "am3"], ["bf0", "bf1", "bf2", "bf3"]]


def _probes(clean: float, one: float, two: float) -> PairProbes:
    def hits(share: float) -> np.ndarray:
        return (np.arange(100) % 10 < 10 * share).astype(float)

    return PairProbes({1: hits(clean), 2: hits(clean)}, {1: hits(one), 2: hits(two)}, np.arange(100))


def _score(sets: list[PairedSet], probes: PairProbes, rules: Any) -> dict[str, Any]:
    after = (np.arange(100) % 10 < 8).astype(float)[None]
    scores = score_pair(sets[0], {0: probes}, {0: {1: after, 2: after}}, (2,), rules)
    of_one_n = {metric: by_n[2] for metric, by_n in scores.by_metric.items()}
    return {metric: score if isinstance(score, str) else score.mean for metric, score in of_one_n.items()}


def test_scores_by_hand(sets: list[PairedSet]) -> None:
    scores = _score(sets, _probes(0.9, 0.5, 0.7), "clean")
    assert scores["scr_dir1"].value == pytest.approx((0.8 - 0.5) / (0.9 - 0.5))
    assert scores["scr_dir2"].value == pytest.approx((0.8 - 0.7) / (0.9 - 0.7))
    assert scores["scr_metric"] == scores["scr_dir1"]
    assert _score(sets, _probes(0.9, 0.7, 0.5), "clean")["scr_metric"].value == pytest.approx(0.75)


def test_no_direction_and_no_gap(sets: list[PairedSet]) -> None:
    equal = _score(sets, _probes(0.9, 0.5, 0.5), "clean")
    assert equal["scr_metric"] == "the biased probe is equally accurate in both directions"
    assert isinstance(equal["scr_dir1"], Estimate)
    assert "less than 0.001" in _score(sets, _probes(0.6, 0.5, 0.6), "clean")["scr_dir2"]
    assert _score(sets, _probes(0.6, 0.5, 0.6), "sae_bench")["scr_dir2"] == Estimate(0.0)


def test_an_ablation_that_turns_no_text_is_not_known_exactly(sets: list[PairedSet]) -> None:
    """Here every text stays as it was; had one of 100 turned, the score would be .025 higher."""
    probes = _probes(0.9, 0.5, 0.7)
    scores = score_pair(sets[0], {0: probes}, {0: {d: probes.biased[d][None] for d in (1, 2)}}, (2,), "clean")
    score = scores.by_metric["scr_dir1"][2]
    assert isinstance(score, Repeated)
    half = 2.0395134463964077 / (0.4 * 100)  # t_31 at 97.5 %
    assert score.mean[:3] == pytest.approx((0.0, -half, half))


def test_the_accuracies_behind_the_scores_are_reported(
    context: EvalContext, make_sae: MakeSae, sets: list[PairedSet]
) -> None:
    (outcome,) = _measure(context, [make_sae("relu")], sets)
    detail = output_of(outcome).unstructured["one_scr_a_b"]
    for kind in ("clean", "biased"):
        of_pairs = [
            one(outcome, f"scr_{kind}_accuracy", direction=1, dataset="one", pair=pair) for pair in ("a / b", "b / c")
        ]
        assert of_pairs[0].value == detail[f"{kind}_accuracy_dir1"]
        assert of_pairs[0].ci_low is not None
        mean = np.mean([m.value for m in of_pairs])  # type: ignore[misc]
        assert one(outcome, f"scr_{kind}_accuracy", direction=1).value == pytest.approx(mean)


def test_company_order_memory_and_threads_change_nothing(
    context: EvalContext, make_sae: MakeSae, sets: list[PairedSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    saes = [make_sae("relu"), make_sae("topk", k=4), make_sae("ihtp", k=1), make_sae("mpsae", s=3)]
    measure = partial(_measure, context, sets=sets)
    together = check_company(measure, saes)
    monkeypatch.setattr("sae_research.evals.shared.pooling.free_memory", lambda _device: 3)
    check_threads(measure, saes, together)


def test_numbers_by_share_of_d_in_are_those_of_the_number_of_latents(
    context: EvalContext, make_sae: MakeSae, sets: list[PairedSet], pool: PairPool
) -> None:
    """Of 16 dimensions 12 % are 1.92 latents, 31 % are 4.96, and 1 % is one at least."""
    shares = {1: 1, 12: 2, 31: 5}
    (outcome,) = _measure(context, [make_sae("relu")], sets, n_values=(1, 2, 5), n_shares=tuple(shares))
    for percent, n in shares.items():
        for place in ({}, {"dataset": "one", "pair": "a / b"}):
            by_share = one(outcome, "scr_metric_by_share", percent=percent, **place)
            by_number = one(outcome, "scr_metric", n=n, **place)
            assert by_share == dataclasses.replace(by_number, metric=by_share.metric, at=by_share.at)
    (alone,) = _measure(context, [make_sae("relu")], sets, n_values=(2,), n_shares=(31,))
    other = one(alone, "scr_metric_by_share", percent=31)
    assert other == one(outcome, "scr_metric_by_share", percent=31)
    assert not any("threshold_5" in key for key in output_of(alone).details[0]), "SAEBench's record has its grid alone"
    drawn = [cut_pair(pool, pair, train=30, test=20, seed=0, sampling="sae_bench") for pair in pool.pairs]
    (theirs,) = _measure(context, [make_sae("relu")], drawn, sampling="sae_bench")
    assert "sampling: sae_bench" in str(one(theirs, "scr_metric_by_share", percent=4).reason)


def test_one_failing_sae_leaves_the_others_alone(
    context: EvalContext, make_sae: MakeSae, sets: list[PairedSet]
) -> None:
    check_failing_sae(partial(_measure, context, sets=sets), make_sae)


def test_an_sae_that_normalises_is_ablated_in_the_units_of_activations(
    context: EvalContext, make_sae: MakeSae, sets: list[PairedSet]
) -> None:
    check_normalised_sae(partial(_measure, context, sets=sets), make_sae)


@pytest.mark.parametrize("rules", ["clean", "sae_bench"])
def test_sae_bench_reads_the_result(context: EvalContext, make_sae: MakeSae, sets: list[PairedSet], rules: Any) -> None:
    settings = dataclasses.replace(SETTINGS, rules=rules, n_values=(2, 500))
    (outcome,) = measure_scr(context, [make_sae("relu")], {0: sets}, settings)
    read = read_by_sae_bench(SCR, output_of(outcome), settings)
    assert read.eval_result_metrics.scr_metrics.scr_metric_threshold_2 == pytest.approx(
        one(outcome, "scr_metric", n=2).value
    )
    assert read.eval_result_metrics.scr_metrics.scr_metric_threshold_500 is None
    assert read.eval_result_details[0].dataset_name == "one_scr_a_b_results"
    assert read.eval_config.perform_scr is True
    assert read.eval_config.train_set_size == 120


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"train_size": 42}, "train_size is 42, expected a multiple of 4"),
        ({"test_size": 0}, "test_size is 0, expected at least 4"),
        ({"n_values": []}, "n_values is empty"),
        ({"n_values": [1, 1]}, "n_values holds a value twice"),
        ({"n_values": [0]}, "n_values holds 0"),
        ({"rules": "ours"}, "valid: clean, sae_bench"),
    ],
)
def test_settings_are_checked(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_record(ScrSettings, {"dataset_names": ["one"], **values}, where="scr")
