"""A judged eval's stage with a judge behind a server: numbers, faults, kills, keys, replay."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from support.chat_server import ChatServer, Fault, running_chat_server, said
from support.project import Finished, Project, environment
from support.stage_server import StageServer

from sae_research.evals.judged.settings import JudgeReading, read_documents
from sae_research.judges.providers.rules import RulesJudge
from sae_research.judges.records import Answer, Message, Request
from sae_research.sources.hub import Hub

KEY = "-".join(("sk", "CANARY", "a1b2c3d4e5f6g7h8"))
"""Not written out: this file is in the project, too."""
READING = {"dataset": "embedded/text", "split": "train", "first_text": 0, "n_texts": 300}
TINY: Mapping[str, Any] = {"n_rows": 100, "n_latents": 2, "min_firings": 5, "reading": READING}
AT_ONCE = 4
SAES = ("topk_k8", "jumprelu_l0_8")


@pytest.fixture(scope="module")
def rules(finished_project: Project) -> RulesJudge:
    """The judge that the in-process run opens."""
    return RulesJudge(read_documents(Hub(finished_project.root / "world"), JudgeReading(**READING)))


@pytest.fixture
def chat(rules: RulesJudge) -> Iterator[ChatServer]:
    """A server that answers by the rules."""

    def reply(asked: dict[str, Any]) -> dict[str, Any]:
        messages = tuple(Message(m["role"], m["content"]) for m in asked["messages"])
        [answer] = rules.answer([Request(messages, asked["max_tokens"])])
        assert isinstance(answer, Answer)
        usage = {"prompt_tokens": sum(len(m.text) for m in messages) // 4, "completion_tokens": len(answer.text) // 4}
        return said(answer.text, finish_reason=answer.finish, usage={**usage, "total_tokens": 1})

    with running_chat_server(reply) as running:
        yield running


class Stage:
    """The stage of a judged eval in a copy of the finished project, with two of its SAEs."""

    def __init__(self, eval_name: str, project: Project, server: StageServer) -> None:
        self.eval_name, self.project, self._server = eval_name, project, server
        project.edit({"eval_types": {eval_name: True}, eval_name: TINY})
        manifest = project.root / "downloaded_saes" / "manifest.json"
        content = json.loads(manifest.read_text())
        some = [sae for sae in content["saes"] if sae["name"] in SAES]
        manifest.write_text(json.dumps({**content, "saes": some}))

    def run(self, judge: str, **judging: Any) -> Finished:
        self._edit(judge, judging)
        return self._server.run(self.project.root, *self.command, env=self.env)

    def _edit(self, judge: str, judging: Mapping[str, Any]) -> None:
        self.project.edit({self.eval_name: {"judge": judge}, "judging": judging})

    @property
    def command(self) -> Sequence[str]:
        return "scripts.run_optional_evals", "--eval", self.eval_name

    @property
    def env(self) -> dict[str, str]:
        return {"JUDGE_KEY": KEY, "PYTHONPATH": str(self.project.root)}

    def plan(self, judge: str, **judging: Any) -> str:
        self._edit(judge, judging)
        return self._server.run(self.project.root, "sae_research", "plan", env=self.env).out

    def documents(self) -> dict[str, dict[str, Any]]:
        folder = self.project.root / "eval_results" / self.eval_name
        return {path.name: json.loads(path.read_text()) for path in sorted(folder.glob("*_eval_results.json"))}

    def measurements(self) -> dict[str, Any]:
        return {name: document["sae_research"]["measurements"] for name, document in self.documents().items()}

    def forget(self) -> None:
        """Nothing is left but the results."""
        for path in (self.project.root / ".sae_cache").rglob("*.json"):
            path.unlink()

    def assert_no_key(self, *runs: Finished) -> None:
        """In no file of the project, and in nothing that was printed."""
        assert not [run for run in runs if KEY in run.out]
        assert not [p for p in self.project.root.rglob("*") if p.is_file() and KEY.encode() in p.read_bytes()]


def _connection(chat: ChatServer, **changes: Any) -> dict[str, Any]:
    plain = {"base_url": chat.url, "api_key_env": "JUDGE_KEY", "concurrency": AT_ONCE}
    return {**plain, "max_retries": 0, "max_requests": None, **changes}


@pytest.mark.slow
def test_a_server_with_the_rule_judge_gives_its_scores_and_its_answers_are_replayed(
    project: Project, server: StageServer, chat: ChatServer
) -> None:
    stage = Stage("autointerp", project, server)
    assert stage.run("rules").code == 0
    in_process = stage.measurements()
    planned = stage.plan("openai:judge", **_connection(chat, dollars_per_million_input=1, dollars_per_million_output=2))
    found = re.search(
        r"^autointerp asks openai:judge at (\S+): at most ([0-9,]+) requests, ([0-9,]+) tokens, 0\.\d\d dollars",
        planned,
        re.M,
    )
    assert found is not None and found[1] == chat.url, planned
    assert chat.requests == []
    asked = stage.run("openai:judge", **_connection(chat))
    assert asked.code == 0, asked.out
    assert stage.measurements() == in_process
    # Where how much goes is said before; no question is put twice.
    assert re.search(rf"judge openai:judge: .* characters of text go to {chat.url.split('/')[2]}$", asked.out, re.M)
    assert len(_distinct(chat)) == len(chat.requests) <= int(found[2].replace(",", ""))
    for document in stage.documents().values():
        judged = document["sae_research"]["judge"]
        assert (judged["identity"]["model"], judged["models"]) == ("judge", ["judge-2026"])
        assert judged["requests"] == len(judged["answers"])
        assert judged["prompt_tokens"] + judged["completion_tokens"] < int(found[3].replace(",", ""))
    # From the answers in the results alone.
    n_asked = len(chat.requests)
    stage.forget()
    replayed = stage.run("replay:openai:judge", **_connection(chat))
    assert replayed.code == 0, replayed.out
    assert (len(chat.requests), stage.measurements()) == (n_asked, in_process)
    stage.assert_no_key(asked, replayed)


@pytest.mark.slow
def test_faults_and_kills_cost_what_was_under_way(project: Project, server: StageServer, chat: ChatServer) -> None:
    stage = Stage("sensitivity", project, server)
    assert stage.run("rules").code == 0
    in_process = stage.measurements()
    chat.faults = [Fault(401, body=f"wrong key {KEY}".encode())] * AT_ONCE
    refused = stage.run("openai:judge", **_connection(chat))
    assert refused.code == 1 and "Traceback" not in refused.out
    assert "answered 401: it does not accept the key in JUDGE_KEY; the answers so far are kept" in refused.out
    assert len(chat.requests) <= AT_ONCE
    chat.faults, chat.requests = [], []
    _kill_after(10, stage, chat)
    spent = stage.run("openai:judge", **_connection(chat, max_requests=3))
    assert spent.code == 1 and "max_requests = 3 are spent" in spent.out
    done = stage.run("openai:judge", **_connection(chat))
    assert done.code == 0, done.out
    assert stage.measurements() == in_process
    assert len(chat.requests) - len(_distinct(chat)) <= AT_ONCE
    stage.assert_no_key(refused, spent, done)


def _distinct(chat: ChatServer) -> set[str]:
    return {json.dumps(request) for request in chat.requests}


def _kill_after(n: int, stage: Stage, chat: ChatServer) -> None:
    """Runs the stage as a process of its own, and kills it as soon as the server has seen `n` requests."""
    process = subprocess.Popen(
        [sys.executable, "-m", *stage.command], cwd=stage.project.root, env=environment() | stage.env,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while len(chat.requests) < n and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    assert process.wait(60) == -signal.SIGKILL
