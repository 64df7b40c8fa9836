"""The results of one run, as the explorer takes them: what `process_results` wrote, or a folder of published files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sae_research.errors import UserError
from sae_research.foreign import read_json_object
from sae_research.results.audit import ColumnAudit
from sae_research.results.columns import Column
from sae_research.results.health.document import HEALTH_FILE
from sae_research.results.merge import STATUS_FILE, read_entries, tidy_rows
from sae_research.results.replicates import columns_of, read_replicates
from sae_research.results.rows import TABLE_FILE, Row, read_records, read_table
from sae_research.results.summary import merged_document

_REMEDY = "run the stage process_results again"


def names_of(folders: Sequence[Path], names: Sequence[str] | None) -> list[str]:
    """What to call the runs in these folders: `names`, or the parts of the paths that tell them apart."""
    if names is not None:
        if len(names) != len(folders) or len(set(names)) < len(names):
            raise UserError(
                f"--names gives {len(names)} names, expected {len(folders)} different ones, one for a folder"
            )
        return list(names)
    parts = [
        [part for part in folder.resolve().parts[1:] if part not in ("eval_results", "merged")] for folder in folders
    ]
    if len({tuple(of_one) for of_one in parts}) < len(parts):
        raise UserError("a folder of results is given twice; give each once, or name them with --names")
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(of_one[-length:]) or "/" for of_one in parts]
        if len(set(names)) == len(names):
            break
    return list(names or ())


@dataclass(frozen=True)
class Run:
    """The results of one folder."""

    name: str
    """What the page calls it where it shows several."""
    rows: Sequence[Row]
    document: Mapping[str, Any]
    """`results.json`: cards, settings and provenance by SAE and eval."""
    columns: Sequence[Column] = ()
    """What paired comparisons are computed from."""
    audits: Sequence[ColumnAudit] = ()
    health: Mapping[str, Mapping[str, Any]] | None = None
    """By SAE, of `health.json`."""
    results: Path | None = None
    """`eval_results/`, where its dashboards lie, if it has any."""

    @cached_property
    def of_sae(self) -> Mapping[tuple[str, str], Mapping[str, Any]]:
        """The entries of the document by source and name."""
        return {(sae["source"], sae["name"]): sae for sae in self.document["saes"]}


def read_merged(folder: Path, name: str) -> Run:
    """The run that `process_results` merged into `folder`."""
    health = read_json_object(folder / HEALTH_FILE, remedy=_REMEDY)
    document = read_json_object(folder / "results.json", remedy=_REMEDY)
    return Run(
        name=name,
        rows=read_table(folder / TABLE_FILE),
        document=document,
        columns=list(columns_of(read_replicates(folder)).values()),
        audits=read_records(folder / "audit.parquet", ColumnAudit),
        health={sae["name"]: sae for sae in health.get("saes", ())},
        results=folder.parent,
    )


def read_published_run(folder: Path, name: str) -> Run:
    """Result files of SAEBench's, or ours, that lie somewhere below `folder`."""
    entries = read_entries(folder, folder, {})
    rows = tidy_rows(entries)
    return Run(name=name, rows=rows, document=merged_document(entries, rows))


def read_run(folder: Path, name: str) -> Run:
    """The results in `folder`: `eval_results`, its `merged`, a project that has it, or published files."""
    for merged in (folder / "eval_results" / "merged", folder / "merged", folder):
        if (merged / TABLE_FILE).is_file():
            return read_merged(merged, name)
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; give folders of results, such as eval_results or published_results")
    if any(folder.glob(f"*/{STATUS_FILE}")):
        raise UserError(f"{folder} has results that are not merged yet; run `dvc repro process_results` in its project")
    if not any(folder.rglob("*.json")):
        raise UserError(f"{folder} holds no results: no merged/{TABLE_FILE} and no .json file")
    return read_published_run(folder, name)
