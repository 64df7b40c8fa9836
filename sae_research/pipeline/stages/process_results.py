"""The stage `process_results`: every result in one table, a summary, a report."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sae_research.files import folder_in_the_making, write_atomically
from sae_research.pipeline.manifest import read_manifest
from sae_research.pipeline.params import load_params
from sae_research.pipeline.paths import Paths, find_paths
from sae_research.pipeline.store import ResultStore
from sae_research.results.audit import ColumnAudit, audit_columns
from sae_research.results.columns import columns_by_name
from sae_research.results.comparisons import MOST_IN_TABLE, Comparison, compare_saes
from sae_research.results.devices import device_kinds
from sae_research.results.health.assess import assess
from sae_research.results.health.document import HEALTH_FILE, health_document
from sae_research.results.health.report import health_section
from sae_research.results.health.settings import HealthSettings
from sae_research.results.health.training import training_records
from sae_research.results.latent_notes import NOTES_FILE, NoteRow, all_notes
from sae_research.results.merge import read_entries, tidy_rows
from sae_research.results.numbers import json_text
from sae_research.results.replicates import REPLICATES_FILE, Replicated, replicated_numbers
from sae_research.results.report import report_text
from sae_research.results.report_settings import SETTINGS_FILE, Setting, all_settings
from sae_research.results.rows import TABLE_FILE, table_as_csv, table_as_parquet
from sae_research.results.summary import by_sae, merged_document, plot_records, summarize
from sae_research.results.variant_controls import with_differences

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MergeSummary:
    """What was merged."""

    saes: int
    rows: int
    comparisons: int
    failed: int
    """Cells that failed."""


def process_results(
    paths: Paths,
    enabled: Mapping[str, bool],
    *,
    saes: Sequence[Mapping[str, Any]] = (),
    health: HealthSettings | None = None,
) -> MergeSummary:
    """Fills `eval_results/merged/`, `metrics.json` and `METRICS.md` from the results of the `enabled` evals.

    `saes` are the manifest's entries, for SAEs of which every cell failed, `health` the thresholds of the health
    report. The same results give the same bytes; where the store says that several kinds of device computed them, these
    are listed.
    """
    entries = read_entries(paths.results, paths.published, enabled)
    limits = health or HealthSettings()
    healths = assess(entries, limits, training_records(paths.saes, entries), saes)
    rows = tidy_rows(entries, saes)
    comparisons, audits = compare_saes(entries), audit_columns(entries, rows)
    replicates = replicated_numbers(columns_by_name(entries).values())
    rows = with_differences(rows, comparisons)
    keys = [entry.result.key for entry in entries if entry.source == "computed" and entry.result is not None]
    devices = device_kinds(entries, ResultStore(paths.store / "cells").devices(keys))
    scratch = paths.scratch
    with folder_in_the_making(paths.merged, scratch=scratch) as folder:
        (folder / "results.csv").write_text(table_as_csv(rows), encoding="utf-8")
        (folder / TABLE_FILE).write_bytes(table_as_parquet(rows))
        in_table = list(comparisons.in_table())
        (folder / "comparisons.csv").write_text(table_as_csv(in_table, Comparison), encoding="utf-8")
        (folder / "comparisons.parquet").write_bytes(table_as_parquet(in_table, Comparison))
        (folder / REPLICATES_FILE).write_bytes(table_as_parquet(replicates, Replicated))
        (folder / "audit.csv").write_text(table_as_csv(audits, ColumnAudit), encoding="utf-8")
        (folder / "audit.parquet").write_bytes(table_as_parquet(audits, ColumnAudit))
        (folder / SETTINGS_FILE).write_text(table_as_csv(all_settings(entries), Setting), encoding="utf-8")
        (folder / HEALTH_FILE).write_text(json_text(health_document(healths, limits)), encoding="utf-8")
        (folder / "results.json").write_text(json_text(merged_document(entries, rows, devices)), encoding="utf-8")
        (folder / NOTES_FILE).write_bytes(table_as_parquet(all_notes(entries), NoteRow))
        (folder / "plots.json").write_text(json_text(plot_records(rows)), encoding="utf-8")
    write_atomically(paths.metrics, json_text(summarize(rows)), scratch=scratch)
    report = report_text(entries, rows, comparisons, audits, health_section(healths, limits), devices)
    write_atomically(paths.report, report, scratch=scratch)
    summary = MergeSummary(
        saes=len(by_sae(rows)),
        rows=len(rows),
        comparisons=len(comparisons),
        failed=sum(entry.result is None for entry in entries),
    )
    if len(in_table) < len(comparisons):
        log.warning(
            "comparisons.csv has %d of %d pairs, those of each column's best SAE, because there are more than %d SAEs; "
            "`python -m sae_research compare A B` and the explorer compute any pair",
            len(in_table),
            len(comparisons),
            MOST_IN_TABLE,
        )
    log.info(
        "process_results: %s: %d SAEs, %d rows, %d comparisons, %d failed cells",
        paths.merged,
        summary.saes,
        summary.rows,
        summary.comparisons,
        summary.failed,
    )
    return summary


def process_results_stage() -> None:
    """Merges the results of the enabled evals in the current folder."""
    paths = find_paths()
    params = load_params(paths.params)
    process_results(paths, params.eval_types, saes=read_manifest(paths.saes).saes, health=params.health)
