"""The optional evals in the pipeline: all of them on a world whose model knows next to nothing, then one less."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from project import Project

OPTIONAL = ("absorption", "scr", "tpp", "ravel", "unlearning")
TINY: dict[str, Any] = {
    "eval_types": dict.fromkeys(OPTIONAL, True),
    "scr": {"dataset_names": ["embedded/bios"], "train_size": 20, "test_size": 20, "n_values": [2, 5]},
    "tpp": {"dataset_names": ["embedded/news"], "train_size": 20, "test_size": 20, "n_values": [2, 5]},
    "absorption": {"k_sparse_probe_num_epochs": 5, "max_k_value": 2},
    "ravel": {"num_pairs_per_attribute": 16, "num_epochs": 1, "das_dimension": 4},
    "unlearning": {"n_rows": 8, "required_orders": 1},
}


def test_all_optional_evals_and_then_one_less(project: Project) -> None:
    n = len(project.status("core"))
    project.edit(TINY)
    done = project.repro()
    assert {name: done.counts[name] for name in OPTIONAL} == dict.fromkeys(OPTIONAL, (n, 0, 0))
    rows = _rows(project)
    for name in OPTIONAL:
        own = [row for row in rows if row["eval"] == name]
        assert len({row["sae"] for row in own}) == n
        # What this model cannot do is a missing number with a reason, never a number.
        assert all(bool(row["value"]) != bool(row["reason"]) for row in own)
    project.edit({"eval_types": {"scr": False}})
    assert project.repro().ran == ["optional_evals@scr", "process_results", "visualize"]
    assert json.loads((project.root / "eval_results/scr/_status.json").read_text())["enabled"] is False
    assert not [row for row in _rows(project) if row["eval"] == "scr"]


def _rows(project: Project) -> list[dict[str, str]]:
    table = (project.root / "eval_results" / "merged" / "results.csv").read_text()
    return list(csv.DictReader(io.StringIO(table)))
