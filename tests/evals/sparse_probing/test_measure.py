"""Sparse probing as a whole: what it reports, that planted classes are found, that nothing depends on company."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from support.outcomes import MakeSae, check_company, check_failing_sae, check_threads, output_of
from support.sae_bench_documents import read_by_sae_bench

from sae_research.errors import UserError
from sae_research.evals.base import EvalContext, Outcome
from sae_research.evals.model_results import ModelResults
from sae_research.evals.sparse_probing.eval import SPARSE_PROBING
from sae_research.evals.sparse_probing.measure import measure_probing
from sae_research.evals.sparse_probing.settings import SparseProbingSettings
from sae_research.lm.tokens import tokenize_texts
from sae_research.measurements import EvalOutput
from sae_research.metrics.groups import GROUPS
from sae_research.probes.wide import fit_wide
from sae_research.records import read_record
from sae_research.saes.base import Sae

SETTINGS = SparseProbingSettings(
    dataset_names=("one", "two"), train_size=60, test_size=40, context_size=12, k_values=(1, 5, 20)
)


class _Set(NamedTuple):
    """As `data.labelled.LabelledSet`."""

    name: str
    train: Mapping[str, Sequence[str]]
    test: Mapping[str, Sequence[str]]


def _texts(words: Sequence[int], n: int, rng: np.random.Generator) -> list[str]:
    """Texts of 3 to 14 words, some of them those of the class."""
    return [
        " ".join(f"w{rng.choice(words) if rng.random() < 0.4 else rng.integers(3, 58)}" for _ in range(length))
        for length in rng.integers(3, 15, n)
    ]


@pytest.fixture(scope="module")
def sets() -> list[Any]:
    rng = np.random.default_rng(0)
    classes = {"a": [5, 6], "b": [20, 21], "c": [40, 41]}
    made = []
    for name, chosen in (("one", "abc"), ("two", "ab")):
        made.append(
            _Set(
                name,
                train={c: _texts(classes[c], 30, rng) for c in chosen},
                test={c: _texts(classes[c], 20, rng) for c in chosen},
            )
        )
    return made


def _measure(context: EvalContext, saes: Sequence[Any], sets: Sequence[Any], batch_size: int = 8) -> list[Outcome]:
    return list(measure_probing(dataclasses.replace(context, batch_size=batch_size), saes, {0: sets}, SETTINGS))


def _value(outcome: Outcome, metric: str, **at: object) -> float | None:
    return next(m.value for m in output_of(outcome).measurements if m.metric == metric and m.at == at)


def test_another_sae_does_not_train_the_models_probes_again(
    context: EvalContext, make_sae: MakeSae, sets: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saes = [make_sae("relu"), make_sae("topk", k=4, seed=1)]
    drawn: dict[int, Any] = dict.fromkeys((0, 1), sets)
    together = [output_of(outcome) for outcome in measure_probing(context, saes, drawn, SETTINGS)]
    kept = dataclasses.replace(context, model_results=ModelResults(tmp_path / "kept", "model"))
    widths: list[int] = []
    monkeypatch.setattr(
        "sae_research.probes.tasks.fit_wide", lambda rows, *args: widths.append(rows.shape[1]) or fit_wide(rows, *args)
    )
    # 16 channels, 48 latents; two sets, two seeds.
    for sae, expected, trained in zip(saes, together, ({16: 4, 48: 4}, {48: 4}), strict=True):
        widths.clear()
        assert [output_of(outcome) for outcome in measure_probing(kept, [sae], drawn, SETTINGS)] == [expected]
        assert Counter(widths) == trained


def test_what_is_reported(context: EvalContext, make_sae: MakeSae, sets: list[Any]) -> None:
    outcome = _measure(context, [make_sae("relu")], sets)[0]
    output = output_of(outcome)
    always = {s.name for s in SPARSE_PROBING.specs if not s.name.endswith(("_seed_std", "_sae_bench", "_here"))}
    assert {m.metric for m in output.measurements} == always
    assert [record["dataset_name"] for record in output.details] == ["one_results", "two_results"]
    for metric in ("llm_test_accuracy", "sae_test_accuracy"):
        per_set = [output.unstructured[f"{name}_results"][metric] for name in ("one", "two")]
        assert [sorted(scores) for scores in per_set] == [["a", "b", "c"], ["a", "b"]]
        means = [np.mean(list(scores.values())) for scores in per_set]
        assert [record[metric] for record in output.details] == pytest.approx(means)
        assert _value(outcome, metric) == pytest.approx(np.mean(means))
        assert _value(outcome, metric, dataset="two") == pytest.approx(means[1])
    for m in output.measurements:
        if m.value is not None:
            assert m.ci_low is not None
            assert m.ci_high is not None
            assert m.ci_low < m.value <= m.ci_high
            assert len(m.replicates) == GROUPS


def test_planted_classes_are_found(context: EvalContext, make_sae: MakeSae, sets: list[Any]) -> None:
    outcome = _measure(context, [make_sae("relu")], sets)[0]
    assert _value(outcome, "llm_test_accuracy") > 0.75  # type: ignore[operator]
    assert _value(outcome, "sae_test_accuracy") > 0.7  # type: ignore[operator]
    assert _value(outcome, "sae_top_k_test_accuracy", k=5) > 0.6  # type: ignore[operator]


def test_k_beyond_the_width_is_missing_with_a_reason(context: EvalContext, make_sae: MakeSae, sets: list[Any]) -> None:
    output = output_of(_measure(context, [make_sae("relu")], sets)[0])
    missing = [(m.metric, dict(m.at), m.reason) for m in output.measurements if m.value is None]
    assert missing == [("llm_top_k_test_accuracy", {"k": 20}, "the model has fewer channels than k = 20")]
    assert output.details[0]["llm_top_20_test_accuracy"] is None


def test_identity_probes_like_the_model(context: EvalContext, make_sae: MakeSae, sets: list[Any]) -> None:
    outcome = _measure(context, [make_sae("identity", d_sae=16)], sets)[0]
    assert _value(outcome, "sae_test_accuracy") == pytest.approx(_value(outcome, "llm_test_accuracy"), abs=0.03)
    for k in (1, 5):
        assert _value(outcome, "sae_top_k_test_accuracy", k=k) == pytest.approx(
            _value(outcome, "llm_top_k_test_accuracy", k=k), abs=0.03
        )


def test_company_order_memory_and_threads_change_nothing(
    context: EvalContext, make_sae: MakeSae, sets: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    saes = [make_sae("relu"), make_sae("topk", k=4), make_sae("ihtp", k=1)]
    measure = partial(_measure, context, sets=sets)
    together = check_company(measure, saes)
    monkeypatch.setattr("sae_research.evals.shared.pooling.free_memory", lambda _device: 3)
    check_threads(measure, saes, together)


def test_without_wide_probes_the_other_numbers_stay(context: EvalContext, make_sae: MakeSae, sets: list[Any]) -> None:
    sae, settings = make_sae("relu"), dataclasses.replace(SETTINGS, wide_probes=False)
    (whole,), (without,) = _measure(context, [sae], sets), measure_probing(context, [sae], {0: sets}, settings)
    (missing,) = [m for m in output_of(without).measurements if m.metric == "sae_test_accuracy"]
    assert (missing.value, missing.reason, missing.at) == (None, "sparse_probing.wide_probes is false", {})
    others = [m for m in output_of(whole).measurements if m.metric != "sae_test_accuracy"]
    assert [m for m in output_of(without).measurements if m != missing] == others
    read = read_by_sae_bench(SPARSE_PROBING, output_of(without), settings)
    assert read.eval_result_metrics.sae.sae_test_accuracy is None


def test_data_sets_do_not_influence_each_other(context: EvalContext, make_sae: MakeSae, sets: list[Any]) -> None:
    both, alone = _measure(context, [make_sae("relu")], sets), _measure(context, [make_sae("relu")], sets[1:])
    assert output_of(both[0]).unstructured["two_results"] == output_of(alone[0]).unstructured["two_results"]


def _reseeded(sets: Sequence[Any], shift: int) -> list[Any]:
    """The same texts as another seed may draw them: some change places between training and test."""

    def turned(texts: Sequence[str]) -> list[str]:
        return [*texts[shift:], *texts[:shift]]

    made = []
    for own in sets:
        both = {c: turned([*own.train[c], *own.test[c]]) for c in own.train}
        train = {c: texts[:30] for c, texts in both.items()}
        made.append(_Set(own.name, train, {c: texts[30:] for c, texts in both.items()}))
    return made


def _measure_seeds(context: EvalContext, sae: Sae, sets: Sequence[Any], seeds: Sequence[int]) -> EvalOutput:
    by_seed = {0: sets, **{seed: _reseeded(sets, seed) for seed in seeds}}
    return output_of(next(measure_probing(context, [sae], by_seed, SETTINGS)))


def test_seeds_are_repeats_and_numbers_their_means(context: EvalContext, make_sae: MakeSae, sets: list[Any]) -> None:
    found = _measure_seeds(context, make_sae("relu"), sets, [7, 8])
    alone = {
        seed: output_of(next(measure_probing(context, [make_sae("relu")], {seed: own}, SETTINGS)))
        for seed, own in ((0, sets), (7, _reseeded(sets, 7)), (8, _reseeded(sets, 8)))
    }

    def of(output: EvalOutput, metric: str, **at: object) -> Any:
        return next(m for m in output.measurements if (m.metric, m.at) == (metric, at))

    for metric, at in (("sae_test_accuracy", {}), ("llm_top_k_test_accuracy", {"k": 1})):
        values = [of(output, metric, **at).value for output in alone.values()]
        assert of(found, metric, **at).value == pytest.approx(np.mean(values), abs=0.01)
        each = [of(found, metric, **at, seed=seed).value for seed in alone]
        assert each == pytest.approx(values, abs=0.02), "pooled in other batches: an example may fall otherwise"
        assert of(found, metric, **at).value == pytest.approx(np.mean(each))
        assert of(found, f"{metric}_seed_std", **at).value == pytest.approx(np.std(each, ddof=1))
    for name in ("one_results", "two_results"):
        own = [output.unstructured[name]["llm_test_accuracy"]["a"] for output in alone.values()]
        assert found.unstructured[name]["llm_test_accuracy"]["a"] == pytest.approx(np.mean(own), abs=0.03)


def test_a_text_of_several_seeds_is_read_once(
    context: EvalContext, make_sae: MakeSae, sets: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []

    def counted(tokenizer: Any, texts: Sequence[str], **named: Any) -> Any:
        read.append(len(texts))
        return tokenize_texts(tokenizer, texts, **named)

    monkeypatch.setattr("sae_research.evals.shared.pooling.tokenize_texts", counted)
    _measure_seeds(context, make_sae("topk", k=4), sets, [7, 8])
    different = [{text for part in (s.train, s.test) for texts in part.values() for text in texts} for s in sets]
    assert read == [len(texts) for texts in different]


def test_seeds_widen_the_interval_by_their_spread(context: EvalContext, make_sae: MakeSae, sets: list[Any]) -> None:
    output = _measure_seeds(context, make_sae("topk", k=4), sets, [7, 8, 9])
    by_place = {(m.metric, *sorted(m.at.items())): m for m in output.measurements}
    whole = by_place["sae_test_accuracy",]
    spread = by_place["sae_test_accuracy_seed_std",].value
    assert whole.value is not None
    assert whole.ci_low is not None
    assert spread is not None
    assert whole.value - whole.ci_low > 3.182446305284263 * spread / 2  # t_3 at 97.5 %, over the root of 4 seeds


def test_one_failing_sae_leaves_the_others_alone(context: EvalContext, make_sae: MakeSae, sets: list[Any]) -> None:
    check_failing_sae(partial(_measure, context, sets=sets), make_sae)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"train_size": 41}, "train_size is 41, expected an even number"),
        ({"test_size": 0}, "test_size is 0, expected at least 2"),
        ({"k_values": []}, "k_values is empty"),
        ({"k_values": [1, 1]}, "k_values holds a value twice"),
        ({"k_values": [0]}, "k_values holds 0"),
        ({"dataset_names": []}, "dataset_names is empty"),
        ({"seeds": [1, 1]}, "seeds holds a value twice"),
    ],
)
def test_settings_are_checked(values: Mapping[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_record(SparseProbingSettings, {"dataset_names": ["one"], **values}, where="sparse_probing")
