"""`python -m benchmarks.vs_sae_bench` with the least of everything, beside the real sae_bench."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.absorption_case import PARTS as ABSORPTION_PARTS
from benchmarks.core_case import PARTS as CORE_PARTS
from benchmarks.probing_case import PARTS as PROBING_PARTS
from benchmarks.ravel_case import PARTS as RAVEL_PARTS
from benchmarks.scr_and_tpp_case import PARTS as ABLATION_PARTS
from benchmarks.unlearning_case import PARTS as UNLEARNING_PARTS
from benchmarks.vs_sae_bench import PARTS

ROOT = Path(__file__).parents[2]
TIMED = {
    "core": CORE_PARTS,
    "sparse_probing": PROBING_PARTS,
    "absorption": ABSORPTION_PARTS,
    "ravel": RAVEL_PARTS,
    "unlearning": UNLEARNING_PARTS,
    "scr_and_tpp": ABLATION_PARTS,
}
LONG = ("absorption", "ravel", "unlearning")
SHAPES = {
    "sparse_probing": [[4] * 7, [4] * 7, [9, 9]],
    "absorption": [[4] * 7],
    "ravel": [[7] * 4, [4] * 6],
    "unlearning": [[7, 7], [4] * 6],
}
"""Cells of each row of each table."""
ROWS = {"core": [34, 7, 2], "scr_and_tpp": [31, 6]}
LEAST = [
    *("--model", "tiny-neox", "--saes", "1", "--repeats", "1", "--growth", "1", "--threads", "1"),
    *("--batches", "1", "1", "--batch-size", "4", "--texts", "10", "4", "--sets", "1", "--k", "1", "2"),
    *("--absorption-k", "1", "--ravel-pairs", "8", "--ravel-seeds", "1"),
]
Table = list[list[str]]
"""Rows of cells, the header first."""

pytestmark = pytest.mark.slow


@pytest.fixture(
    scope="module",
    params=[[part for part in TIMED if part not in LONG], pytest.param(LONG, marks=pytest.mark.nightly)],
    ids=["short", "long"],
)
def tables(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Table]]:
    """What one run of some parts printed, by part."""
    command = [sys.executable, "-m", "benchmarks.vs_sae_bench", *LEAST, "--parts", *request.param]
    command += ["--scratch", str(tmp_path_factory.mktemp("scratch"))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    read: dict[str, list[Table]] = {}
    for block in done.stdout.split("\n\n"):
        if block.strip().startswith("## "):
            part = block.split()[1]
            read[part] = []
        elif block.startswith("|"):
            header, _, *rows = block.strip().splitlines()
            read[part].append([[cell.strip() for cell in line.split("|")[1:-1]] for line in (header, *rows)])
    assert list(read) == list(request.param)
    return read


def test_every_part_has_its_tables(tables: dict[str, list[Table]]) -> None:
    for part, of_part in tables.items():
        if part in SHAPES:
            assert [[len(row) for row in table] for table in of_part] == SHAPES[part]
        else:
            assert [len(table) for table in of_part] == ROWS[part]


def test_every_part_of_both_sides_takes_time(tables: dict[str, list[Table]]) -> None:
    for part, of_part in tables.items():
        (times,) = [table for table in of_part if table[0][0] == "part"]
        assert [row[0] for row in times[1:-3]] == list(TIMED[part])
        assert [row[0] for row in times[-3:]] == ["the rest", "**all**", "peak memory, MiB"]
        for row in times[1:-3]:
            assert all(float(cell) > 0 for cell in row[1:]), row


def test_the_numbers_that_must_agree_do(tables: dict[str, list[Table]]) -> None:
    for part in {"core", "scr_and_tpp"} & tables.keys():
        assert {row[0]: row[3] for row in tables[part][0][1:] if float(row[3]) > 1e-3} == {}
    if "unlearning" in tables:
        ((_, _, _, _, compared, forget, side_effects),) = tables["unlearning"][0][1:]
        assert compared == "6 of 6"
        assert max(float(forget), float(side_effects)) < 1e-3


def test_all_parts_are_tested() -> None:
    assert tuple(TIMED) == PARTS
