"""The packed latents of an SAE, read back as a page reads them."""

from __future__ import annotations

import base64
import json
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.workspace import make_card

from sae_research.measurements import EvalOutput, Result, Table
from sae_research.page.latents import chunk_name, latent_chunks
from sae_research.page.packing import chunk_text
from sae_research.pipeline.paths import Paths
from sae_research.results.document import write_result
from sae_research.results.latent_notes import NOTES_FILE, NoteRow
from sae_research.results.rows import table_as_parquet

HOSTILE = [
    "</script><script>alert(1)</script>",
    "\u202eright to left",
    "\x00\x1b",
    "<!--",
    "\u2028",
    "a" * 10_000,
    "\ufffd",
]
WINDOWS, WIDTH, N = 3, 4, 2


def _table(**changes: Any) -> dict[str, np.ndarray]:
    """Two latents: one with codes of both signs in two windows, and a dead one."""
    tokens = np.full((N, WINDOWS, WIDTH), -1, dtype=np.int32)
    tokens[0, 0], tokens[0, 1, :2] = [5, 6, 7, 90], [8, 5]
    codes = np.zeros(tokens.shape, dtype=np.float32)
    codes[0, 0], codes[0, 1, :2] = [0, 2.0, -4.0, 1e-6], [0, 1.0]
    columns = {
        "latent": np.array([3, 40], dtype=np.int32),
        "fired": np.array([4, 0], dtype=np.int32),
        "density": np.array([0.004, 0.0]),
        "largest": np.array([4.0, 0.0], dtype=np.float32),
        "least": np.array([-4.0, 0.0], dtype=np.float32),
        "histogram": np.array([[1, 0, 3], [0, 0, 0]], dtype=np.int32),
        "window_kind": np.array([[0, 2, -1], [-1, -1, -1]], dtype=np.int8),
        "window_row": np.zeros((N, WINDOWS), dtype=np.int32),
        "window_start": np.zeros((N, WINDOWS), dtype=np.int32),
        "window_centre": np.array([[2, 1, -1], [-1, -1, -1]], dtype=np.int8),
        "window_tokens": tokens.reshape(N, -1),
        "window_codes": codes.reshape(N, -1),
        "neighbour": np.array([[40, -1], [3, -1]], dtype=np.int32),
        "neighbour_cosine": np.array([[0.126, -1], [0.126, -1]], dtype=np.float32),
        "promoted": np.array([[91, 5], [92, 6]], dtype=np.int32),
        "promoted_by": np.array([[2.0, 1.0], [0.5, 0.25]], dtype=np.float32),
        "suppressed": np.array([[8, 93], [7, 8]], dtype=np.int32),
        "suppressed_by": np.array([[-4.0, -2.0], [-0.5, -0.1]], dtype=np.float32),
    }
    return columns | changes


def _write(root: Path, columns: dict[str, np.ndarray]) -> Path:
    """`eval_results/` with dashboards and notes."""
    results = Paths(root=root, store=root / "store").results
    used = [columns[name].ravel() for name in ("window_tokens", "promoted", "suppressed") if name in columns]
    ids = np.setdiff1d(np.concatenate(used), [-1]).astype(np.int32)
    texts = np.array([HOSTILE[i % len(HOSTILE)] if i < 50 else str(i) for i in range(len(ids))], dtype=object)
    output = EvalOutput(
        (),
        unstructured={"tokens_read": 1000, "no_logits": None if "promoted" in columns else "atoms of heads"},
        tables={"latents": Table(columns), "tokens": Table({"token": ids, "text": texts})},
    )
    settings = {"dataset": "embedded/text", "split": "test", "n_quantiles": 2}
    result = Result("1", "dashboards", make_card("topk_k8"), settings, {}, output)
    write_result(results / "dashboards" / "topk_k8_eval_results.json", result)
    notes = [
        NoteRow("topk_k8", "sparse_probing", 3, "best for a class", "</script>", 0.9, None, None, None, "{}"),
        NoteRow("topk_k8", "core", 41, "among the densest", None, 0.5, None, None, None, "{}"),
        NoteRow("another", "core", 40, "among the densest", None, 0.5, None, None, None, "{}"),
    ]
    (results / "merged").mkdir(parents=True, exist_ok=True)
    (results / "merged" / NOTES_FILE).write_bytes(table_as_parquet(notes, NoteRow))
    return results


