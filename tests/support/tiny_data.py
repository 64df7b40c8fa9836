"""Data sets of random words w3, w4, ... in a world's folder, for evals on the random model of the evals' tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

_PROFESSIONS = ("professor", "nurse", "architect", "journalist", "surgeon", "psychologist", "attorney", "teacher")
"""Those that SCR pairs."""


def write_text(world: Path) -> None:
    """`embedded/text`: 40 documents."""
    rng = np.random.default_rng(0)
    _write(world, "text", "test", {"text": texts(rng, 40)})


def write_news(world: Path) -> None:
    """`embedded/news`: a class of low words and one of high ones, 15 texts each for training and 8 for testing."""
    rng = np.random.default_rng(0)
    for split, n in (("train", 15), ("test", 8)):
        columns = {"text": [*texts(rng, n, 3, 30), *texts(rng, n, 30, 58)], "label": [0] * n + [1] * n}
        _write(world, "news", split, columns)
    _name_classes(world, "news", label={"0": "low", "1": "high"})


def write_bios(world: Path) -> None:
    """`embedded/bios`: texts with a word of the profession and words of the gender, 20 and 12 of each kind."""
    rng = np.random.default_rng(1)
    for split, n in (("train", 20), ("test", 12)):
        kinds = [(p, g) for p in range(len(_PROFESSIONS)) for g in (0, 1) for _ in range(n)]
        columns = {
            "hard_text": [_bio(rng, profession, gender) for profession, gender in kinds],
            "profession": [profession for profession, _ in kinds],
            "gender": [gender for _, gender in kinds],
        }
        _write(world, "bios", split, columns)
    _name_classes(
        world, "bios", profession={str(i): name for i, name in enumerate(_PROFESSIONS)},
        gender={"0": "male", "1": "female"},
    )  # fmt: skip


def texts(rng: np.random.Generator, n: int, low: int = 3, high: int = 58) -> list[str]:
    """`n` texts of 4 to 19 words between `low` and `high`."""
    return [" ".join(f"w{word}" for word in rng.integers(low, high, rng.integers(4, 20))) for _ in range(n)]


def _bio(rng: np.random.Generator, profession: int, gender: int) -> str:
    length = int(rng.integers(6, 12))
    kinds = rng.random(length)
    told = np.where(kinds < 0.25, 5 + 3 * profession, np.where(kinds < 0.6, 40 + 10 * gender, 3))
    return " ".join(f"w{w if kind < 0.6 else rng.integers(3, 58)}" for w, kind in zip(told, kinds, strict=True))


def _write(world: Path, name: str, split: str, columns: dict[str, Sequence[Any]]) -> None:
    path = world / "datasets" / name / "data" / f"{split}-00000-of-00001.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(dict(columns)), path)


def _name_classes(world: Path, name: str, **classes: dict[str, str]) -> None:
    (world / "datasets" / name / "dataset_info.json").write_text(json.dumps({"classes": classes}))
