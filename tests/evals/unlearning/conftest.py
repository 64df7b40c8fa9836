"""A world with corpora and questions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.questions import some_questions

from sae_research.evals.base import EvalContext
from sae_research.evals.unlearning.questions import Question


@pytest.fixture
def filled(context: EvalContext) -> EvalContext:
    """The context with corpora and questions in its world."""
    folder = context.hub.world / "datasets"
    rng = np.random.default_rng(3)
    for name, low, high in (("forget", 3, 40), ("retain", 20, 58)):
        texts = [" ".join(f"w{w}" for w in rng.integers(low, high, 25)) for _ in range(30)]
        _write(folder / name / "data" / "train-0.parquet", {"text": texts})
    for i, split in enumerate(("train", "test")):
        asked = [
            q for j, s in enumerate(("poison", "birds", "gems")) for q in some_questions(28, seed=9 * i + j, subject=s)
        ]
        columns = {name: [getattr(q, name) for q in asked] for name in Question._fields}
        _write(
            folder / "facts" / "data" / f"{split}-0.parquet", {**columns, "choices": [list(q.choices) for q in asked]}
        )
    return context


def _write(path: Path, columns: dict[str, list[Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
