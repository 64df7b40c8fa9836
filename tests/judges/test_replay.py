"""Stored answers alone: from the store or from results, and an error where one is missing."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from sae_research.errors import UserError
from sae_research.judges.access import JudgeAccess, Wanted
from sae_research.judges.asking import Asked, ask
from sae_research.judges.names import read_name
from sae_research.judges.records import Answer, Message, Request, Unanswered
from sae_research.judges.settings import Judging
from sae_research.judges.store import AnswerStore
from sae_research.progress import Progress
from sae_research.sources.hub import Hub

JUDGING = Judging(base_url="http://127.0.0.1:9/v1")
IDENTITY = {"provider": "openai", "model": "m", "server": "http://127.0.0.1:9/v1"}


def _request(text: str) -> Request:
    return Request((Message("system", "Judge."), Message("user", text)), max_tokens=5)


def _replay(folder: Path, *texts: str, judging: Judging = JUDGING) -> Asked:
    access = JudgeAccess(judging, folder)
    judge = access.open(Wanted(read_name("replay:openai:m"), None, Hub(folder), "cpu", 1, list, {}))
    requests = [_request(text) for text in texts]
    return ask(judge, requests, access.store_of(judge), access.ledger_of(judge), Progress("ask", shown=False))


def test_answers_of_results_are_replayed_and_others_are_missing(tmp_path: Path) -> None:
    answer = Answer("2, 3", "stop", 40, 3, "m-2026")
    digest = _request("a").digest(IDENTITY)
    assert AnswerStore(tmp_path).adopt({digest: asdict(answer)}) == 1
    stored, missing = _replay(tmp_path, "a", "b").outcomes
    assert stored == answer
    assert isinstance(missing, Unanswered) and missing.is_transport
    assert f"no answer of openai:m is stored to request {_request('b').digest(IDENTITY)[:12]}" in missing.reason


def test_of_pulled_results_only_answers_are_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    good = asdict(Answer("1", "stop", 1, 1, "m"))
    store = AnswerStore(tmp_path / "answers")
    hostile = {"../../outside": good, "0" * 64: {**good, "text": 5}, "1" * 64: {"text": "1"}, "2" * 64: good}
    assert store.adopt(hostile) == 1
    assert [path.name for path in tmp_path.rglob("*.json")] == [f"{'2' * 64}.json"]
    assert "answer" in caplog.text
    # One that is there is kept.
    assert store.adopt({"2" * 64: {**good, "text": "other"}}) == 0


def test_which_server_gave_them_must_be_known(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"judging\.base_url"):
        _replay(tmp_path, "a", judging=Judging())


@pytest.mark.parametrize("name", ["replay", "replay:rules", "replay:replay:openai:m", "replay:openai"])
def test_what_cannot_be_replayed(name: str) -> None:
    with pytest.raises(ValueError, match="judge is"):
        read_name(name)
