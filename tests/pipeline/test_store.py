from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from sae_research.measurements import EvalOutput, Measurement, Result, Table
from sae_research.pipeline.store import ResultStore


def _result(key: str = "ab12") -> Result:
    return Result(
        key=key,
        eval_name="core",
        sae={"name": "topk", "architecture": "topk", "hook_name": "blocks.0.hook_resid_post", "d_in": 4, "d_sae": 8},
        settings={},
        key_parts={"sae": "1", "settings": {"n": 1}},
        output=EvalOutput((Measurement("l0", 2.5), Measurement("mse", None, reason="no tokens"))),
    )


def test_what_is_put_is_got_and_another_key_is_not(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    assert store.get("ab12") is None
    store.put(_result())
    found = store.get("ab12")
    assert found is not None
    assert found.output.measurements == _result().output.measurements
    assert store.get("ab13") is None
    [past] = store.past_cells()
    assert (past.eval_name, past.sae_name, past.parts) == ("core", "topk", {"sae": "1", "settings": {"n": 1}})


def test_tables_are_kept_beside_and_a_damaged_one_makes_the_cell_missing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store, table = ResultStore(tmp_path), Table({"density": np.array([0.5, np.nan])})
    result = dataclasses.replace(_result(), output=dataclasses.replace(_result().output, tables={"latents": table}))
    store.put(result)
    stored = store.get("ab12")
    assert stored is not None
    assert stored.output.tables == {"latents": table}
    other = ResultStore(tmp_path / "other")
    other.adopt(tmp_path / "ab")
    assert other.get("ab12") == stored
    (tmp_path / "ab" / "ab12.latents.parquet").write_bytes(b"x")
    assert store.get("ab12") is None
    assert "computed again" in caplog.text
    store.put(result)
    assert store.get("ab12") == stored


@pytest.mark.parametrize("damage", ["truncate", "alter", "swap"])
def test_damage_counts_as_missing(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    store = ResultStore(tmp_path)
    store.put(_result())
    path = tmp_path / "ab" / "ab12.json"
    text = path.read_text()
    match damage:
        case "truncate":
            path.write_text(text[: len(text) // 2])
        case "alter":
            path.write_text(text.replace("2.5", "9.5"))
        case "swap":
            path.rename(tmp_path / "ab" / "ab99.json")
    assert store.get("ab99" if damage == "swap" else "ab12") is None
    assert ("computed again" in caplog.text) is (damage != "swap")


def test_an_output_folder_is_adopted_but_for_what_was_altered(tmp_path: Path) -> None:
    there = ResultStore(tmp_path / "there")
    there.put(_result("ab12"))
    there.put(_result("ab34"))
    out = tmp_path / "there" / "ab"
    altered = (out / "ab34.json").read_text().replace("2.5", "9.5")
    (out / "ab34.json").write_text(altered)
    here = ResultStore(tmp_path / "here")
    here.adopt(out)
    assert here.get("ab12") == there.get("ab12") is not None
    assert here.get("ab34") is None
    here.adopt(tmp_path / "absent")
