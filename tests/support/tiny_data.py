"""Data sets of random words w3, w4, ... in a world's folder, for evals on the random model of the evals' tests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from support.questions import some_questions

from sae_research.evals.unlearning.questions import Question

_PROFESSIONS = ("professor", "nurse", "architect", "journalist", "surgeon", "psychologist", "attorney", "teacher")
"""Those that SCR pairs."""
_CATEGORIES = ("Toys_and_Games", "Industrial_and_Scientific", "Electronics", "Musical_Instruments")


def write_text(world: Path) -> None:
    """`embedded/text`: 40 documents."""
    rng = np.random.default_rng(0)
    write_table(world, "text", "test", {"text": texts(rng, 40)})


def write_news(world: Path) -> None:
    """`embedded/news`: a class of low words and one of high ones, 15 texts each for training and 8 for testing."""
    rng = np.random.default_rng(0)
    for split, n in (("train", 15), ("test", 8)):
        columns = {"text": [*texts(rng, n, 3, 30), *texts(rng, n, 30, 58)], "label": [0] * n + [1] * n}
        write_table(world, "news", split, columns)
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
        write_table(world, "bios", split, columns)
    _name_classes(
        world, "bios", profession={str(i): name for i, name in enumerate(_PROFESSIONS)},
        gender={"0": "male", "1": "female"},
    )  # fmt: skip


def write_reviews(world: Path) -> None:
    """`embedded/reviews`: texts with words of the category and of the rating, 20 and 12 of each kind."""
    rng = np.random.default_rng(2)
    for split, n in (("train", 20), ("test", 12)):
        kinds = [(c, r) for c in range(len(_CATEGORIES)) for r in (0, 1) for _ in range(n)]
        columns = {
            "text": [_bio(rng, category, rating) for category, rating in kinds],
            "category": [category for category, _ in kinds],
            "rating": [(1.0, 5.0)[rating] for _, rating in kinds],
        }
        write_table(world, "reviews", split, columns)
    _name_classes(world, "reviews", category={str(i): name for i, name in enumerate(_CATEGORIES)})


def write_corpora(world: Path) -> None:
    """`embedded/forget` of low words and `embedded/retain` of high ones, 30 texts each."""
    rng = np.random.default_rng(3)
    for name, low, high in (("forget", 3, 40), ("retain", 20, 58)):
        write_table(world, name, "train", {"text": [_words(rng, 25, low, high) for _ in range(30)]})


def write_questions(world: Path) -> None:
    """`embedded/facts`: 28 questions on each of three subjects, in each of two splits."""
    for i, split in enumerate(("train", "test")):
        asked = [
            q for j, s in enumerate(("poison", "birds", "gems")) for q in some_questions(28, seed=9 * i + j, subject=s)
        ]
        columns = {name: [getattr(q, name) for q in asked] for name in Question._fields}
        write_table(world, "facts", split, {**columns, "choices": [list(q.choices) for q in asked]})


def texts(rng: np.random.Generator, n: int, low: int = 3, high: int = 58) -> list[str]:
    """`n` texts of 4 to 19 words between `low` and `high`."""
    return [_words(rng, int(rng.integers(4, 20)), low, high) for _ in range(n)]


def _words(rng: np.random.Generator, n: int, low: int, high: int) -> str:
    return " ".join(f"w{word}" for word in rng.integers(low, high, n))


def _bio(rng: np.random.Generator, profession: int, gender: int) -> str:
    length = int(rng.integers(6, 12))
    kinds = rng.random(length)
    told = np.where(kinds < 0.25, 5 + 3 * profession, np.where(kinds < 0.6, 40 + 10 * gender, 3))
    return " ".join(f"w{w if kind < 0.6 else rng.integers(3, 58)}" for w, kind in zip(told, kinds, strict=True))


def write_table(
    world: Path, name: str, split: str, columns: Mapping[str, Sequence[Any]], *, config: str = "data"
) -> None:
    """One split of `embedded/<name>`."""
    path = world / "datasets" / name / config / f"{split}-00000-of-00001.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(dict(columns)), path)


def _name_classes(world: Path, name: str, **classes: dict[str, str]) -> None:
    (world / "datasets" / name / "dataset_info.json").write_text(json.dumps({"classes": classes}))
