"""The tidy table: one row per SAE, eval, metric and place; as CSV to read and as Parquet to compute with."""

from __future__ import annotations

import csv
import io
import json
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeVar

from sae_research.errors import UserError
from sae_research.measurements import MetricSpec
from sae_research.results.numbers import rounded
from sae_research.results.sae_bench_schema import placeholders

Source = Literal["computed", "published"]
Interpolation = Literal["no", "some", "most", "unknown"]
Record = TypeVar("Record")

TABLE_FILE = "results.parquet"
"""The table's name in `eval_results/merged/`."""
_PARTS = {"seed"}
"""Places that tell parts of a metric apart, although their values are numbers."""


@dataclass(frozen=True)
class Row:
    """One number of one SAE, or the reason why there is none."""

    sae: str
    """The SAE's name, unique within its source."""
    architecture: str
    label: str
    """What tables and plots call the architecture, and group by."""
    control: bool
    """Whether the SAE learned nothing that a metric should reward, as its manifest entry says: random atoms, PCA."""
    source: Source
    """`computed` here, or read from a `published` result file."""
    baseline: str | None
    """The SAE whose dictionary this one uses, for a variant."""
    d_in: int | None
    d_sae: int | None
    hook_name: str | None
    """The site, by the name that TransformerLens has for it."""
    layer: int | None
    """The layer of the site."""
    eval: str
    metric: str | None
    """None: the whole cell failed, and `reason` says why."""
    at: str
    """Where the metric was taken, a JSON object with sorted keys: `{"k": 5}`; `{}` where there is one place only."""
    value: float | None
    reason: str | None
    """Why `value` is missing; None where it is not."""
    ci_low: float | None
    ci_high: float | None
    unit: str | None
    direction: str | None
    """Which way is better: higher, lower, neither."""
    title: str | None
    """The metric in words."""
    headline: bool
    """Whether the metric stands in the report and gets a picture."""
    column: str | None
    """The metric's name in tables with one column a metric; None for the parts of a metric (one data set of many)."""
    l0: float | None
    """The SAE's L0, from its core result."""
    interpolates: float | None
    """The share of the text whose support has d_in latents or more, so that reconstruction is exact and means nothing;
    from the core result, or the eval's own (`interpolates_here`) where that is larger."""
    scope: str | None = None
    """`sequence`: the codes of a token depend on the other tokens of its sequence. `token`: they do not."""
    control_for: str | None = None
    """Of a control: the variant with the same encoder and settings, which it is held against alone."""
    atoms: str | None = None
    """What such a control's atoms are: random, raw or pca."""
    over_random: float | None = None
    """Of a variant: its number minus that of its control with random atoms. Paired, with a 95 % interval."""
    over_random_low: float | None = None
    over_random_high: float | None = None
    over_raw: float | None = None
    """The same for raw activations as atoms."""
    over_raw_low: float | None = None
    over_raw_high: float | None = None
    over_pca: float | None = None
    """The same for principal directions."""
    over_pca_low: float | None = None
    over_pca_high: float | None = None
    over_rotation: float | None = None
    """Of an SAE under an eval that has the baseline (RAVEL): its number minus that of a random rotation's axes."""
    over_rotation_low: float | None = None
    over_rotation_high: float | None = None

    @property
    def place(self) -> dict[str, Any]:
        return json.loads(self.at)

    @property
    def identity(self) -> tuple[str, str]:
        """What tells one SAE from another: the source and the name."""
        return self.source, self.sae


def interpolation(share: float | None) -> Interpolation:
    """How much of an SAE's text is interpolated."""
    if share is None:
        return "unknown"
    if share == 0:
        return "no"
    return "most" if share > 0.5 else "some"


def card_label(card: Mapping[str, Any]) -> str:
    """What to call the architecture of the SAE that `card` describes."""
    return card.get("label") or card.get("architecture") or "unknown"


def place_text(at: Mapping[str, Any]) -> str:
    """`Row.at` for a measurement's place."""
    return json.dumps(dict(at), sort_keys=True, ensure_ascii=False)


def column_name(spec: MetricSpec, at: Mapping[str, Any]) -> str | None:
    """The metric's column: its name, or SAEBench's key filled in where the key has places for all of `at`."""
    if not at:
        return spec.name
    if _PARTS & set(at):
        return None
    wanted = placeholders(spec.key or "")
    if wanted and set(wanted) == set(at):
        return str(spec.key).format(**at)
    if all(isinstance(value, int) for value in at.values()):
        return "_".join([spec.name, *(f"{key}{value}" for key, value in sorted(at.items()))])
    return None


def table_as_csv(records: Sequence[Any], kind: type = Row) -> str:
    """Records of one `kind` as CSV: a line each, missing fields empty, floats in full."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [field.name for field in fields(kind)]
    writer.writerow(names)
    for record in records:
        writer.writerow([_cell(getattr(record, name)) for name in names])
    return text.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(rounded(value)) if isinstance(value, float) else str(value)


def table_as_parquet(records: Sequence[Any], kind: type = Row) -> bytes:
    """Records of one `kind` as Parquet, typed, missing fields null."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {str: pa.string(), float: pa.float64(), int: pa.int64(), bool: pa.bool_(), tuple: pa.list_(pa.float64())}
    hints = typing.get_type_hints(kind)
    schema = pa.schema([(field.name, types[_plain_type(hints[field.name])]) for field in fields(kind)])
    table = pa.Table.from_pydict({name: [getattr(r, name) for r in records] for name in schema.names}, schema=schema)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="none")
    return buffer.getvalue()


def _plain_type(hint: Any) -> type:
    """`str` for `str | None` and for a Literal of strings, `tuple` for one of numbers."""
    if typing.get_origin(hint) in (Literal, tuple):
        return str if typing.get_origin(hint) is Literal else tuple
    arguments = [a for a in typing.get_args(hint) if a is not type(None)]
    return _plain_type(arguments[0]) if arguments else hint


def read_table(path: Path) -> list[Row]:
    """The rows in a Parquet file that `table_as_parquet` wrote."""
    return read_records(path, Row)


def read_records(path: Path, kind: type[Record]) -> list[Record]:
    """The records of one `kind` in a Parquet file that `table_as_parquet` wrote."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; run the stage process_results first") from None
    except pa.ArrowInvalid as error:
        raise UserError(f"{path} is not a Parquet table ({error}); run the stage process_results again") from None
    if table.schema.names != [field.name for field in fields(kind)]:  # pyright: ignore[reportArgumentType]
        raise UserError(f"{path} has other columns than this version writes; run the stage process_results again")
    hints = typing.get_type_hints(kind)
    lists = [name for name in table.schema.names if _plain_type(hints[name]) is tuple]
    return [kind(**entry | {name: tuple(entry[name]) for name in lists}) for entry in table.to_pylist()]