def _read(text: str) -> tuple[dict[str, Any], dict[str, np.ndarray], dict[str, Any]]:
    """The content of a file, its arrays and its strings, by the description of the format alone."""
    start = 'receiveChunk("latents-topk_k8",'
    assert text.startswith(start) and text.endswith(");\n")
    content = json.loads(text.removeprefix(start).removesuffix(");\n"))
    data, at, arrays = zlib.decompress(base64.b64decode(content["data"])), 0, {}
    for name, kind, shape in content["arrays"]:
        dtype = np.dtype(kind.lower()).newbyteorder("<")
        assert at % dtype.itemsize == 0
        arrays[name] = np.frombuffer(data, dtype, math.prod(shape), at).reshape(shape)
        at += arrays[name].nbytes
    assert len(data) == at + content["strings"]
    return content, arrays, json.loads(data[at:])


def test_what_is_packed_is_read_back(tmp_path: Path) -> None:
    results = _write(tmp_path, _table())
    content, arrays, strings = _read(_only_file(results))
    about = {name: value for name, value in content.items() if name not in ("arrays", "data", "strings", "d_sae")}
    assert about == {
        "format": 1, "sae": "topk_k8", "n": 2, "tokens_read": 1000, "is_signed": True, "quantiles": 2,
        "no_logits": None, "text": {"dataset": "embedded/text", "split": "test"},
    }  # fmt: skip
    assert arrays["latent"].tolist() == [3, 40]
    assert arrays["fired"].tolist() == [4, 0]
    assert arrays["density"].tolist() == pytest.approx([0.004, 0])
    assert arrays["least"].tolist() == [-4, 0]
    assert arrays["histogram"].tolist() == [[1, 0, 3], [0, 0, 0]]
    assert arrays["neighbour"].tolist() == [[40, -1], [3, -1]]
    assert arrays["neighbour_cosine"][:, 0].tolist() == [13, 13]
    assert arrays["window_kind"].tolist() == [[0, 2, -1], [-1, -1, -1]]
    assert arrays["window_centre"][0, :2].tolist() == [2, 1]
    ids = [5, 6, 7, 8, 90, 91, 92, 93]
    shown = [[ids[i] if i < 65535 else None for i in window] for window in arrays["window_tokens"][0]]
    assert shown == [[5, 6, 7, 90], [8, 5, None, None], [None] * 4]
    assert arrays["window_codes"][0].tolist() == [[0, 64, -127, 1], [0, 32, 0, 0], [0] * 4], "what is not 0 stays so"
    assert [ids[i] for i in arrays["promoted"][0]] == [91, 5]
    assert arrays["largest_logit"].tolist() == [4, 0.5]
    assert arrays["promoted_by"].tolist() == [[64, 32], [127, 64]]
    assert arrays["suppressed_by"].tolist() == [[-127, -64], [-127, -25]]
    assert strings["tokens"] == [HOSTILE[i % len(HOSTILE)] for i in range(8)]
    note = {"eval": "sparse_probing", "name": "best for a class", "text": "</script>", "value": 0.9}
    assert strings["notes"] == [[{**note, "low": None, "high": None, "reason": None}], []]


def test_nothing_in_a_file_can_end_the_script_and_equal_data_give_equal_bytes(tmp_path: Path) -> None:
    text = _only_file(_write(tmp_path / "a", _table()))
    assert text == _only_file(_write(tmp_path / "b", _table()))
    assert text.isascii()
    assert not set("<>&") & set(text)


def test_many_tokens_and_no_logits(tmp_path: Path) -> None:
    columns = _table()
    for name in ("promoted", "promoted_by", "suppressed", "suppressed_by"):
        del columns[name]
    content, arrays, _ = _read(_only_file(_write(tmp_path / "few", columns)))
    assert content["no_logits"] == "atoms of heads"
    assert not {"promoted", "largest_logit"} & arrays.keys()
    columns["window_tokens"] = np.arange(N * WINDOWS * 15_000, dtype=np.int32).reshape(N, -1)
    columns["window_codes"] = np.ones((N, WINDOWS * 15_000), dtype=np.float32)
    _, arrays, _ = _read(_only_file(_write(tmp_path / "many", columns)))
    assert arrays["window_tokens"].dtype == np.uint32
    assert arrays["window_tokens"].ravel().tolist() == list(range(N * WINDOWS * 15_000))


def _only_file(results: Path) -> str:
    """The text of the file of the only SAE."""
    [(sae, content)] = latent_chunks(results)
    return chunk_text(chunk_name(sae), content)


def test_without_dashboards_there_are_no_files(tmp_path: Path) -> None:
    assert list(latent_chunks(tmp_path / "eval_results")) == []
