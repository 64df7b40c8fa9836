"""Sensitivity end to end on a random model: what it asks, what it makes of texts, and what no number depends on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import words
from support.outcomes import MakeSae
from support.threads import torch_threads
from support.words import RunSensitivity

from sae_research.errors import UserError
from sae_research.evals.base import EvalContext
from sae_research.evals.run import Measured
from sae_research.evals.sensitivity.eval import SENSITIVITY_EVAL
from sae_research.evals.sensitivity.specs import PERCENTS, SCORES
from sae_research.judges import prompts
from sae_research.judges.prompts import numbered_texts
from sae_research.results.document import document_text, from_document, to_document
from sae_research.saes.base import Sae

_MARKED = re.compile(r"<<(.*?)>>")


class Writer:
    """A judge that puts the first marked word among others, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, messages: list[dict[str, str]]) -> str:
        assert messages[0]["content"] == prompts.WRITE
        self.asked.append(messages[1]["content"])
        return f"\n{prompts.SEPARATOR}\n".join(self.write(self.asked[-1]))

    def write(self, asked: str) -> Sequence[str]:
        word = _MARKED.findall(asked.split("\n", 2)[2])[0].split()[0]
        rng = np.random.default_rng(len(asked))
        return [" ".join([*rng.choice(words.WORDS, 4), word, *rng.choice(words.WORDS, 3)]) for _ in range(11)]


def _text(measured: Measured) -> str:
    assert measured.result is not None, measured.error
    return document_text(to_document(measured.result))


def _rows(measured: Measured) -> list[dict[str, Any]]:
    assert measured.result is not None, measured.error
    return [dict(row) for row in measured.result.output.details]


def _content(measured: Measured) -> dict[str, Any]:
    assert measured.result is not None, measured.error
    return dict(measured.result.output.unstructured)


def _one(measured: Measured, metric: str, **at: Any) -> Any:
    assert measured.result is not None, measured.error
    [one] = [m for m in measured.result.output.measurements if m.metric == metric and dict(m.at) == at]
    return one


def _activations(context: EvalContext, sae: Sae, latent: int, sign: int, text: str) -> torch.Tensor:
    """The latent's activation on each token of the text after BOS."""
    ids = context.lm.tokenizer(text, add_special_tokens=False)["input_ids"]
    tokens = torch.tensor([[words.BOS, *ids]])[:, : words.SENSITIVITY.context_size]
    real = torch.ones_like(tokens, dtype=torch.bool)
    real[:, 0] = False
    with torch.no_grad():
        codes = sae.encode(context.lm.capture(tokens, sae.card.site), mask=real)[0, 1:, latent]
    return (sign * codes).clamp(min=0)


@pytest.mark.parametrize(("architecture", "settings"), [("topk", {"k": 6}), ("mpsae", {"s": 5})])
def test_numbers_are_those_of_the_texts(
    sensitivity: RunSensitivity, word_context: EvalContext, make_sae: MakeSae, architecture: str, settings: Any
) -> None:
    """Every text of the result file read again, alone; matching pursuit has negative codes."""
    sae = make_sae(architecture, **settings)
    [measured] = sensitivity([sae], caller=Writer())
    rows = [row for row in _rows(measured) if row["reason"] is None]
    assert len(rows) == 6 and ({row["sign"] for row in rows} == {1} or architecture == "mpsae")
    contents = _content(measured)
    differences = []
    for row in rows:
        content = contents[str(row["latent"])]
        other = contents[str(content["control"]["latent"])]
        assert content["control"]["latent"] != row["latent"] and row["n_texts"] == len(content["texts"]) == 10
        for kind, of_kind in (("sensitivity", content["texts"]), ("original", content["examples"]),
                              ("other", other["texts"])):  # fmt: skip
            texts = [entry["text"] for entry in of_kind]
            found = [_activations(word_context, sae, row["latent"], row["sign"], text) for text in texts]
            largest = np.array([float(one.max()) for one in found])
            for percent in PERCENTS:
                share = np.mean(largest > percent / 100 * row["largest_activation"])
                assert row[f"{kind}_{percent}"] == pytest.approx(share)
            if kind != "other":
                kept = [dict(pair.split(":") for pair in e["activations"].split()) for e in of_kind]
                for one, of_text in zip(found, kept, strict=True):
                    assert list(map(int, of_text)) == one.nonzero().flatten().tolist()
                    np.testing.assert_allclose(list(map(float, of_text.values())), one[one > 0], rtol=1e-3)
        differences.append(row["sensitivity_0"] - row["other_0"])
    assert _one(measured, "sensitivity", percent=0).value == pytest.approx(np.mean([r["sensitivity_0"] for r in rows]))
    assert _one(measured, "sensitivity_contrast", percent=0).value == pytest.approx(np.mean(differences))
    assert _one(measured, "sensitivity_latents").value == 6
    notes = {note.latent: note for note in SENSITIVITY_EVAL.notes(measured.result.output)}  # type: ignore[union-attr]
    assert {latent: note.value for latent, note in notes.items()} == {r["latent"]: r["sensitivity_0"] for r in rows}
    assert all(note.low <= note.value <= note.high for note in notes.values())  # type: ignore[operator]
    in_bins = [m for m in measured.result.output.measurements if m.metric == "sensitivity_by_density"]  # type: ignore[union-attr]
    assert in_bins and all(m.value is not None for m in in_bins)


