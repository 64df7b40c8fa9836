"""WMDP's and MMLU's layout on a hub, the forget corpus behind its gate."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.hub_server import COMMIT, Repo, run_against, running_hub

SCRIPT = """
import json
from pathlib import Path
from sae_research.evals.unlearning.corpora import load_corpus
from sae_research.evals.unlearning.questions import load_questions
from sae_research.errors import UserError
from sae_research.evals.unlearning.eval import UNLEARNING
from sae_research.evals.unlearning.settings import UnlearningSettings
from sae_research.sources.hub import Hub
hub, settings = Hub(Path("no-world")), UnlearningSettings()
def told(work):
    try:
        return work()
    except UserError as error:
        return str(error)
print(json.dumps([
    told(lambda: load_corpus(hub, settings.forget_corpus, shortest=50)),
    told(lambda: load_corpus(hub, settings.retain_corpus, shortest=50)),
    told(lambda: [len(half) for half in load_questions(hub, settings.forget_questions, seed=0)]),
    told(lambda: [len(half) for half in load_questions(hub, settings.harmless_questions, seed=0)]),
    told(lambda: {data_set.name: data_set.revision(hub) for data_set in UNLEARNING.data(settings)}),
]))
"""
SUBJECTS = ("high_school_us_history", "college_computer_science", "high_school_geography", "human_aging")
PAPER = "a paper on what nobody shall know, longer than fifty characters"


def parquet(**columns: list[Any]) -> bytes:
    content = io.BytesIO()
    pq.write_table(pa.table(columns), content)
    return content.getvalue()


def asked(n: int) -> bytes:
    return parquet(question=["?"] * n, choices=[["a", "b", "c", "d"]] * n, answer=[3] * n)


def repositories(*, failing: int | None = None) -> dict[str, Repo]:
    wikitext = {
        f"{config}/{split}-00000-of-00001.parquet": parquet(text=["", f"{config} {split} {'words ' * 12}"])
        for config in ("wikitext-2-raw-v1", "wikitext-103-v1") for split in ("train", "test")
    }  # fmt: skip
    wmdp = {f"wmdp-{kind}/test-00000-of-00001.parquet": asked(n) for kind, n in (("bio", 7), ("cyber", 3))}
    mmlu = {f"{subject}/{split}-00000-of-00001.parquet": asked(4) for subject in SUBJECTS for split in ("dev", "test")}
    lines = "\n".join(json.dumps({"title": "t", "text": text}) for text in (PAPER, "short"))
    corpus = {"bio-forget-corpus.jsonl": lines.encode(), "README.md": b""}
    return {
        "cais/wmdp-bio-forget-corpus": Repo({"main": corpus}, "datasets", True, failing, token="hf_right"),
        "Salesforce/wikitext": Repo({"main": wikitext}, "datasets"),
        "cais/wmdp": Repo({"main": wmdp}, "datasets"),
        "cais/mmlu": Repo({"main": mmlu}, "datasets"),
    }


def ask(home: Path, *, failing: int | None = None, **environment: str) -> list[Any]:
    with running_hub(repositories(failing=failing)) as hub:
        done = run_against(hub.endpoint, home, SCRIPT, **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_with_access_everything_is_read(tmp_path: Path) -> None:
    forget, retain, hazardous, harmless, revisions = ask(tmp_path, HF_TOKEN="hf_right")
    assert forget == [PAPER]
    assert [text.split()[:2] for text in retain] == [["wikitext-2-raw-v1", "test"]]
    assert hazardous == [3, 4]
    assert harmless == [8, 8]
    names = ("cais/wmdp-bio-forget-corpus", "Salesforce/wikitext", "cais/wmdp", "cais/mmlu")
    assert revisions == dict.fromkeys(names, COMMIT)


@pytest.mark.parametrize("failing", [None, 401, 403])
def test_without_access_the_error_names_file_page_and_login(tmp_path: Path, failing: int | None) -> None:
    forget, retain, _, _, revisions = ask(tmp_path, failing=failing)
    for said in (forget, revisions):
        assert "bio-forget-corpus.jsonl" in said
        assert "cais/wmdp-bio-forget-corpus" in said
        assert "hf auth login" in said and "HF_TOKEN" in said
        assert "\n" not in said
    if failing is None:
        assert "datasets/cais/wmdp-bio-forget-corpus" in forget and "ask for access" in forget
    assert len(retain) == 1
