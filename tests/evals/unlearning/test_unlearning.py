"""Unlearning: each part against a slow, plain version of itself, and the eval from files to documents."""

from __future__ import annotations

import dataclasses
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from support.outcomes import MakeSae
from support.threads import torch_threads

from sae_research.evals.base import EvalContext
from sae_research.evals.registry import find_eval
from sae_research.evals.shared.attempts import Attempt
from sae_research.evals.unlearning.clamp import Clamping, answer_clamped, units
from sae_research.evals.unlearning.corpora import Corpus
from sae_research.evals.unlearning.eval import UNLEARNING
from sae_research.evals.unlearning.firing import count_firing
from sae_research.evals.unlearning.grid import Clamp, choose_latents
from sae_research.evals.unlearning.measure import find_known, load_subject
from sae_research.evals.unlearning.prompts import Prompter, batches, orders_of, right_answers
from sae_research.evals.unlearning.questions import Question, QuestionSource
from sae_research.evals.unlearning.report import Answers, QuestionSet, choose_clamp, unlearning_output
from sae_research.evals.unlearning.settings import UnlearningSettings
from sae_research.lm.model import LanguageModel
from sae_research.lm.site import Site
from sae_research.measurements import Result
from sae_research.results.document import to_document
from sae_research.saes.base import Sae
from sae_research.saes.encoding import Encoder

SITE = Site(0, "resid_post")

FORMAT = "w50 {question} w51{lettered} w52 {listed} w53"
SETTINGS = UnlearningSettings(
    forget_corpus=Corpus("embedded/forget"),
    retain_corpus=Corpus("embedded/retain"),
    n_rows=12,
    context_size=12,
    forget_questions=QuestionSource("embedded/facts", ("poison",)),
    harmless_questions=QuestionSource("embedded/facts", ("birds", "gems")),
    prompt_format=FORMAT,
    protocol="option_text",
    required_orders=1,
    retain_thresholds=(0.2, 0.9),
    n_latents=(2, 5),
    multipliers=(2, 8),
)
ARCHITECTURES = {"relu": {}, "topk": {"k": 6}, "jumprelu": {}, "mpsae": {"s": 4}, "ihtp": {"k": 1}}


def words(rng: np.random.Generator, n: int) -> str:
    return " ".join(f"w{w}" for w in rng.integers(3, 58, n))


def some_questions(n: int, *, seed: int = 0, subject: str = "poison") -> list[Question]:
    """Options of one to three words."""
    rng = np.random.default_rng(seed)
    return [
        Question(subject, words(rng, 4), tuple(words(rng, int(rng.integers(1, 4))) for _ in range(2 + i % 3)), i % 2)
        for i in range(n)
    ]


@pytest.fixture
def filled(context: EvalContext) -> EvalContext:
    """The context with corpora and questions in its world."""
    folder = context.hub.world / "datasets"
    rng = np.random.default_rng(3)
    for name, low, high in (("forget", 3, 40), ("retain", 20, 58)):
        texts = [" ".join(f"w{w}" for w in rng.integers(low, high, 25)) for _ in range(30)]
        _write(folder / name / "data" / "train-0.parquet", {"text": texts})
    for i, split in enumerate(("train", "test")):
        asked = [
            q for j, s in enumerate(("poison", "birds", "gems")) for q in some_questions(28, seed=9 * i + j, subject=s)
        ]
        columns = {name: [getattr(q, name) for q in asked] for name in Question._fields}
        _write(
            folder / "facts" / "data" / f"{split}-0.parquet", {**columns, "choices": [list(q.choices) for q in asked]}
        )
    return context


