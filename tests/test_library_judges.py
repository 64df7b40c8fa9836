"""`sae_research.evaluate(judge=..., judging=..., answers=...)`: the examples of docs/library.md, and mistakes."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.chat_server import running_chat_server, said
from support.saes import random_sae
from support.words import D_MODEL, word_texts, words_model

import sae_research
from sae_research.errors import UserError
from sae_research.evals.sensitivity.settings import SensitivitySettings
from sae_research.judges.prompts import SEPARATOR, markers_of

ROOT = Path(__file__).parent.parent
SMALL: dict[str, Any] = {"n_rows": 200, "context_size": 64, "n_latents": 4}


class Quoting:
    """Writes pieces of documents of its own around the word that is marked most often in the question."""

    def __init__(self) -> None:
        self.words = [document.split() for document in word_texts(9, 300)]
        self.n_asked = 0

    def ask(self, messages: list[dict[str, str]]) -> str:
        self.n_asked += 1
        question = messages[-1]["content"]
        first, last = map(re.escape, markers_of(question))
        marked = Counter(word for run in re.findall(f"{first}(.*?){last}", question) for word in run.split())
        [(wanted, _)] = marked.most_common(1)
        places = [(text, text.index(wanted)) for text in self.words if wanted in text][:11]
        return f"\n{SEPARATOR}\n".join(" ".join(text[max(0, i - 8) : i + 7]) for text, i in places)


@pytest.fixture(scope="module")
def given() -> dict[str, Any]:
    """What the examples of the documentation have before they begin."""
    lm = words_model()
    sae = random_sae("topk", d_in=D_MODEL, d_sae=32, k=3)
    names = {"model": lm.plain_model, "sae": {"mine": sae}, "tokenizer": lm.tokenizer, "texts": word_texts(5, 400)}
    return {"sae_research": sae_research, **names}


def _examples() -> list[str]:
    section = (ROOT / "docs/library.md").read_text().partition("## Evals that ask a judge")[2].partition("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


def test_the_examples_of_the_documentation_run(
    given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A function, and a server that gives the same answers: the same number; what is stored is not asked again."""
    monkeypatch.chdir(tmp_path)
    function, behind_server = _examples()
    quoting = Quoting()
    names = {**given, "client": quoting}
    exec(compile(function, "docs/library.md", "exec"), names)
    by_function = names["evaluation"].value("mine", "sensitivity", percent=0)
    assert float(capsys.readouterr().out) == by_function > 0
    assert names["evaluation"].results[0].output.judge["identity"]["provider"] == "caller"
    assert not list(tmp_path.iterdir()), "a function's answers are not kept"
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    n_asked = quoting.n_asked
    usage = {"prompt_tokens": 900, "completion_tokens": 100, "total_tokens": 1000}
    with running_chat_server(lambda asked: said(quoting.ask(asked["messages"]), usage=usage)) as server:
        code = compile(behind_server.replace("https://api.openai.com/v1", server.url), "docs/library.md", "exec")
        for _ in range(2):
            exec(code, names)
            assert names["evaluation"].value("mine", "sensitivity", percent=0) == by_function
        assert len(server.requests) == n_asked
    assert len(list((tmp_path / ".sae_cache" / "answers").rglob("*.json"))) == n_asked


def test_a_function_that_raises_fails_the_sae_with_the_reason(given: dict[str, Any]) -> None:
    def judge(messages: list[dict[str, str]]) -> str:
        raise ConnectionError("no route")

    evaluation = _evaluate(given, judge=judge)
    [failure] = evaluation.failures
    assert re.search(r"requests are open: the judge raised ConnectionError: 'no route'", str(failure.error))
    with pytest.raises(UserError, match=r"'mine'.*: failed: .* the judge raised ConnectionError"):
        evaluation.value("mine", "sensitivity", percent=0)
    assert [row.reason for row in evaluation.table() if row.sae == "mine"] == [f"UserError: {failure.error}"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"evals": "core", "judge": "rules"}, "judge: none of these evals asks one: core"),
        ({"judge": "oracle"}, "judge is 'oracle'; valid: "),
        ({"judge": "rules"}, "judge 'rules' must have read some text"),
        ({"judge": "openai:m"}, "base_url"),
        ({"judge": "openai:m", "judging": {"url": "x"}}, "judging: unknown key 'url'; valid: base_url"),
    ],
)
def test_mistakes_are_named(given: dict[str, Any], arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        _evaluate(given, **arguments)


def test_the_judge_of_the_call_comes_before_that_of_the_settings(given: dict[str, Any]) -> None:
    settings = SensitivitySettings(dataset="texts", judge="openai:m", **SMALL)
    evaluation = _evaluate(given, evals={"sensitivity": settings}, judge=Quoting().ask)
    assert evaluation.results[0].settings["judge"] == "caller"


def _evaluate(given: dict[str, Any], **arguments: Any) -> sae_research.Evaluation:
    values = SimpleNamespace(**given)
    return sae_research.evaluate(
        values.model, values.sae, **{"evals": {"sensitivity": SMALL}, **arguments}, tokenizer=values.tokenizer,
        texts=values.texts, progress=False,
    )  # fmt: skip