def test_a_judge_is_told_nothing_but_texts(sensitivity: RunSensitivity, make_sae: MakeSae) -> None:
    judge = Writer()
    [measured] = sensitivity([make_sae("topk", name="very_secret", k=6)], caller=judge)
    asked = [text for text in judge.asked if "very_secret" not in text]
    rows = [row for row in _rows(measured) if row["n_texts"]]
    assert len(asked) == len(judge.asked) and len(asked) >= len(rows)
    for row, text in zip(rows, asked[-len(rows) :], strict=True):
        shown = [example["shown"] for example in _content(measured)[str(row["latent"])]["examples"]]
        assert numbered_texts(text) == shown and len(shown) == 15
        assert not re.search(r"\d", re.sub(r"=== (\d+|end) ===|exactly 11", "", text))


def test_equal_bytes_whatever_runs_beside(sensitivity: RunSensitivity, make_sae: MakeSae) -> None:
    """Neither other SAEs in the same run, nor the batch size, nor threads, nor names change anything."""
    sae, other = make_sae("topk", k=6), make_sae("mpsae", name="other", s=5)
    [alone] = sensitivity([sae])
    together = sensitivity([other, sae], batch_size=7)
    assert _text(together[1]) == _text(alone)
    with torch_threads(3):
        assert [_text(measured) for measured in sensitivity([other, sae])] == list(map(_text, together))
    [renamed] = sensitivity([make_sae("topk", name="renamed", k=6)])
    assert alone.result is not None and renamed.result is not None
    assert renamed.result.output == alone.result.output
    stored = from_document(to_document(alone.result)).output
    assert [row["latent"] for row in stored.details] == [row["latent"] for row in alone.result.output.details]


def test_a_text_that_copies_an_example_does_not_count(sensitivity: RunSensitivity, make_sae: MakeSae) -> None:
    class Copyist(Writer):
        def write(self, asked: str) -> Sequence[str]:
            examples = [text.replace("<<", "").replace(">>", "") for text in numbered_texts(asked)]
            return [examples[0], f"{words.WORDS[0]} {examples[1]}", *super().write(asked)[2:]]

    [measured] = sensitivity([make_sae("topk", k=6)], caller=Copyist(), min_judge_gold=0.0)
    rows = [row for row in _rows(measured) if row["n_texts"]]
    assert {(row["n_texts"], row["n_copies"]) for row in rows} == {(9, 2)}
    assert _one(measured, "copied_share").value == pytest.approx(2 / 11)
    assert _one(measured, "texts_per_latent").value == 9


