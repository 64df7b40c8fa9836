"""Tables of results as Parquet files beside their documents: a column a field, a row a latent.

The same table gives the same bytes with the same version of pyarrow. What a document records of its tables is the
digest of their content, which no version changes.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sae_research.errors import UserError
from sae_research.files import write_atomically
from sae_research.measurements import Table

if TYPE_CHECKING:
    import pyarrow as pa

RESULT_SUFFIX = "_eval_results.json"
"""The end of the name of every document in `eval_results/<eval>/`."""
_TABLE_SUFFIX = ".parquet"
_OURS = b"sae_research"


def table_path(document: Path, name: str) -> Path:
    """Where the table of that name of a document lies: `<sae>.latents.parquet` beside `<sae>_eval_results.json`."""
    stem = document.name.removesuffix(RESULT_SUFFIX).removesuffix(".json")
    return document.with_name(f"{stem}.{name}{_TABLE_SUFFIX}")


def write_tables(document: Path, tables: Mapping[str, Table], *, scratch: Path | None = None) -> None:
    """Writes the tables of the document at that path, each whole or not at all."""
    for name, table in tables.items():
        write_atomically(table_path(document, name), table_bytes(table), scratch=scratch)


def table_bytes(table: Table) -> bytes:
    """`table` as a Parquet file: missing numbers are null, columns with several numbers a row are lists."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {name: _arrow_column(column) for name, column in table.columns.items()}
    content = pa.table(columns).replace_schema_metadata({_OURS: b"table"})
    # Ratios of counts repeat, weights do not; a dictionary of the latter only takes space.
    repeating = [name for name, column in table.columns.items() if column.dtype != np.float32]
    buffer = io.BytesIO()
    options: Any = {"use_dictionary": repeating}  # Its stubs know only the bool.
    pq.write_table(content, buffer, compression="zstd", write_statistics=False, **options)
    return buffer.getvalue()


def _arrow_column(column: np.ndarray) -> pa.Array:
    import pyarrow as pa

    if column.ndim == 2:
        return pa.FixedSizeListArray.from_arrays(pa.array(column.ravel()), column.shape[1])
    return pa.array(column, from_pandas=True)


def read_table_file(path: Path) -> Table:
    """The table in the file at `path`; UserError if there is none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        content = pq.read_table(path)
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run its stage again") from None
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} is not a whole Parquet file ({error}); delete it, then run its stage again") from None
    return Table({name: _numpy_column(content[name]) for name in content.column_names})


def _numpy_column(column: Any) -> np.ndarray:
    import pyarrow as pa

    whole = column.combine_chunks()
    if pa.types.is_fixed_size_list(whole.type):
        return whole.flatten().to_numpy(zero_copy_only=False).reshape(len(whole), whole.type.list_size)
    return whole.to_numpy(zero_copy_only=False)


def tables_of_ours(folder: Path) -> list[Path]:
    """The tables in `folder` that this project wrote; a damaged one counts."""
    return [path for path in sorted(folder.glob(f"*{_TABLE_SUFFIX}")) if _is_or_was_ours(path)]


def _is_or_was_ours(path: Path) -> bool:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return _OURS in (pq.read_schema(path).metadata or {})
    except (pa.ArrowException, OSError):
        return True
