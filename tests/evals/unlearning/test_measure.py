"""Unlearning from files to documents: invariances, failures, a model that knows nothing."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from support.outcomes import MakeSae
from support.questions import FORMAT, SETTINGS, SITE, likeliest
from support.sae_bench_documents import read_by_sae_bench
from support.threads import torch_threads

from sae_research.evals.base import EvalContext
from sae_research.evals.unlearning.eval import UNLEARNING
from sae_research.evals.unlearning.measure import find_known, load_inputs
from sae_research.evals.unlearning.prompts import Prompter, orders_of


def _values(outcomes: Any) -> list[list[tuple[str, Any]]]:
    return [[(m.metric, m.value) for m in outcome.output.measurements] for outcome in outcomes]


def test_from_files_to_documents_whatever_batch_and_threads(filled: EvalContext, make_sae: MakeSae) -> None:
    saes = [make_sae("relu"), make_sae("mpsae", s=4), make_sae("ihtp", k=1)]
    outcomes = list(UNLEARNING.run(filled, saes, SETTINGS))
    assert [o.sae for o in outcomes] == saes
    small = dataclasses.replace(filled, batch_size=1)
    with torch_threads(3):
        assert _values(UNLEARNING.run(small, saes[::-1], SETTINGS))[::-1] == _values(outcomes)
    for outcome in outcomes:
        assert outcome.output is not None, outcome.error
        assert len(outcome.output.measurements) == 2 + 2 * 8 + (outcome.sae.scope == "sequence")
        read = read_by_sae_bench(UNLEARNING, outcome.output, SETTINGS)
        assert 0 <= read.eval_result_metrics.unlearning.unlearning_score <= 1
    accuracies = {m.value for o in outcomes if o.output for m in o.output.measurements if m.metric == "forget_accuracy"}
    assert len(accuracies) > 2


def test_asked_in_several_orders_a_question_counts_by_its_share(filled: EvalContext, make_sae: MakeSae) -> None:
    settings = dataclasses.replace(SETTINGS, required_orders=2, asked_orders=2)
    (outcome,) = UNLEARNING.run(filled, [make_sae("relu")], settings)
    assert outcome.output is not None, outcome.error
    values = [m for m in outcome.output.measurements if m.metric == "forget_accuracy"]
    assert all(m.ci_low is not None and m.value is not None and 0 <= m.ci_low <= m.value for m in values)


def test_questions_that_count_are_right_in_every_order(filled: EvalContext) -> None:
    settings = dataclasses.replace(SETTINGS, required_orders=2)
    questions = load_inputs(filled, settings).questions
    prompter = Prompter(filled.lm.tokenizer, FORMAT, settings.protocol)
    with torch.no_grad():
        known = find_known(filled, SITE, questions, prompter, required_orders=2)
    expected = [
        q.question
        for q in questions.questions
        if all(
            likeliest(filled.lm, q.in_order(order), "option_text") == q.in_order(order).answer
            for order in orders_of(len(q.choices), 2)
        )
    ]
    assert [q.question for q in known.questions] == expected
    assert 0 < len(expected) < len(questions.questions)


def test_an_sae_that_fails_leaves_the_others_alone(filled: EvalContext, make_sae: MakeSae) -> None:
    good, bad = make_sae("relu"), make_sae("mpsae", s=2)
    alone = _values(UNLEARNING.run(filled, [good], SETTINGS))
    bad.b_dec.fill_(torch.nan)
    failed, fine = UNLEARNING.run(filled, [bad, good], SETTINGS)
    assert failed.output is None and failed.error is not None
    assert _values([fine]) == alone


def test_a_model_that_knows_nothing_gives_a_reason(filled: EvalContext, make_sae: MakeSae) -> None:
    settings = dataclasses.replace(SETTINGS, required_orders=24, protocol="letters")
    (outcome,) = UNLEARNING.run(filled, [make_sae("relu")], settings)
    assert outcome.output is not None
    score = outcome.output.measurements[0]
    assert score.value is None
    assert score.reason is not None and "answered correctly by the unmodified model" in score.reason


def test_interpolation_is_that_of_the_prompts(filled: EvalContext, make_sae: MakeSae) -> None:
    """Of 16 dimensions, tokens that choose 8 atoms each span all in every prompt, those that choose one in none."""
    outcomes = UNLEARNING.run(filled, [make_sae("ihtp", k=8), make_sae("ihtp", k=1), make_sae("relu")], SETTINGS)
    shares = [[m.value for m in o.output.measurements if m.metric == "interpolates_here"] for o in outcomes if o.output]
    assert shares[0] == [1.0]
    assert 0 <= shares[1][0] < 1  # type: ignore[operator]
    assert shares[2] == []


def test_an_sae_that_chooses_for_whole_sequences_has_no_score(filled: EvalContext, make_sae: MakeSae) -> None:
    with_rates, without = UNLEARNING.run(filled, [make_sae("ihtp_causal", k=1), make_sae("shtp", s=4)], SETTINGS)
    assert with_rates.output is not None and with_rates.output.measurements[0].value is not None
    assert without.output is not None, without.error
    assert [(m.metric, m.value) for m in without.output.measurements] == [
        ("unlearning_score", None), ("chosen_side_effect_accuracy", None),
    ]  # fmt: skip
    assert all("not token by token" in (m.reason or "") for m in without.output.measurements)


def test_all_its_data_enters_the_key(filled: EvalContext) -> None:
    revisions = {data_set.name: data_set.revision(filled.hub) for data_set in UNLEARNING.data(SETTINGS)}
    assert set(revisions) == {"embedded/forget", "embedded/retain", "embedded/facts"}
    assert all(revision.startswith("sha256:") for revision in revisions.values())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"prompt_format": "gema"}, "prompt_format is 'gema', expected gemma, plain, embedded"),
        ({"asked_orders": 3}, "at most required_orders"),
        ({"multipliers": ()}, "multipliers is"),
        ({"n_latents": (0,)}, "n_latents is"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(SETTINGS, **wrong)
