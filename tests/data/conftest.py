"""Small parquet data sets of the same layout as the hub's and the world's."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sae_research.sources.hub import Hub

Table = Mapping[str, Sequence[Any]]


class Shelf:
    """Writes data sets where `hub` finds them: the world's in it, the hub's as folders beside the process."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.hub = Hub(root / "world")

    def folder(self, dataset_id: str) -> Path:
        if dataset_id.startswith("embedded/"):
            return self.hub.world / "datasets" / dataset_id.removeprefix("embedded/")
        return self._root / dataset_id

    def put(self, dataset_id: str, files: Mapping[str, Table], classes: Mapping[str, Any] | None = None) -> Hub:
        for name, columns in files.items():
            path = self.folder(dataset_id) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.table(dict(columns)), path)
        if classes is not None:
            (self.folder(dataset_id) / "dataset_info.json").write_text(json.dumps({"classes": classes}))
        return self.hub


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.chdir(tmp_path)
    return Shelf(tmp_path)


@pytest.fixture
def crossed() -> Callable[..., dict[str, list[Any]]]:
    """`crossed(a, b, n)`: for every pair of values `n` rows, as columns text, first and second."""

    def build(first: Sequence[Any], second: Sequence[Any], n: int, prefix: str = "") -> dict[str, list[Any]]:
        rows = [(f"{prefix}{a}/{b}/{i}", a, b) for i in range(n) for a in first for b in second]
        return {"text": [r[0] for r in rows], "first": [r[1] for r in rows], "second": [r[2] for r in rows]}

    return build
