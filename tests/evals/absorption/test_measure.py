"""Absorption as a whole: planted SAEs, what is reported, invariances, failures."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from support.letters import SAE_BENCHS, SETTINGS, absorbing_sae, letter_directions, letters_sae, make_letter_sae
from support.outcomes import check_company, check_threads, output_of
from support.sae_bench_documents import read_by_sae_bench

from sae_research.errors import UserError
from sae_research.evals.absorption.eval import ABSORPTION
from sae_research.evals.absorption.settings import AbsorptionSettings
from sae_research.evals.base import EvalContext, Outcome
from sae_research.measurements import Measurement
from sae_research.metrics.groups import GROUPS
from sae_research.records import read_record
from sae_research.saes.base import Sae


def _run(context: EvalContext, saes: Sequence[Sae], settings: AbsorptionSettings = SETTINGS) -> list[Outcome]:
    return list(ABSORPTION.run(context, saes, settings))


def _by_letter(outcome: Outcome, metric: str) -> dict[str, Measurement]:
    return {str(m.at["letter"]): m for m in output_of(outcome).measurements if m.metric == metric}


def _values(outcome: Outcome) -> dict[str, float | None]:
    return {m.metric: m.value for m in output_of(outcome).measurements if not m.at}


def test_planted_absorption_is_found(context: EvalContext) -> None:
    """A third of the words of four letters is absorbed; the letters' own latents still find the other two thirds."""
    (outcome,) = _run(context, [absorbing_sae(context.lm, "abcd", every=3)])
    full = _by_letter(outcome, "full_absorption_score")
    assert {letter for letter, m in full.items() if m.value} == set("bcd"), (
        "a has two test words, neither with a latent"
    )
    for letter in "bcd":
        assert full[letter].ci_low is not None and full[letter].ci_high is not None
        assert full[letter].ci_low <= 1 / 3 <= full[letter].ci_high  # type: ignore[operator]
        assert 0.6 < _by_letter(outcome, "sae_probe_f1")[letter].value < 0.95  # type: ignore[operator]
    ideal = _values(_run(context, [letters_sae()])[0])
    assert ideal["mean_absorption_fraction_score"] == pytest.approx(0, abs=0.02)
    assert ideal["mean_full_absorption_score"] == 0
    assert ideal["mean_sae_probe_f1"] == 1


