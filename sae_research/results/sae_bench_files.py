"""Results as SAEBench itself would have written them: with a record per latent in the document.

Our own documents leave these out: at 131,072 latents they take 62 MB an SAE, which every stage would read and DVC would
hash. Whoever reads our documents with SAEBench's classes gets all numbers from them, and no records; scripts of
SAEBench that want the records read what this module writes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sae_research.errors import UserError
from sae_research.files import write_atomically
from sae_research.measurements import Result, Table
from sae_research.results.document import document_text, read_result, to_document
from sae_research.results.merge import finished_evals
from sae_research.results.sae_bench_schema import sae_bench_evals
from sae_research.results.table_files import RESULT_SUFFIX

_DECIMALS = 10  # As SAEBench rounds its per-latent records.


def sae_bench_document(result: Result) -> dict[str, Any]:
    """The document of `result` with SAEBench's record of each latent in it, and without tables."""
    known = sae_bench_evals().get(result.eval_name)
    table = result.output.tables.get(known.schema.details_table or "") if known is not None else None
    details = result.output.details if table is None else latent_records(table)
    output = dataclasses.replace(result.output, details=details, tables={})
    return to_document(dataclasses.replace(result, output=output))


def latent_records(table: Table) -> list[dict[str, Any]]:
    """A record per latent, with its index, rounded as SAEBench rounds it; None where a number is missing."""
    columns = {name: np.round(column.astype(np.float64), _DECIMALS) for name, column in table.columns.items()}
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [
        {"index": index}
        | {name: value + 0.0 if math.isfinite(value) else None for name, value in zip(columns, row, strict=True)}
        for index, row in enumerate(rows)
    ]


def write_sae_bench_files(results: Path, folder: Path) -> Iterator[Path]:
    """Writes `<eval>/<sae>_eval_results.json` below `folder` for all finished evals that SAEBench has."""
    evals = [name for name in finished_evals(results) if name in sae_bench_evals()]
    if not evals:
        raise UserError(
            f"{results} holds no finished eval of SAEBench's; run `dvc repro`, or give the results of a finished run "
            "with --results FOLDER"
        )
    if folder.resolve().is_relative_to(results.resolve()):
        raise UserError(f"{folder} lies in {results}, whose files it would replace; name a folder elsewhere")
    for name in evals:
        for path in sorted((results / name).glob(f"*{RESULT_SUFFIX}")):
            target = folder / name / path.name
            write_atomically(target, document_text(sae_bench_document(read_result(path))))
            yield target
