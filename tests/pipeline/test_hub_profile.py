"""A project whose model, SAEs and data come from a hub on the loopback, through huggingface_hub's own client."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.hub_server import COMMIT, FakeHub, Repo, running_hub
from support.project import Finished, Project
from support.stage_server import StageServer, running_stage_server

pytestmark = pytest.mark.slow

HUB_PARAMS: Mapping[str, Any] = {
    "model": {"name": "lab/lm"},
    "baseline_sae": {"repo_id": "lab/saes", "filename": "sweep/resid_post_layer_0/trainer_0/ae.pt"},
    "comparison_saes": [{"repo_id": "lab/topk", "files": "k8"}],
    "controls": None,
    "core_eval": {"dataset": "lab/text", "split": "train"},
    "sparse_probing": {"dataset_names": ["fancyzhx/ag_news"]},
}


@dataclass(frozen=True)
class Site:
    """The project and the hub that it takes everything from."""

    project: Project
    hub: FakeHub
    server: StageServer
    home: Path

    def run(self, stage: str) -> Finished:
        return self.server.run(self.project.root, f"scripts.{stage}")


def _folder(path: Path, prefix: str = "") -> dict[str, bytes]:
    files = [p for p in path.rglob("*") if p.is_file()]
    return {prefix + p.relative_to(path).as_posix(): p.read_bytes() for p in files}


def _parquet(**columns: list[Any]) -> bytes:
    content = io.BytesIO()
    pq.write_table(pa.table(columns), content)
    return content.getvalue()


def _news(split: str) -> bytes:
    topics = (
        "the senate and the treaty",
        "the striker and the match",
        "the shares and the bank",
        "the chip and the lab",
    )
    rows = [
        (f"{split} {i}: {topic} of day {i % 7}, number {i}", label)
        for i in range(60)
        for label, topic in enumerate(topics)
    ]
    return _parquet(text=[row[0] for row in rows], label=[row[1] for row in rows])


def _repositories(world: Path) -> dict[str, Repo]:
    """The world's model, SAEs and texts under the names and layouts of a hub."""
    models = world / "models"
    texts = [p.read_bytes() for p in sorted((world / "datasets/text/data").glob("test*.parquet"))]
    lm = _folder(models / "lm")
    news = {f"data/{split}-00000-of-00001.parquet": _news(split) for split in ("train", "test")}
    return {
        "lab/lm": Repo({"main": lm, "step1": lm}),
        "lab/saes": Repo({"main": _folder(models / "sae-relu", "sweep/")}),
        "lab/topk": Repo({"main": _folder(models / "sae-topk")}),
        "lab/text": Repo({"main": {"data/train-00000-of-00001.parquet": texts[0]}}, kind="datasets"),
        "fancyzhx/ag_news": Repo({"main": news}, kind="datasets"),
        "lab/secret": Repo({"main": lm}, gated=True, token="hf_right"),
    }


def _client(endpoint: str, home: Path, **more: str) -> dict[str, str]:
    """What huggingface_hub reads when it is imported."""
    fixed = {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1"}
    return {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0", **fixed, **more}


@pytest.fixture(scope="module")
def site(finished_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("hub")
    project = finished_project.copy_to(folder / "project")
    for name in ("downloaded_saes", "eval_results", ".sae_cache"):
        shutil.rmtree(project.root / name)
    project.edit(HUB_PARAMS)
    with (
        running_hub(_repositories(project.root / "world")) as hub,
        running_stage_server(_client(hub.endpoint, folder / "home")) as server,
    ):
        yield Site(project, hub, server, folder / "home")
    shutil.rmtree(project.root)


STAGES = ("setup_saes", "run_core_eval", "run_sparse_probing")


def test_all_comes_from_the_hub_and_then_from_its_cache(site: Site) -> None:
    done = {stage: site.run(stage) for stage in STAGES}
    assert [d.code for d in done.values()] == [0, 0, 0], [d.out for d in done.values()]
    assert done["run_core_eval"].counts["core"] == (4, 0, 0)
    assert done["run_sparse_probing"].counts["sparse_probing"] == (4, 0, 0)
    assert json.loads((site.project.root / "world/_status.json").read_text())["enabled"] is False
    manifest = json.loads((site.project.root / "downloaded_saes/manifest.json").read_text())
    assert manifest["model"] == {"name": "lab/lm", "revision": COMMIT}
    assert manifest["saes"][0]["source"]["revision"] == COMMIT
    before, asked = _results(site), len(site.hub.downloads())
    assert [site.run(stage).code for stage in STAGES] == [0, 0, 0]
    assert len(site.hub.downloads()) == asked, "what is in the cache is not downloaded again"
    with running_stage_server(_client("http://127.0.0.1:9", site.home, HF_HUB_OFFLINE="1")) as offline:
        again = [offline.run(site.project.root, f"scripts.{stage}") for stage in STAGES]
    assert [d.code for d in again] == [0, 0, 0], [d.out for d in again]
    assert again[1].counts["core"] == (0, 4, 0)
    assert again[2].counts["sparse_probing"] == (0, 4, 0)
    assert _results(site) == before


def _results(site: Site) -> dict[str, bytes]:
    return _folder(site.project.root / "eval_results") | _folder(site.project.root / "downloaded_saes")


def _refused(site: Site, changes: Mapping[str, Any], message: str, stage: str = "setup_saes") -> None:
    path = site.project.root / "params.yaml"
    kept, before = path.read_bytes(), _results(site)
    site.project.edit(changes)
    try:
        done = site.run(stage)
    finally:
        path.write_bytes(kept)
    assert done.code == 1, done.out
    assert "Traceback" not in done.out
    assert re.search(message, done.out), done.out
    assert _results(site) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"revision": "v9"}}, r"model 'lab/lm': .*'v9': no such revision; correct or remove 'revision'"),
        ({"model": {"name": "lab/nothing"}}, r"model 'lab/nothing': .*no such repository; correct the id, or .*HF_"),
        ({"model": {"name": "lab/secret"}}, r"model 'lab/secret': .*gated; ask for access at http.*, then log in"),
        ({"baseline_sae": {"filename": "x/ae.pt"}}, r"'lab/saes' has no file or folder 'x/ae.pt'; correct 'filename'"),
        ({"baseline_sae": {"revision": "v9"}}, r"'lab/saes': .*'v9': no such revision; correct or remove 'revision'"),
        ({"comparison_saes": [{"repo_id": "lab/topk", "filename": "k9"}]}, r"'lab/topk' has no file or folder 'k9'"),
    ],
)  # fmt: skip
def test_what_the_hub_refuses_is_told(site: Site, changes: Mapping[str, Any], message: str) -> None:
    _refused(site, changes, message)


def test_a_data_set_that_the_hub_lacks_is_told_by_its_stage(site: Site) -> None:
    assert site.run("setup_saes").code == 0
    changes = {"core_eval": {"dataset": "lab/none"}}
    _refused(site, changes, r"data set 'lab/none': .*no such repository", stage="run_core_eval")


def test_a_hub_out_of_reach_says_which_file_of_which_repository(site: Site, tmp_path: Path) -> None:
    with running_stage_server(_client("http://127.0.0.1:9", tmp_path)) as away:
        done = away.run(site.project.root, "scripts.setup_saes")
    assert done.code == 1
    assert "Traceback" not in done.out
    assert "model 'lab/lm': the list of its files" in done.out
    for remedy in ("cannot reach the hub http://127.0.0.1:9", "HF_ENDPOINT", "HF_HUB_OFFLINE=1", "profile embedded"):
        assert remedy in done.out