def test_an_sae_that_normalises_absorbs_in_the_units_of_activations(
    context: EvalContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its codes are others, but the planted absorption and the share of the projection that it explains are not."""
    plain, scaled = (absorbing_sae(context.lm, "abcd", every=3) for _ in "ab")
    scaled.card = dataclasses.replace(scaled.card, input_norm="constant_norm_rescale")
    capture = context.lm.capture
    monkeypatch.setattr(context.lm, "capture", lambda *args: 4 * capture(*args))
    expected, found = (_by_letter(outcome, "absorption_fraction_score") for outcome in _run(context, [plain, scaled]))
    assert {k: m.value for k, m in found.items()} == pytest.approx({k: m.value for k, m in expected.items()}, abs=0.02)


def test_a_letter_without_a_latent_has_no_score_but_under_sae_benchs_rules(context: EvalContext) -> None:
    """All words of four letters have a latent each and these letters none: there is nothing to be absorbed."""
    sae = absorbing_sae(context.lm, "abcd")
    (clean,), (as_sae_bench,) = _run(context, [sae]), _run(context, [sae], SAE_BENCHS)
    for metric in ("absorption_fraction_score", "full_absorption_score", "num_split_features"):
        numbers = _by_letter(clean, metric)
        assert {letter for letter, m in numbers.items() if m.value is None} == set("abcd")
        assert "detects the letter with F1 of 0." in str(numbers["a"].reason)
    assert _values(clean)["mean_full_absorption_score"] == 0
    theirs = _by_letter(as_sae_bench, "full_absorption_score")
    assert all(theirs[letter].value > 0.5 for letter in "abcd")  # type: ignore[operator]
    assert all(m.value == 0 for letter, m in theirs.items() if letter not in "abcd")
    assert _values(as_sae_bench)["mean_absorption_fraction_score"] > 0.1  # type: ignore[operator]


def test_too_few_letters_of_an_sae_leave_no_means(context: EvalContext) -> None:
    settings = dataclasses.replace(SETTINGS, min_sae_letters=23)
    found, lacking = _run(context, [letters_sae(), absorbing_sae(context.lm, "abcd")], settings)
    assert _values(found)["mean_full_absorption_score"] == 0
    reasons = {m.metric: m.reason for m in output_of(lacking).measurements if not m.at and m.value is None}
    assert set(reasons) == {
        f"{kind}_{name}" for kind in ("mean", "std_dev")
        for name in ("absorption_fraction_score", "full_absorption_score", "num_split_features")
    }  # fmt: skip
    assert "detects 21 of 25 letters with F1 of 0.6 or more; 23 are needed" in str(
        reasons["mean_full_absorption_score"]
    )
    assert _values(lacking)["mean_sae_probe_f1"] < 0.95  # type: ignore[operator]


def test_what_is_reported(context: EvalContext) -> None:
    outcome = _run(context, [absorbing_sae(context.lm, "ab")])[0]
    output = output_of(outcome)
    assert {m.metric for m in output.measurements} == {spec.name for spec in ABSORPTION.specs} - {"interpolates_here"}
    details = {row["first_letter"]: row for row in output.details}
    assert len(details) >= SETTINGS.min_feats_for_eval
    columns = {
        "absorption_fraction_score": "mean_absorption_fraction",
        "full_absorption_score": "full_absorption_rate",
        "num_split_features": "num_split_features",
    }
    for metric, field in columns.items():
        numbers = _by_letter(outcome, metric)
        values = [row[field] for letter, row in details.items() if numbers[letter].value is not None]
        assert len(values) == len(details) - 2
        assert _values(outcome)[f"mean_{metric}"] == pytest.approx(np.mean(values))
        assert _values(outcome)[f"std_dev_{metric}"] == pytest.approx(np.std(values, ddof=1))
        assert [m.value for m in numbers.values() if m.value is not None] == pytest.approx(values)
    scored = [row for row in details.values() if row["full_absorption_rate"] is not None]
    for row in scored:
        assert row["num_full_absorption"] == pytest.approx(
            row["full_absorption_rate"] * row["num_probe_true_positives"]
        )
    for m in output.measurements:
        if m.ci_low is not None:
            assert m.ci_low <= m.value <= m.ci_high  # type: ignore[operator]
    replicates = {m.metric: len(m.replicates) for m in output.measurements if m.metric.startswith("mean_")}
    assert set(replicates.values()) == {GROUPS, len(details)}, "of groups of words, of letters for the split latents"
    directions = {spec.name: spec.direction for spec in ABSORPTION.specs}
    assert {directions[metric] for metric in replicates if "score" in metric} == {"lower"}


def test_sae_bench_accepts_the_document(context: EvalContext) -> None:
    for settings in (SETTINGS, dataclasses.replace(SETTINGS, min_probe_f1=1.0)):
        output = output_of(_run(context, [letters_sae()], settings)[0])
        read = read_by_sae_bench(ABSORPTION, output, settings)
        assert len(read.eval_result_details) == len(output.details)


def test_too_few_letters_are_a_reason_not_a_stop(context: EvalContext) -> None:
    outcomes = _run(
        context,
        [letters_sae(), make_letter_sae("ihtp", letter_directions(), k=1)],
        dataclasses.replace(SETTINGS, min_probe_f1=1.0),
    )
    for outcome in outcomes:
        output = output_of(outcome)
        scores = [m for m in output.measurements if m.metric != "interpolates_here"]
        assert {m.value for m in scores} == {None}
        assert all("finds 0 first letters with F1 above 1; 20 are needed" in str(m.reason) for m in scores)
        assert set(output.unstructured["probe_f1"]) == set("abcdefghijklmnopqrstuvwxyz")


def test_company_order_threads_and_batches_change_nothing(context: EvalContext) -> None:
    atoms = letter_directions()
    pursuits = [make_letter_sae("ihtp", atoms, k=1), make_letter_sae("mpsae", atoms, s=3)]
    saes = [letters_sae(), make_letter_sae("topk", atoms, k=3), *pursuits]
    measure = partial(_run, context)
    together = check_company(measure, saes)
    check_threads(measure, saes, together)
    smaller = [_values(o) for o in _run(dataclasses.replace(context, batch_size=5), saes)]
    for own, other in zip(together, smaller, strict=True):
        assert {m.metric: m.value for m in own.measurements if not m.at} == pytest.approx(other, abs=1e-4)


def test_one_failing_sae_leaves_the_others_alone(context: EvalContext) -> None:
    bad = [
        make_letter_sae("relu", 3e38 * letter_directions(), name="bad"),
        make_letter_sae("ihtp", letter_directions(), k=1, name="worse"),
    ]
    bad[1].b_dec.fill_(float("nan"))
    outcomes = _run(context, [*bad, letters_sae()])
    assert all(outcome.error is not None for outcome in outcomes[:2])
    assert outcomes[2].output == _run(context, [letters_sae()])[0].output


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"prompt_template": "no place"}, "prompt_template is 'no place'"),
        ({"prompt_token_pos": 2}, "prompt_token_pos is 2"),
        ({"max_k_value": 0}, "max_k_value is 0"),
        ({"min_feats_for_eval": 27}, "min_feats_for_eval is 27"),
        ({"min_sae_letters": 27}, "min_sae_letters is 27"),
        ({"k_sparse_probe_l1_decay": -1.0}, "k_sparse_probe_l1_decay is -1"),
    ],
)
def test_settings_are_checked(values: Mapping[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_record(AbsorptionSettings, values, where="absorption")
