"""The real OpenAI client against a scripted server: answers, retries, faults, keys, the budget, the store."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.chat_server import ChatServer, Fault, running_chat_server, said

from sae_research.errors import UserError
from sae_research.judges.asking import Asked, ask, ask_until_readable
from sae_research.judges.ledger import Ledger
from sae_research.judges.providers.openai import OpenAIJudge
from sae_research.judges.records import Answer, Message, Outcome, Request, Unanswered
from sae_research.judges.replies import read_numbers
from sae_research.judges.settings import Judging
from sae_research.judges.store import AnswerStore
from sae_research.progress import Progress

KEY = "sk-CANARY-123"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    monkeypatch.setenv("JUDGE_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with running_chat_server(lambda asked: said(f"answer to {asked['messages'][-1]['content']}")) as running:
        yield running


def _judging(server: ChatServer, **changes: Any) -> Judging:
    return replace(Judging(server.url, "JUDGE_KEY", timeout_seconds=30, max_retries=2), **changes)


def _request(text: str = "hello", **changes: Any) -> Request:
    return replace(Request((Message("system", "Judge."), Message("user", text)), max_tokens=33), **changes)


def _ask(server: ChatServer, requests: list[Request], folder: Path, **changes: Any) -> Asked:
    judging = _judging(server, **changes)
    return ask(OpenAIJudge("m", judging), requests, AnswerStore(folder), Ledger(judging), Progress("ask", shown=False))


def _reason(outcome: Outcome) -> str:
    assert isinstance(outcome, Unanswered)
    return outcome.reason


def test_what_is_sent_and_what_comes_back(server: ChatServer, tmp_path: Path) -> None:
    asked = _ask(server, [_request(seed=5)], tmp_path)
    assert asked.outcomes == (Answer("answer to hello", "stop", 40, 7, "judge-2026"),)
    assert server.requests == [
        {
            "model": "m",
            "messages": [{"role": "system", "content": "Judge."}, {"role": "user", "content": "hello"}],
            "max_tokens": 33,
            "temperature": 0.0,
            "top_p": 1.0,
            "seed": 5,
        }
    ]
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"


def test_settings_of_reasoning_models(server: ChatServer, tmp_path: Path) -> None:
    request = _request(temperature=None, top_p=None)
    _ask(server, [request], tmp_path, token_limit_field="max_completion_tokens")
    assert set(server.requests[0]) == {"model", "messages", "max_completion_tokens"}


def test_equal_requests_are_asked_once_and_never_again(server: ChatServer, tmp_path: Path) -> None:
    requests = [_request("a"), _request("b"), _request("a")]
    first, second = _ask(server, requests, tmp_path), _ask(server, requests, tmp_path)
    assert [o.text for o in first.outcomes if isinstance(o, Answer)] == ["answer to a", "answer to b", "answer to a"]
    assert (first.n_stored, second.n_stored) == (0, 2)
    assert second.outcomes == first.outcomes
    assert len(server.requests) == 2
    # Another attempt, seed or server is another request.
    _ask(server, [_request("a", attempt=1), _request("a", seed=1)], tmp_path)
    assert len(server.requests) == 4


def test_answers_come_in_order_and_no_more_than_asked_for_are_under_way(server: ChatServer, tmp_path: Path) -> None:
    def slow_at_first(asked: dict[str, Any]) -> dict[str, Any]:
        text = asked["messages"][-1]["content"]
        time.sleep(1.0 if text == "text 0" else 0.0)
        return said(f"answer to {text}")

    server.reply = slow_at_first
    texts = [f"text {i}" for i in range(30)]
    asked = _ask(server, [_request(text) for text in texts], tmp_path, concurrency=4)
    assert [getattr(outcome, "text", None) for outcome in asked.outcomes] == [f"answer to {text}" for text in texts]
    assert 1 < server.most_at_once <= 4


def test_a_busy_server_is_asked_again_when_it_says_so(server: ChatServer, tmp_path: Path) -> None:
    server.faults = [Fault(429, {"Retry-After": "0"}), Fault(503, {"Retry-After": "0"})]
    [answer] = _ask(server, [_request()], tmp_path).outcomes
    assert isinstance(answer, Answer) and answer.retries == 2


@pytest.mark.parametrize(
    ("fault", "reason", "ends_all"),
    [
        (Fault(401, body=f'{{"error": {{"message": "wrong key {KEY}"}}}}'.encode()), "does not accept the key", True),
        (Fault(403), "forbids this", True),
        (Fault(404), "does not know the model", True),
        (Fault(302, {"Location": "http://127.0.0.1:9/v1"}), "is not followed; set judging.base_url", True),
        (Fault(400, body=b'{"error": {"message": "no temperature"}}'), "answered 400", False),
        (Fault(429), "answered 429", False),
        (Fault(500), "answered 500", False),
        (Fault(seconds=0.5), "did not answer within 0.2 s", False),
        (Fault(cut=True), "cannot be reached", False),
        (Fault(body=b"<html>"), "no chat completion", False),
        (Fault(body=b'{"choices": []}'), "no chat completion", False),
        (Fault(body=b"[1]"), "no chat completion", False),
    ],
)
def test_faults_are_reasons_without_the_key(
    server: ChatServer, tmp_path: Path, fault: Fault, reason: str, ends_all: bool
) -> None:
    server.faults = [fault] * 2
    # Short only where the server is slow on purpose: a busy machine may take a while to answer.
    seconds = 0.2 if fault.seconds else 30.0
    [outcome] = _ask(server, [_request()], tmp_path / "s", max_retries=0, timeout_seconds=seconds).outcomes
    assert reason in _reason(outcome) and KEY not in _reason(outcome)
    assert isinstance(outcome, Unanswered) and outcome.is_transport and outcome.ends_all is ends_all
    assert not list((tmp_path / "s").rglob("*.json"))


def test_without_a_key_the_variable_is_named(server: ChatServer, tmp_path: Path) -> None:
    server.faults = [Fault(401)]
    [outcome] = _ask(server, [_request()], tmp_path, api_key_env="NOT_SET").outcomes
    assert "answered 401: it does not accept requests without a key (NOT_SET is not set)" in _reason(outcome)


def test_openai_itself_gets_openais_key() -> None:
    assert Judging("https://api.openai.com/v1").key_variable == "OPENAI_API_KEY"
    assert Judging("https://eu.api.openai.com/v1", "OTHER").key_variable == "OTHER"
    for foreign in ("http://127.0.0.1:8000/v1", "https://openai.com.evil.example/v1", "https://notopenai.com/v1"):
        assert Judging(foreign).key_variable is None


def test_a_wrong_key_stops_the_other_requests(server: ChatServer, tmp_path: Path) -> None:
    server.faults = [Fault(401)] * 100
    asked = _ask(server, [_request(str(i)) for i in range(50)], tmp_path, concurrency=2)
    assert all("does not accept the key" in _reason(outcome) for outcome in asked.outcomes)
    assert len(server.requests) <= 3


def test_what_ends_all_ends_the_run(server: ChatServer, tmp_path: Path) -> None:
    server.faults = [Fault(404)]
    judging = _judging(server)
    judge, ledger = OpenAIJudge("m", judging), Ledger(judging)
    for _ in range(2):
        [outcome] = ask(judge, [_request()], AnswerStore(tmp_path), ledger, Progress("ask", shown=False)).outcomes
        assert "does not know the model" in _reason(outcome)
    assert len(server.requests) == 1


def test_the_budget_holds_whatever_is_under_way(server: ChatServer, tmp_path: Path) -> None:
    prices: dict[str, Any] = {"dollars_per_million_input": 1000.0, "dollars_per_million_output": 1000.0}
    most = Ledger(Judging(**prices)).most(_request("0"))
    asked = _ask(
        server, [_request(str(i)) for i in range(9)], tmp_path, concurrency=9, max_dollars=3.5 * most, **prices
    )
    refused = [o for o in asked.outcomes if isinstance(o, Unanswered)]
    assert 3 <= len(server.requests) <= 9 and refused
    assert all("judging.max_dollars" in outcome.reason for outcome in refused)
    # The rest is asked by a run that may spend more; what was answered is not asked again.
    before = len(server.requests)
    again = _ask(server, [_request(str(i)) for i in range(9)], tmp_path)
    assert all(isinstance(outcome, Answer) for outcome in again.outcomes)
    assert len(server.requests) - before == len(refused)


def test_no_more_requests_than_allowed(server: ChatServer, tmp_path: Path) -> None:
    asked = _ask(server, [_request(str(i)) for i in range(5)], tmp_path, max_requests=2)
    assert len(server.requests) == 2
    assert sum("max_requests = 2" in o.reason for o in asked.outcomes if isinstance(o, Unanswered)) == 3


def test_a_server_that_cuts_prompts_is_found_out(server: ChatServer, tmp_path: Path) -> None:
    [outcome] = _ask(server, [_request("word " * 1000)], tmp_path).outcomes
    assert "cuts long prompts" in _reason(outcome)


def test_what_cannot_be_read_is_asked_for_once_more(server: ChatServer, tmp_path: Path) -> None:
    replies = {"a": ["1, 2"], "b": ["I think 1 and 2.", "2"], "c": ["?", "99"], "d": ["None"]}
    server.reply = lambda asked: said(replies[asked["messages"][1]["content"]].pop(0))
    judging = _judging(server, concurrency=1)
    judge, store = OpenAIJudge("m", judging), AnswerStore(tmp_path)

    def put(requests: Any) -> Asked:
        return ask(judge, requests, store, Ledger(judging), Progress("ask", shown=False))

    replies = ask_until_readable(
        put, [_request(t) for t in "abcd"], lambda t: read_numbers(t, n=9), reminder="Numbers!"
    )
    values = [reply.value for reply in replies]
    assert [len(reply.tries) for reply in replies] == [1, 2, 2, 1]
    assert values[0] == {1, 2} and values[1] == {2} and values[3] == frozenset()
    assert isinstance(values[2], Unanswered) and "outside 1 to 9" in values[2].reason
    assert not values[2].is_transport
    assert server.requests[-1]["messages"][-1] == {"role": "user", "content": "Numbers!"}


@pytest.mark.parametrize("finish", ["length", "content_filter"])
def test_an_answer_that_was_cut_or_withheld_is_none(server: ChatServer, tmp_path: Path, finish: str) -> None:
    server.reply = lambda _: said("1, 2", finish_reason=finish)
    [reply] = ask_until_readable(lambda r: _ask(server, [*r], tmp_path), [_request()], str, reminder="Again.")
    assert isinstance(reply.value, Unanswered) and not reply.value.is_transport
    # It was paid for all the same, and is not asked for again.
    assert len(list(tmp_path.rglob("*.json"))) == 2


def test_without_an_address_nothing_is_sent() -> None:
    with pytest.raises(UserError, match=r"needs judging\.base_url"):
        OpenAIJudge("m", Judging())


def test_another_address_in_the_environment_is_an_error(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "https://elsewhere.example/v1")
    with pytest.raises(UserError, match="OPENAI_BASE_URL"):
        OpenAIJudge("m", _judging(server))


@pytest.mark.parametrize("api_key_env", [None, "LOCAL_KEY"])
def test_no_key_and_no_organisation_go_where_none_were_asked_for(
    server: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api_key_env: str | None
) -> None:
    for name in ("API_KEY", "ADMIN_KEY", "ORG_ID", "PROJECT_ID", "WEBHOOK_SECRET"):
        monkeypatch.setenv(f"OPENAI_{name}", "sk-CANARY")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Authorization: Bearer CANARY\nCookie: CANARY")
    _ask(server, [_request()], tmp_path, api_key_env=api_key_env)
    assert os.environ["OPENAI_ORG_ID"] == "sk-CANARY"
    sent = json.dumps(server.headers)
    assert "CANARY" not in sent
    assert server.headers[0]["authorization"] == "Bearer none"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"api_key_env": KEY}, "a key itself must not stand in params.yaml"),
        ({"base_url": "https://user:secret@host/v1"}, "keys by api_key_env"),
        ({"base_url": "ftp://host"}, "expected http://host:port/path"),
        ({"max_dollars": 1.0}, "needs the judge's prices"),
        ({"concurrency": 0}, "concurrency"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
    ],
)
def test_settings_that_cannot_be_meant(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        Judging(**changes)
    assert "CANARY" not in str(raised.value) and "secret" not in str(raised.value)


def test_a_damaged_answer_is_asked_again(server: ChatServer, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _ask(server, [_request()], tmp_path)
    [path] = tmp_path.rglob("*.json")
    path.write_text(path.read_text()[:20])
    [answer] = _ask(server, [_request()], tmp_path).outcomes
    assert isinstance(answer, Answer) and "is damaged" in caplog.text
