"""`data_sets` in params.yaml: named in evals, a parameter of those that read them, and seen by DVC and the plan."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from support.project import Project

from sae_research.errors import UserError
from sae_research.pipeline.params import read_params
from sae_research.yaml_text import read_yaml

WORDS = {"fruit": "apple pear plum", "metal": "iron zinc tin"}


def write_sets(folder: Path, n: int = 60) -> Path:
    """Lines about fruit and metal as CSV, and some of them again as a text."""
    folder.mkdir(exist_ok=True)
    rows = [(f"the {words} number {i}", kind, i) for i in range(n) for kind, words in WORDS.items()]
    with (folder / "all.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("line", "kind", "number"), *rows])
    return folder


@pytest.mark.slow
def test_a_set_of_ones_own_runs_the_evals_that_name_it_alone(project: Project, tmp_path: Path) -> None:
    folder, n = write_sets(tmp_path / "mine"), len(project.status("core"))
    mine = {"repo": str(folder), "text": "line", "label": "kind"}
    project.edit({
        "data_sets": {"things": mine},
        "sparse_probing": {"dataset_names": ["things"], "train_size": 40, "test_size": 20},
    })  # fmt: skip
    done = project.repro()
    # Disabled evals of labelled sets look at their parameters and stop.
    read = {"sparse_probing_eval", "optional_evals@scr", "optional_evals@tpp", "process_results"}
    read |= {"dashboards", "visualize"}
    assert set(done.ran) <= read and done.counts == {"sparse_probing": (n, 0, 0)}
    assert "things" in (project.root / "eval_results/merged/results.csv").read_text()
    # One more row: the plan says so, and the stage of this eval alone runs.
    with (folder / "all.csv").open("a") as file:
        file.write("the last apple,fruit,61\n")
    plan = project.run("python", "-m", "sae_research", "plan").out.splitlines()
    assert plan[-1] == f"{n} cached, {n} to compute"
    assert sum("missing: data.things" in line for line in plan) == n
    assert project.repro("sparse_probing_eval", "core_eval").ran == ["sparse_probing_eval"]


def _read(changes: dict[str, Any]) -> None:
    values = dict(read_yaml(Path(__file__).parents[2] / "params.yaml"))
    read_params({**values, **changes}, where="params.yaml")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embedded/bios": {"repo": "/d"}}, "the name 'embedded/bios' is taken by another data set"),
        ({"embedded/other": {"repo": "/d"}}, "the name 'embedded/other' is taken"),
        ({"sae-probes/texts": {"repo": "/d"}}, "the name 'sae-probes/texts' is taken"),
        ({"package:x/y": {"repo": "/d"}}, "the name 'package:x/y' is taken"),
        ({"n" * 101: {"repo": "/d"}}, "longer than 100 letters"),
        ({"<b>": {"repo": "/d"}}, "data_sets: the name is '<b>', expected letters"),
        ({"things": {"repo": "a" * 2000}}, r"data_sets\.things\.repo is .* 2000 letters long"),
        (
            {"things": {"repo": "/d", "labels": "x"}},
            r"data_sets\.things: unknown key 'labels'; valid: repo, text, label",
        ),
        ({"things": {"text": "x"}}, r"data_sets\.things: missing repo"),
        ({"things": {"repo": "/d", "group": "g", "pairs": ["ab"]}}, r"data_sets\.things\.pairs\[0\]: got 'ab'"),
    ],
)
def test_sets_that_cannot_be(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        _read({"data_sets": changes})


def test_what_an_eval_cannot_read_is_said_at_once() -> None:
    values = dict(read_yaml(Path(__file__).parents[2] / "params.yaml"))
    unknown = {**values["sparse_probing"], "dataset_names": ["/data/languages"]}
    with pytest.raises(UserError, match=r"'/data/languages' is not known; .*data_sets: \{NAME: \{repo: FOLDER"):
        _read({"sparse_probing": unknown})
    scr = {**values["scr"], "dataset_names": ["things"]}
    with pytest.raises(UserError, match=r"'things' has no pairs of classes, which SCR needs; add to data_sets\.things"):
        _read({"scr": scr, "data_sets": {"things": {"repo": "/d"}}})
    pairs = {"repo": "/d", "group": "g", "pairs": [["a", "b"]]}
    _read({"scr": scr, "data_sets": {"things": pairs}})
