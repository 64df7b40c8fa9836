"""Absorption as a whole: planted SAEs, what is reported, invariances, failures."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from support.letters import SETTINGS, absorbing_sae, letter_directions, letters_sae, make_letter_sae
from support.outcomes import check_company, check_threads, output_of
from support.sae_bench_documents import read_by_sae_bench

from sae_research.errors import UserError
from sae_research.evals.absorption.eval import ABSORPTION
from sae_research.evals.absorption.settings import AbsorptionSettings
from sae_research.evals.base import EvalContext, Outcome
from sae_research.records import read_record
from sae_research.saes.base import Sae


def _run(context: EvalContext, saes: Sequence[Sae], settings: AbsorptionSettings = SETTINGS) -> list[Outcome]:
    return list(ABSORPTION.run(context, saes, settings))


def _values(outcome: Outcome) -> dict[str, float | None]:
    return {m.metric: m.value for m in output_of(outcome).measurements if not m.at}


def test_planted_absorption_is_found(context: EvalContext) -> None:
    ideal, absorbing = (_values(o) for o in _run(context, [letters_sae(), absorbing_sae(context.lm, "abcd")]))
    assert ideal["mean_absorption_fraction_score"] == pytest.approx(0, abs=0.02)
    assert ideal["mean_full_absorption_score"] == 0
    outcome = _run(context, [absorbing_sae(context.lm, "abcd")])[0]
    by_letter = {
        m.at["letter"]: m.value for m in output_of(outcome).measurements if m.metric == "full_absorption_score"
    }
    assert all(by_letter[letter] > 0.5 for letter in "abcd")  # type: ignore[operator]
    assert all(value == 0 for letter, value in by_letter.items() if str(letter) not in "abcd")
    assert absorbing["mean_absorption_fraction_score"] > 0.1  # type: ignore[operator]


def test_what_is_reported(context: EvalContext) -> None:
    outcome = _run(context, [absorbing_sae(context.lm, "ab")])[0]
    output = output_of(outcome)
    assert {m.metric for m in output.measurements} == {spec.name for spec in ABSORPTION.specs}
    details = {row["first_letter"]: row for row in output.details}
    assert len(details) >= SETTINGS.min_feats_for_eval
    columns = {
        "absorption_fraction_score": "mean_absorption_fraction",
        "full_absorption_score": "full_absorption_rate",
        "num_split_features": "num_split_features",
    }
    for metric, field in columns.items():
        values = [row[field] for row in details.values()]
        assert _values(outcome)[f"mean_{metric}"] == pytest.approx(np.mean(values))
        assert _values(outcome)[f"std_dev_{metric}"] == pytest.approx(np.std(values, ddof=1))
        own = {m.at["letter"]: m.value for m in output.measurements if m.metric == metric}
        assert own == {letter: pytest.approx(row[field]) for letter, row in details.items()}
    for row in details.values():
        assert row["num_full_absorption"] == pytest.approx(
            row["full_absorption_rate"] * row["num_probe_true_positives"]
        )
    for m in output.measurements:
        if m.ci_low is not None:
            assert m.ci_low <= m.value <= m.ci_high  # type: ignore[operator]
    means = [m for m in output.measurements if m.metric.startswith("mean_")]
    assert {len(m.replicates) for m in means} == {len(details)}
    directions = {spec.name: spec.direction for spec in ABSORPTION.specs}
    assert {directions[m.metric] for m in means} == {"lower"}


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
        assert {m.value for m in output.measurements} == {None}
        assert all("finds 0 first letters with F1 above 1; 20 are needed" in str(m.reason) for m in output.measurements)
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
        ({"k_sparse_probe_l1_decay": -1.0}, "k_sparse_probe_l1_decay is -1"),
    ],
)
def test_settings_are_checked(values: Mapping[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_record(AbsorptionSettings, values, where="absorption")
