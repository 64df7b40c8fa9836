"""docs/adding.md as a user follows it: its four examples in a folder of plug-ins, run by the pipeline and the library.

Nothing but `params.yaml` and `dvc.yaml` is edited, by the lines that the document prints.
"""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML
from safetensors.numpy import load_file
from support.project import ROOT, Finished, Project, make_project

pytestmark = pytest.mark.slow

SNIPPET = re.compile(r"^```(?:python|yaml)\n# (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
"""A fenced block whose first line is a comment with the name of its file."""


def _snippets() -> list[tuple[str, str]]:
    """(file, text) of every block in the order of the document; a file in YAML may have several."""
    return SNIPPET.findall((ROOT / "docs" / "adding.md").read_text(encoding="utf-8"))


def _merge(document: Any, lines: Mapping[str, Any]) -> None:
    """Adds `lines` to a YAML document: mappings key by key, the items of `deps` at its end, other values whole."""
    for key, value in lines.items():
        if key == "deps":
            document[key].extend(value)
        elif isinstance(value, Mapping) and isinstance(document.get(key), Mapping):
            _merge(document[key], value)
        else:
            document[key] = value


@dataclass(frozen=True)
class Extended:
    """The tiny project with the plug-ins, run once; and what the run printed."""

    project: Project
    plugins: Path
    first: Finished

    @property
    def env(self) -> dict[str, str]:
        return {"SAE_PLUGINS": str(self.plugins)}

    def run(self, *command: str) -> Finished:
        return self.project.run(*command, env=self.env)


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Extended:
    folder = tmp_path_factory.mktemp("adding")
    project, plugins = make_project(folder / "project"), folder / "my_plugins"
    project.repro("setup")
    _write_tickets(project.root / "tickets")
    _write_npz(project.root, folder / "my_saes")
    for name, text in _snippets():
        if name.endswith(".yaml"):
            text = text.replace("/data/my_saes", str(folder / "my_saes"))
            _edit(project.root / name, YAML(typ="safe").load(text))
        else:
            (plugins / name).parent.mkdir(parents=True, exist_ok=True)
            (plugins / name).write_text(text, encoding="utf-8")
    project.commit("the lines of docs/adding.md")
    made = Extended(project, plugins, project.repro(env={"SAE_PLUGINS": str(plugins)}))
    assert made.first.code == 0
    return made


def _edit(path: Path, lines: Mapping[str, Any]) -> None:
    yaml = YAML()
    document = yaml.load(path.read_text(encoding="utf-8"))
    _merge(document, lines)
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(document, file)


def _write_tickets(folder: Path) -> None:
    """The local data set that the document's family reads."""
    folder.mkdir()
    subjects = ("the invoice of may", "a parcel that never came", "shoes that do not fit")
    for split in ("train", "test"):
        rows = [(f"{split} {i}: {text}, case {i % 9}", topic) for i in range(60) for topic, text in enumerate(subjects)]
        table = pa.table({"text": [text for text, _ in rows], "topic": [topic for _, topic in rows]})
        pq.write_table(table, folder / f"{split}.parquet")


def _write_npz(root: Path, folder: Path) -> None:
    """The baseline in the document's format."""
    manifest = json.loads((root / "downloaded_saes" / "manifest.json").read_text())
    baseline = manifest["saes"][0]
    content: dict[str, Any] = {name: baseline[name] for name in ("hook_name", "model_name")}
    content |= load_file(root / "downloaded_saes" / baseline["name"] / "sae_weights.safetensors")
    folder.mkdir()
    np.savez(folder / "layer_4.npz", **content)


def _manifest(extended: Extended) -> dict[str, dict[str, Any]]:
    entries = json.loads((extended.project.root / "downloaded_saes" / "manifest.json").read_text())["saes"]
    return {entry["name"]: entry for entry in entries}


def _rows(extended: Extended, eval_name: str) -> list[dict[str, str]]:
    with (extended.project.root / "eval_results" / "merged" / "results.csv").open() as file:
        return [row for row in csv.DictReader(file) if row["eval"] == eval_name]


def test_the_document_prints_each_of_the_four_examples() -> None:
    names = [name for name, _ in _snippets()]
    for room in ("saes/architectures/", "formats/readers/", "data/families/", "evals/"):
        assert [name for name in names if name.startswith(room)], f"no example under {room}"
    assert {"params.yaml", "dvc.yaml"} <= set(names)


def test_an_architecture_is_one_file_and_its_variants_are_lines_of_params(extended: Extended) -> None:
    variants = {name: entry for name, entry in _manifest(extended).items() if entry["architecture"] == "cutoff"}
    assert [entry["hyperparameters"] for entry in variants.values()] == [{"tau": 0.5}, {"tau": 1.0}]
    cells = {cell["sae"]: cell["state"] for cell in extended.project.status("core")}
    assert {cells[name] for name in variants} == {"done"}
    assert "cutoff" in (extended.project.root / "METRICS.md").read_text()


def test_a_format_is_one_file(extended: Extended) -> None:
    [entry] = [entry for entry in _manifest(extended).values() if entry["source"].get("format") == "npz"]
    assert (entry["architecture"], entry["source"]["filename"]) == ("relu", "layer_4.npz")
    baseline = next(iter(_manifest(extended).values()))
    values = {
        name: {row["metric"]: row["value"] for row in _rows(extended, "core") if row["sae"] == name}
        for name in (entry["name"], baseline["name"])
    }
    assert values[entry["name"]]["l0"] == values[baseline["name"]]["l0"] != ""


def test_a_data_set_is_one_file(extended: Extended) -> None:
    rows = _rows(extended, "sparse_probing")
    assert {cell["state"] for cell in extended.project.status("sparse_probing")} == {"done"}
    assert any("tickets" in json.dumps(row) for row in rows)
    assert [row for row in rows if row["value"]]


def test_an_eval_is_one_folder_and_lines_of_two_files(extended: Extended) -> None:
    n = len(_manifest(extended))
    assert extended.first.counts["persistence"] == (n, 0, 0)
    assert "optional_evals@persistence" in extended.first.ran
    tracked = extended.project.run("git", "diff", "--name-only").out.split()
    changed = {name for name in tracked if not name.startswith("docs/figures/")}
    assert changed <= {"METRICS.md", "metrics.json", "dvc.lock", "local_folders.json"}, "the pipeline writes these"


def test_the_new_eval_is_planned_reported_and_drawn(extended: Extended) -> None:
    n = len(_manifest(extended))
    plan = extended.run("python", "-m", "sae_research", "plan").out.splitlines()
    assert len([line for line in plan if line.startswith("persistence ") and line.endswith(" cached")]) == n
    rows = _rows(extended, "persistence")
    assert {row["metric"] for row in rows} == {"persistence", "persistence_by_gap"}
    values = [float(row["value"]) for row in rows if row["value"]]
    assert values and all(0 <= value <= 1 for value in values)
    assert "Persistence" in (extended.project.root / "METRICS.md").read_text()
    pictures = {path.name for path in (extended.project.root / "images").iterdir()}
    assert [name for name in pictures if "persistence" in name and "by_gap" not in name]
    assert [name for name in pictures if "persistence" in name and "by_gap" in name]
    assert extended.project.repro(env=extended.env).ran == []


def test_an_edit_of_the_plugin_computes_its_cells_and_no_other(extended: Extended) -> None:
    measure = extended.plugins / "evals" / "persistence" / "measure.py"
    text = measure.read_text()
    try:
        measure.write_text(f"{text}\n_UNUSED = 1\n")
        plan = extended.run("python", "-m", "sae_research", "plan").out.splitlines()
    finally:
        measure.write_text(text)
    missing = [line for line in plan if "missing: " in line]
    assert len(missing) == len(_manifest(extended))
    assert all(line.startswith("persistence ") and line.endswith("changed code") for line in missing)


def test_the_library_offers_the_new_eval(extended: Extended) -> None:
    code = (
        "from sae_research import evaluate\n"
        "texts = ['the cat sat on the mat ' * 40] * 8\n"
        f"sae = 'downloaded_saes/{next(iter(_manifest(extended)))}'\n"
        "settings = {'persistence': {'n_rows': 4, 'context_size': 32}}\n"
        "found = evaluate('embedded/lm', sae, settings, texts=texts, device='cpu', progress=False)\n"
        "assert not found.failures, found.failures\n"
        "[result] = found.results\n"
        "print(sorted({m.metric for m in result.output.measurements}))\n"
    )
    shown = extended.run(sys.executable, "-c", code).out
    assert "['persistence', 'persistence_by_gap']" in shown


def test_without_the_folder_its_names_are_unknown(extended: Extended) -> None:
    refused = extended.project.run("python", "-m", "sae_research", "plan", check=False)
    assert refused.code == 1
    assert re.search(r"unknown key '(persistence|cutoff)'; valid: ", refused.out)


def test_the_contract_tests_find_the_new_architecture_by_themselves(extended: Extended) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "0", "tests/saes/test_architectures.py", "-k", "cutoff"],
        cwd=ROOT, env={**os.environ, **extended.env}, capture_output=True, text=True,
    )  # fmt: skip
    assert shown.returncode == 0, shown.stdout
