"""METRICS.md: first what a reader must know, then the tables, then how far to trust them and what they rest on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sae_research.measurements import NOT_FOR_TOKENS
from sae_research.results.audit import ColumnAudit, audit_columns
from sae_research.results.audit_report import audit_section, column_signs
from sae_research.results.comparison_report import comparison_section
from sae_research.results.comparisons import Comparisons, compare_columns, compare_saes
from sae_research.results.devices import DeviceKind, devices_section
from sae_research.results.figures import planned_figures
from sae_research.results.health.assess import assess
from sae_research.results.health.report import health_section
from sae_research.results.health.settings import HealthSettings
from sae_research.results.leaders import contenders_of
from sae_research.results.merge import Entry, finished_entries, tidy_rows
from sae_research.results.report_layers import layers_section
from sae_research.results.report_opening import opening
from sae_research.results.report_settings import saes_section, settings_section
from sae_research.results.report_tables import eval_tables, leading_marks, main_table, missing_section
from sae_research.results.rows import Row
from sae_research.results.variant_controls import variants_section, with_differences


def report_text(
    entries: Sequence[Entry],
    rows: Sequence[Row],
    pairs: Comparisons | None = None,
    audits: Sequence[ColumnAudit] = (),
    health: str = "",
    devices: Sequence[DeviceKind] = (),
) -> str:
    """The report in Markdown, with the section on `health`; the same results give the same bytes.

    `devices` are the kinds of device that computed them, where there are several.
    """
    pairs = pairs or compare_columns(())
    contenders, signs = contenders_of(rows), column_signs(audits)
    marks = leading_marks(rows, contenders, pairs)
    sections = [
        opening(entries, rows, audits, contenders, pairs),
        main_table(rows, contenders, marks, signs),
        layers_section(rows),
        variants_section(rows, pairs),
        health,
        *eval_tables(rows, "computed", "Results", marks, signs),
        *eval_tables(rows, "published", "Published results", marks, {}),
        audit_section(rows, audits),
        comparison_section(rows, contenders, pairs),
        missing_section(rows, NOT_FOR_TOKENS),
        _pictures(rows),
        saes_section(entries),
        settings_section(entries),
        devices_section(devices),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def report_of_folder(results: Path, published: Path | None = None, health: HealthSettings | None = None) -> str:
    """The report on the evals whose stages have run, of which `results` is the folder `eval_results`.

    `health` are the thresholds of the health report.
    """
    entries = finished_entries(results, published)
    rows, comparisons, limits = tidy_rows(entries), compare_saes(entries), health or HealthSettings()
    section = health_section(assess(entries, limits), limits)
    return report_text(entries, with_differences(rows, comparisons), comparisons, audit_columns(entries, rows), section)


def _pictures(rows: Sequence[Row]) -> str:
    links = [f"- [{figure.caption}](images/{figure.name}.png)" for figure in planned_figures(rows)]
    return "## Pictures\n\n" + ("\n".join(links) if links else "None: nothing was measured.")