def test_requests_that_fail_leave_other_saes_alone(sensitivity: RunSensitivity, make_sae: MakeSae) -> None:
    first, second = make_sae("topk", k=6), make_sae("topk", name="other", k=2)
    judge = Writer()
    [alone] = sensitivity([first], caller=judge)
    known = set(judge.asked)

    def down(messages: list[dict[str, str]]) -> str:
        if messages[1]["content"] not in known:
            raise ConnectionError("no route")
        return Writer()(messages)

    one, two = sensitivity([first, second], caller=down)
    assert one.result is not None and alone.result is not None
    assert one.result.output.measurements == alone.result.output.measurements
    assert isinstance(two.error, UserError) and "requests are open" in str(two.error)


def test_answers_that_cannot_be_read_are_rows_with_their_reason(sensitivity: RunSensitivity, make_sae: MakeSae) -> None:
    judge = Writer()
    [measured] = sensitivity([make_sae("topk", k=6)], caller=judge)
    last = judge.asked[-1]

    class Mute(Writer):
        def write(self, asked: str) -> Sequence[str]:
            return ["one text"] if asked == last else super().write(asked)

    [measured] = sensitivity([make_sae("topk", k=6)], caller=Mute(), max_unanswered=0.5)
    rows = [row for row in _rows(measured) if str(row["latent"]) in _content(measured)]
    assert rows[-1]["reason"] == "no texts: the answer holds 1 texts, expected 11 or a few more"
    assert rows[-1]["sensitivity_0"] is None and all(row["sensitivity_0"] is not None for row in rows[:-1])
    assert _one(measured, "judge_failure_share").value == pytest.approx(1 / 6)
    [measured] = sensitivity([make_sae("topk", k=6)], caller=Mute())
    missing = _one(measured, "sensitivity", percent=0)
    assert missing.value is None and missing.reason.startswith("no texts for 1 of 6 latents, for instance: no texts:")


def test_an_unfit_judge_has_no_scores(sensitivity: RunSensitivity, make_sae: MakeSae) -> None:
    class Absent(Writer):
        def write(self, asked: str) -> Sequence[str]:
            return [f"something else, {i}" for i in range(11)]

    judge = Absent()
    [measured] = sensitivity([make_sae("topk", k=6)], caller=judge)
    for metric in SCORES:
        for percent in PERCENTS:
            missing = _one(measured, metric, percent=percent)
            assert missing.value is None and "judge_gold_compliance is 0.000" in missing.reason
    assert _one(measured, "judge_gold_compliance").value == 0
    assert len(judge.asked) <= 20, "nothing is asked about SAEs"


def test_another_way_to_the_same_judge_gives_the_same_scores(
    sensitivity: RunSensitivity, make_sae: MakeSae, word_world: Path
) -> None:
    from sae_research.evals.judged.settings import JudgeReading, read_documents
    from sae_research.judges.providers.rules import RulesJudge
    from sae_research.judges.records import Answer, Message, Request
    from sae_research.sources.hub import Hub

    rules = RulesJudge(read_documents(Hub(word_world), JudgeReading("embedded/words")))

    def judge(messages: list[dict[str, str]]) -> str:
        [answer] = rules.answer([Request(tuple(Message("user", m["content"]) for m in messages), 1500)])
        assert isinstance(answer, Answer)
        return answer.text

    sae = make_sae("topk", k=6)
    [ours], [theirs] = sensitivity([sae]), sensitivity([sae], caller=judge)
    assert ours.result is not None and theirs.result is not None
    assert ours.result.output.measurements == theirs.result.output.measurements
    assert ours.result.output.details == theirs.result.output.details


def test_an_sae_without_live_latents_has_a_reason(sensitivity: RunSensitivity, make_sae: MakeSae) -> None:
    dead = make_sae("relu", name="dead", tensors={"b_enc": torch.full((48,), -100.0)})
    measured, _ = sensitivity([dead, make_sae("topk", k=6)])
    missing = _one(measured, "sensitivity", percent=50)
    assert missing.value is None
    assert missing.reason == "none of 48 latents has examples, for instance: 0 firings, needed more than 15"
    assert len(_rows(measured)) == 48


def test_it_is_declared_like_other_evals() -> None:
    assert {spec.name for spec in SENSITIVITY_EVAL.specs if spec.headline} == {"sensitivity", "sensitivity_contrast"}
    assert SENSITIVITY_EVAL.sae_bench is None