def _write(path: Path, columns: dict[str, list[Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


# Latents and interventions


def test_latents_below_the_threshold_by_their_forget_rate() -> None:
    forget = torch.tensor([0.5, 0.3, 0.3, 0.0, 0.9, 0.1])
    retain = torch.tensor([0.05, 0.0, 0.0, 0.0, 0.5, 0.1])
    chosen = choose_latents(forget, retain, thresholds=(0.05, 0.2), numbers=(1, 3, 9))
    sets = {key: chosen.latents[chosen.sets[own]].tolist() for key, own in chosen.set_of.items()}
    # 0.05 itself is not below 0.05; of equal rates the lower latent comes first; 3 never fires.
    assert sets[0.05, 1] == [1]
    assert sets[0.05, 3] == sets[0.05, 9] == [1, 2]
    assert sets[0.2, 1] == [0]
    assert sets[0.2, 3] == [0, 1, 2]
    assert sets[0.2, 9] == [0, 1, 2, 5]
    assert len(chosen.sets) == 5


def test_nothing_to_clamp() -> None:
    chosen = choose_latents(torch.zeros(4), torch.zeros(4), thresholds=(0.1,), numbers=(2,))
    assert chosen.sets.shape == (1, 0)
    assert len(chosen.latents) == 0


def test_the_unit_is_the_sae_s_own_or_the_norm_of_activations(make_sae: MakeSae) -> None:
    sae = make_sae("relu", tensors={"W_dec": 3 * torch.eye(48, 16)})
    chosen = choose_latents(torch.ones(48), torch.zeros(48), thresholds=(1.0,), numbers=(2,))
    assert units(sae, chosen, 8.0, scaled=False).tolist() == [1, 1]
    # sqrt(16) = 4: 8 / 4 along an atom of length 3.
    assert units(sae, chosen, 8.0, scaled=True).tolist() == pytest.approx([2 / 3, 2 / 3])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_firing_rates_are_shares_of_real_tokens(
    context: EvalContext, make_sae: MakeSae, rows: torch.Tensor, architecture: str
) -> None:
    sae = make_sae(architecture, **ARCHITECTURES[architecture])
    attempt = Attempt(sae)
    firing = count_firing(context, [attempt], sae.card.site, rows)
    x = context.lm.capture(rows, sae.card.site)
    real = rows > 2
    codes = sae.encode(x, mask=real)
    torch.testing.assert_close(
        firing.rates[attempt], ((codes != 0) & real[..., None]).sum((0, 1)) / real.sum().double()
    )
    assert firing.mean_norm == pytest.approx(float(x[real].norm(dim=1).mean()), rel=1e-5)


# Prompts and answers


def test_orders_are_distinct_and_the_given_one_comes_first() -> None:
    assert orders_of(3, 24) == ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
    assert orders_of(4, 4) == ((0, 1, 2, 3), (1, 0, 2, 3), (2, 0, 1, 3), (3, 0, 1, 2))


def _likeliest(lm: LanguageModel, question: Question, protocol: str) -> int:
    """The option that a plain run finds likeliest, one option at a time."""
    text = FORMAT.format(
        question=question.question, listed=", ".join(question.choices),
        lettered="".join(f"\n{letter}. {choice}" for letter, choice in zip("ABCD", question.choices, strict=False)),
    )  # fmt: skip
    ids = [2, *lm.tokenizer(text, add_special_tokens=False)["input_ids"]]
    scores = []
    for letter, choice in zip("ABCD", question.choices, strict=False):
        option = lm.tokenizer(choice if protocol == "option_text" else letter, add_special_tokens=False)["input_ids"]
        log_p = lm.logits(torch.tensor([ids + option]))[0].log_softmax(-1)
        scores.append(sum(float(log_p[len(ids) - 1 + i, token]) for i, token in enumerate(option)))
    return int(np.argmax(scores))


@pytest.mark.parametrize("protocol", ["letters", "option_text"])
@torch.no_grad()
def test_answers_are_those_of_plain_runs(lm: LanguageModel, protocol: Any) -> None:
    asked = some_questions(30)
    prompts = Prompter(lm.tokenizer, FORMAT, protocol).prompts(asked)
    right = torch.zeros(len(asked), dtype=torch.bool)
    for batch in batches(prompts, pad=0, tokens_at_once=200):
        hidden = lm.resume(SITE, lm.capture(batch.tokens, SITE), batch.tokens)
        right[batch.places] = right_answers(lm, hidden, batch, protocol)
    # The tokenizer knows no letters: all are one word, and the first of equals is the answer.
    expected = [_likeliest(lm, q, protocol) == q.answer for q in asked]
    assert right.tolist() == expected
    assert 0 < sum(expected) < len(asked)


def test_prompts_are_taken_with_their_rows_and_reads(lm: LanguageModel) -> None:
    prompts = Prompter(lm.tokenizer, FORMAT, "option_text").prompts(some_questions(6))
    (batch,) = batches(prompts, pad=0, tokens_at_once=10_000)
    taken, rows = batch.take(torch.tensor([4, 1, 4]))
    assert taken.places.tolist() == [int(batch.places[i]) for i in (4, 1, 4)]
    assert torch.equal(taken.tokens, batch.tokens[rows])
    assert torch.equal(batch.owners[rows], torch.tensor([4, 1, 4])[taken.owners])

    def reads_of(of: Any, prompt: int) -> list[tuple[Any, ...]]:
        return [(tuple(of.tokens[row].tolist()), *rest) for row, *rest in of.reads.tolist() if of.owners[row] == prompt]

    for place, prompt in enumerate((4, 1, 4)):
        assert reads_of(taken, place) == reads_of(batch, prompt)


# Clamping


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_clamped_answers_are_those_of_plain_interventions(
    lm: LanguageModel, make_sae: MakeSae, architecture: str
) -> None:
    sae = make_sae(architecture, **ARCHITECTURES[architecture])
    asked = [q for q in some_questions(16, seed=5) if _likeliest(lm, q, "option_text") == q.answer]
    prompts = Prompter(lm.tokenizer, FORMAT, "option_text").prompts(asked)
    generator = torch.Generator().manual_seed(0)
    rates = torch.rand(48, generator=generator), torch.rand(48, generator=generator)
    chosen = choose_latents(*rates, thresholds=(0.02, 0.5), numbers=(12,))
    clamping = Clamping(Encoder(sae), chosen, torch.tensor([[3.0], [40.0]]).expand(2, len(chosen.latents)))
    found = torch.zeros(len(asked), len(chosen.sets), 2, dtype=torch.bool)
    for batch in batches(prompts, pad=0, tokens_at_once=300):
        x = lm.capture(batch.tokens, SITE)
        right = answer_clamped(lm, SITE, batch, x, clamping, "option_text", tokens_at_once=90)
        found[batch.places] = right
    for place, prompt in enumerate(prompts):
        for own, members in enumerate(chosen.sets):
            for m, level in enumerate((3.0, 40.0)):
                best = _plainly_clamped(lm, sae, prompt, chosen.latents[members], level)
                assert bool(found[place, own, m]) == (best == prompt.answer), (place, own, m)
    assert 0 < int(found.sum()) < found.numel()


def _plainly_clamped(lm: LanguageModel, sae: Sae, prompt: Any, latents: torch.Tensor, level: float) -> int:
    scores = [0.0] * prompt.n_options
    for row, reads in zip(prompt.rows, prompt.reads, strict=True):
        tokens = torch.tensor([row])
        x = lm.capture(tokens, SITE)
        mask = torch.ones_like(tokens, dtype=torch.bool)
        mask[:, 0] = False
        codes = sae.encode(x, mask=mask)
        changed = codes.clone()
        for latent in latents.tolist():
            z = codes[..., latent]
            changed[..., latent] = torch.where(z > 0, -level, torch.where(z < 0, level, 0.0))
        edited = x - sae.decode(codes) + sae.decode(changed)
        torch.testing.assert_close(edited[:, 0], x[:, 0])
        log_p = lm.unembed(lm.resume(SITE, edited, tokens))[0].log_softmax(-1)
        for read in reads:
            scores[read.option] += float(log_p[read.position, read.token])
    return int(np.argmax(scores))


# Choosing and reporting


def _known(forget: int, harmless: int, *, same: bool = False) -> QuestionSet:
    """`forget` forget and `harmless` harmless questions to select, as many to report."""
    is_forget = np.array(([True] * forget + [False] * harmless) * (1 if same else 2))
    selects = np.ones_like(is_forget) if same else np.arange(len(is_forget)) < forget + harmless
    questions = [Question("poison" if f else "birds", "", ("a", "b"), 0) for f in is_forget]
    return QuestionSet(questions, is_forget, selects, np.ones_like(selects) if same else ~selects)


def test_the_lowest_forget_accuracy_that_keeps_the_rest_is_chosen() -> None:
    known = _known(2, 4)
    a, b, c, d = (Clamp(0.1, n, 5) for n in (1, 2, 3, 4))
    shares = {
        a: np.array([1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1.0]),
        b: np.array([0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1, 1.0]),
        c: np.array([0, 1, 1, 1, 1, 1, 0, 1, 1, 0, 1, 1.0]),
        d: np.array([1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1.0]),
    }
    assert choose_clamp(shares, known, floor=0.99) == a
    assert choose_clamp(shares, known, floor=0.75) == b
    assert choose_clamp({b: shares[b]}, known, floor=0.99) is None
    answers = Answers(shares, {})
    settings = dataclasses.replace(SETTINGS, side_effect_floor=0.99)
    found = {m.metric: m.value for m in unlearning_output(answers, known, settings).measurements if not m.at}
    assert found == {"unlearning_score": 0.0, "chosen_side_effect_accuracy": 1.0}
    settings = dataclasses.replace(SETTINGS, side_effect_floor=0.75)
    found = {m.metric: m.value for m in unlearning_output(answers, known, settings).measurements if not m.at}
    assert found == {"unlearning_score": 1.0, "chosen_side_effect_accuracy": 1.0}


def test_on_the_same_questions_the_score_is_the_sae_bench_s_formula() -> None:
    rng = np.random.default_rng(0)
    known = _known(30, 200, same=True)
    right = np.where(known.is_forget, 0.7, 0.99)
    grid = [Clamp(t, n, m) for t in (0.001, 0.01) for n in (10, 20) for m in (25, 50, 100)]
    shares = {clamp: (rng.random(230) < right).astype(float) for clamp in grid}
    settings = dataclasses.replace(SETTINGS, select_on="same_questions")
    output = unlearning_output(Answers(shares, {}), known, settings)
    effects = [s[:30].mean() if s[30:].mean() >= 0.99 else 1.0 for s in shares.values()]
    assert output.measurements[0].value == pytest.approx(1 - min(effects))
    assert 0 < 1 - min(effects) < 1
    low, high = output.measurements[0].ci_low, output.measurements[0].ci_high
    assert low is not None and high is not None and low <= 1 - min(effects) <= high


def test_without_a_gentle_intervention_the_score_is_0() -> None:
    known = _known(40, 10)
    output = unlearning_output(Answers({Clamp(0.1, 1, 5): np.zeros(100)}, {(0.1, 1): [3]}), known, SETTINGS)
    score = output.measurements[0]
    assert (score.value, score.ci_low) == (0.0, 0.0)
    assert score.ci_high == pytest.approx(0.0876, abs=1e-3)
    assert len(score.replicates) == 32
    assert output.unstructured["chosen"] is None


def test_a_model_that_knows_nothing_gives_a_reason(filled: EvalContext, make_sae: MakeSae) -> None:
    settings = dataclasses.replace(SETTINGS, required_orders=24, protocol="letters")
    (outcome,) = UNLEARNING.run(filled, [make_sae("relu")], settings)
    assert outcome.output is not None
    score = outcome.output.measurements[0]
    assert score.value is None
    assert score.reason is not None and "rightly in all orders" in score.reason


# The whole


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
        assert len(outcome.output.measurements) == 2 + 2 * 8
        document = to_document(_result(outcome))
        _accept(document)
        score = document["eval_result_metrics"]["unlearning"]["unlearning_score"]
        assert 0 <= score <= 1
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
    subject = load_subject(filled, settings)
    with torch.no_grad():
        known = find_known(filled, SITE, subject.questions, settings)
    expected = [
        q.question
        for q in subject.questions.questions
        if all(
            _likeliest(filled.lm, q.in_order(order), "option_text") == q.in_order(order).answer
            for order in orders_of(len(q.choices), 2)
        )
    ]
    assert [q.question for q in known.questions] == expected
    assert 0 < len(expected) < len(subject.questions.questions)


def test_an_sae_that_fails_leaves_the_others_alone(filled: EvalContext, make_sae: MakeSae) -> None:
    good, bad = make_sae("relu"), make_sae("mpsae", s=2)
    alone = _values(UNLEARNING.run(filled, [good], SETTINGS))
    bad.b_dec.fill_(torch.nan)
    failed, fine = UNLEARNING.run(filled, [bad, good], SETTINGS)
    assert failed.output is None and failed.error is not None
    assert _values([fine]) == alone


def _result(outcome: Any) -> Result:
    return Result(
        key="0" * 64, eval_name="unlearning", sae={"name": outcome.sae.card.name, "hook_name": "x"},
        settings=json.loads(json.dumps(dataclasses.asdict(SETTINGS))),
        key_parts={"seed": 0, "model": {"name": "random", "dtype": "float32"}}, output=outcome.output,
    )  # fmt: skip


def _accept(document: dict[str, Any]) -> None:
    """Fails unless SAEBench's class of the eval takes the document."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pydantic import TypeAdapter
        from sae_bench.evals.unlearning.eval_output import UnlearningEvalOutput

        known = {k: v for k, v in document.items() if k != "sae_research"}
        TypeAdapter(UnlearningEvalOutput).validate_python(known)


def test_registered_with_revisions_of_all_its_data(filled: EvalContext) -> None:
    assert find_eval("unlearning") is Unlearning
    revisions = UNLEARNING.data_revisions(SETTINGS, filled.hub)
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
