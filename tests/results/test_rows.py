from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from sae_research.errors import UserError
from sae_research.measurements import MetricSpec
from sae_research.results.rows import (
    Row,
    column_name,
    interpolation,
    place_text,
    read_table,
    table_as_csv,
    table_as_parquet,
)

FULL = Row(
    sae="a,b", architecture="topk", label="random", control=True, source="computed", baseline=None, d_in=128, d_sae=512,
    hook_name="h", layer=3, eval="core", metric="mse", at='{"k": 5}', value=1 / 3, reason=None, ci_low=0.1, ci_high=0.5,
    unit="u", direction="lower", title='Squared "error"', headline=True, column="mse", l0=8.0, interpolates=0.0,
)  # fmt: skip
FAILED = Row(
    sae="c", architecture="unknown", label="unknown", control=False, source="published", baseline=None, d_in=None,
    d_sae=None, hook_name=None, layer=None, eval="core", metric=None, at="{}", value=None, reason="broken\nfile",
    ci_low=None, ci_high=None, unit=None, direction=None, title=None, headline=False, column=None, l0=None,
    interpolates=None,
)  # fmt: skip


def test_parquet_keeps_types_and_missing_values(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    path.write_bytes(table_as_parquet([FULL, FAILED]))
    assert read_table(path) == [FULL, FAILED]


def test_an_empty_table_keeps_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    path.write_bytes(table_as_parquet([]))
    assert read_table(path) == []


def test_csv_has_a_line_per_row_and_empty_fields_for_what_is_missing() -> None:
    first, second = csv.DictReader(io.StringIO(table_as_csv([FULL, FAILED])))
    assert (first["sae"], first["value"], first["d_sae"], first["headline"]) == ("a,b", "0.3333333333", "512", "true")
    assert (second["value"], second["reason"], second["metric"]) == ("", "broken\nfile", "")


def test_tables_are_the_same_bytes_each_time() -> None:
    assert table_as_parquet([FULL, FAILED]) == table_as_parquet([FULL, FAILED])
    assert table_as_csv([FULL]) == table_as_csv([FULL])


def test_a_table_that_is_missing_broken_or_from_another_version_is_named(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "t.parquet"
    with pytest.raises(UserError, match=r"t\.parquet does not exist; run the stage process_results"):
        read_table(path)
    path.write_bytes(b"PAR1 but no more")
    with pytest.raises(UserError, match=r"t\.parquet is not a Parquet table"):
        read_table(path)
    pq.write_table(pa.table({"sae": ["a"]}), path)
    with pytest.raises(UserError, match=r"t\.parquet has other columns"):
        read_table(path)


@pytest.mark.parametrize(
    ("share", "kind"), [(None, "unknown"), (0.0, "no"), (1e-6, "some"), (0.5, "some"), (0.51, "most"), (1.0, "most")]
)
def test_interpolation_has_three_grades(share: float | None, kind: str) -> None:
    assert interpolation(share) == kind


def test_columns_are_named_as_sae_bench_names_them_where_it_does() -> None:
    named = MetricSpec("sae_top_k_test_accuracy", "sae", "", "higher", "t", "sae_top_{k}_test_accuracy")
    ours = MetricSpec("spread", "sae", "", "lower", "t")
    assert column_name(named, {"k": 5}) == "sae_top_5_test_accuracy"
    assert column_name(named, {"k": 5, "dataset": "d"}) is None
    assert column_name(ours, {}) == "spread"
    assert column_name(ours, {"n": 2, "k": 1}) == "spread_k1_n2"


def test_places_are_the_same_text_in_whatever_order() -> None:
    assert place_text({"k": 5, "dataset": "d"}) == place_text({"dataset": "d", "k": 5}) == '{"dataset": "d", "k": 5}'
