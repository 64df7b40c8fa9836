"""A panel: requests of several SAEs go out together, and each SAE's record depends on its own answers alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from support.outcomes import MakeSae

from sae_research.errors import UserError
from sae_research.evals.base import EvalContext
from sae_research.evals.judged.panel import Panel, open_panel
from sae_research.evals.judged.settings import JudgedSettings, JudgeReading, judge_data, judge_modules
from sae_research.evals.shared.attempts import Attempt
from sae_research.judges.access import JudgeAccess
from sae_research.judges.records import Message, Request, Unanswered
from sae_research.judges.replies import read_numbers
from sae_research.judges.settings import Judging

READING = JudgeReading("embedded/text")


class Scripted:
    """A caller's judge that answers with the number it is shown, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[dict[str, str]]] = []

    def __call__(self, messages: list[dict[str, str]]) -> str:
        self.asked.append(messages)
        text = messages[1]["content"]
        if text == "down":
            raise ConnectionError("no route")
        return "?" if text == "odd" or (text == "late" and len(messages) == 2) else "1"


@pytest.fixture
def judge() -> Scripted:
    return Scripted()


def _panel(context: EvalContext, judge: Scripted, judging: Judging | None = None) -> Panel:
    access = JudgeAccess(judging or Judging(), caller=judge)
    return open_panel(replace(context, judges=access), JudgedSettings(judge="caller"))


def _requests(*texts: str) -> Sequence[Request]:
    return [Request((Message("system", "Judge."), Message("user", text)), max_tokens=5) for text in texts]


def _read(text: str) -> frozenset[int]:
    return read_numbers(text, n=3)


def test_each_sae_gets_its_own_answers_and_its_own_reasons(
    context: EvalContext, make_sae: MakeSae, judge: Scripted
) -> None:
    first, second = Attempt(make_sae("topk", k=4)), Attempt(make_sae("topk", k=5))
    panel = _panel(context, judge)
    values = panel.ask({first: _requests("a", "odd"), second: _requests("a", "late")}, _read, reminder="Numbers!")
    assert values[second] == [{1}, {1}]
    assert values[first][0] == {1}
    odd = values[first][1]
    assert isinstance(odd, Unanswered) and "not a list of numbers" in odd.reason
    # "a" was asked once for both, "odd" and "late" twice.
    assert len(judge.asked) == 5
    record = panel.record(first)
    assert (record["requests"], record["unanswered"]) == (3, {"the answer is not a list of numbers": 1})
    assert record["identity"]["provider"] == "caller" and record["answers"] == {} and record["dollars"] is None
    alone = _panel(context, Scripted())
    alone.ask({first: _requests("a", "odd")}, _read, reminder="Numbers!")
    assert alone.record(first) == record


def test_a_judge_that_is_not_reached_fails_the_saes_that_needed_it(
    context: EvalContext, make_sae: MakeSae, judge: Scripted
) -> None:
    first, second = Attempt(make_sae("topk", k=4)), Attempt(make_sae("topk", k=5))
    panel = _panel(context, judge)
    values = panel.ask({first: _requests("a", "down"), second: _requests("b")}, _read, reminder="Numbers!")
    assert list(values) == [second]
    message = r"judge caller: 1 of 2 requests are open: the judge raised ConnectionError: 'no route'; the answers"
    assert isinstance(first.error, UserError)
    with pytest.raises(UserError, match=message):
        raise first.error
    assert list(panel.ask({first: _requests("c"), second: _requests("c")}, _read, reminder="")) == [second]
    panel.ask_for_all([second], _requests("down"), _read, reminder="Numbers!")
    assert second.error is not None


def test_the_rule_judge_must_have_read_something_else() -> None:
    with pytest.raises(ValueError, match="must have read some text"):
        JudgedSettings()
    settings = JudgedSettings(reading=READING)
    with pytest.raises(ValueError, match="must not have read what is measured"):
        settings.refuse_reading_of("embedded/text", "train")
    settings.refuse_reading_of("embedded/text", "test")
    assert [data.name for data in judge_data(settings)] == ["embedded/text"]
    assert judge_modules(settings) == ["sae_research.judges.providers.rules"]
    assert judge_data(replace(settings, judge="openai:m")) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gpt-4o", "valid: caller, openai, "),
        ("openai", "expected openai:<model>"),
        ("rules:x", "expected rules"),
    ],
)
def test_names_that_no_judge_has(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        JudgedSettings(judge=name, reading=READING)
    if name == "openai":
        with pytest.raises(ValueError, match="is of a model in this process"):
            JudgedSettings(judge="openai:m", judge_revision="main")
