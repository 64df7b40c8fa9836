"""The audit for readers: a table with a line per headline column, and the signs that mark columns elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sae_research.errors import UserError
from sae_research.results.audit import ColumnAudit, audit_columns
from sae_research.results.markdown import ARROWS, column_title, table
from sae_research.results.merge import finished_entries, tidy_rows
from sae_research.results.numbers import shown
from sae_research.results.panels import BANDS, TRAINED, with_controls
from sae_research.results.rows import Row, interpolation
from sae_research.results.summary import headline_columns
from sae_research.results.verdicts import MEANINGS, SIGNS, as_list


def audit_of_folder(results: Path, controls: Sequence[str] = ()) -> str:
    """The section for a finished run, of which `results` is the folder `eval_results`.

    `controls` are SAEs to count as controls beside those that the results mark as such.
    """
    entries = finished_entries(results)
    rows = with_controls(tidy_rows(entries), controls)
    section = audit_section(rows, audit_columns(entries, rows))
    if not section:
        evals = ", ".join(dict.fromkeys(entry.eval_name for entry in entries))
        raise UserError(f"{results}: every cell of {evals} failed, so that there is nothing to audit")
    return section + "\n"


def audit_section(rows: Sequence[Row], audits: Sequence[ColumnAudit]) -> str:
    """The verdict on every headline column over the trained SAEs; empty where nothing was measured."""
    examples = headline_columns([row for row in rows if row.source == "computed"])
    lines = [audit for audit in audits if audit.panel == TRAINED and audit.headline and audit.column in examples]
    if not lines:
        return ""
    bands = {audit.panel: audit.saes for audit in audits if audit.panel.startswith(BANDS)}
    matched = {(audit.panel, audit.eval, audit.column): _number(audit.reliability, 2) for audit in audits}
    header = ["eval", "metric", "verdict", "reliability", "smallest difference", "pairs told apart", "order of halves"]
    header += ["near the best", "ranks due to L0", "closest control", *(["at matched L0"] if bands else [])]
    cells = []
    for audit in lines:
        title = f"{column_title(examples[audit.column])}{ARROWS.get(audit.direction, '')}"
        by_band = ", ".join(matched[band, audit.eval, audit.column] for band in bands)
        cells.append([audit.eval, title, *_cells(audit), *([by_band] if bands else [])])
    sections = [
        "## Which numbers to trust",
        _introduction(rows, lines),
        table(header, cells, numbers_from=len(header)),
        _legend(lines),
        _column_meanings(bands),
    ]
    return "\n\n".join(sections)


def column_signs(audits: Sequence[ColumnAudit]) -> Mapping[tuple[str, str], str]:
    """The signs of every verdict but `usable` on the trained SAEs, by eval and column."""
    return {
        (audit.eval, audit.column): "".join(SIGNS.get(verdict, "") for verdict in as_list(audit.verdicts))
        for audit in audits
        if audit.panel == TRAINED
    }


def _cells(audit: ColumnAudit) -> list[str]:
    verdicts = ", ".join(f"{verdict} {SIGNS.get(verdict, '')}".strip() for verdict in as_list(audit.verdicts))
    if audit.reason is not None:
        return [f"{verdicts}: {audit.reason}", *["–"] * 7]
    return [
        verdicts,
        _with_interval(audit.reliability, audit.reliability_low, audit.reliability_high),
        _number(audit.minimum_difference),
        _percent(audit.pairs_told_apart),
        _number(audit.tau_halves, 2),
        _percent(audit.ceiling_share),
        _percent(audit.l0_share),
        _control(audit),
    ]


def _control(audit: ColumnAudit) -> str:
    if audit.closest_control is None:
        return "–"
    margin = _with_interval(audit.control_margin, audit.control_margin_low, audit.control_margin_high)
    above = _percent(audit.told_above_control)
    return f"`{audit.closest_control}`: margin {margin} (`{audit.closest_sae}`), {above} above all of theirs"


def _with_interval(value: float | None, low: float | None, high: float | None) -> str:
    return f"{_number(value)} [{_number(low)}, {_number(high)}]"


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else shown(value, digits)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %"


def _introduction(rows: Sequence[Row], lines: Sequence[ColumnAudit]) -> str:
    controls = list(dict.fromkeys(f"`{row.sae}`" for row in rows if row.control and row.source == "computed"))
    if controls:
        about_controls = f"Controls, which learned nothing that a metric should reward, are {', '.join(controls)}."
    else:
        about_controls = (
            "No SAE is a control (`control: true` in `comparison_saes`): what one that learned nothing scores is open."
        )
    interpolating = any(interpolation(row.interpolates) == "most" for row in rows if row.source == "computed")
    left_out = " SAEs marked † are left out." if interpolating else ""
    repeated = list(dict.fromkeys(f"`{audit.eval}`" for audit in lines if audit.draws == "seeds"))
    seeds = f" In {', '.join(repeated)} it is what differs between seeds, training texts included." if repeated else ""
    return (
        f"Each verdict speaks of the {max(audit.saes for audit in lines)} trained SAEs of this run, whatever their L0. "
        f"{about_controls}{left_out}\n\n"
        "Noise is what differs between groups of the same test units (sequences, texts, words, entities), so that what "
        f"is hard for every SAE cancels.{seeds} Other training texts, or SAEs trained with another seed, would add "
        "noise that is not counted here. `eval_results/merged/audit.csv` has every column and panel, `docs/metrics.md` "
        "the formulas."
    )


def _legend(lines: Sequence[ColumnAudit]) -> str:
    present = {verdict for audit in lines for verdict in as_list(audit.verdicts)}
    return "\n".join(
        f"- {f'{SIGNS[verdict]} ' if verdict in SIGNS else ''}*{verdict}*: {meaning}."
        for verdict, meaning in MEANINGS.items()
        if verdict in present
    )


def _column_meanings(bands: Mapping[str, int]) -> str:
    meanings = [
        "*Reliability*: the share of the variance between the SAEs' scores that is not noise.",
        "*Smallest difference*: of two SAEs chosen beforehand, called different at 5 %.",
        "*Pairs told apart*: at a false discovery rate of 5 %.",
        "*Order of halves*: Kendall's τ between the orders by random halves of the test units.",
        "*Near the best*: the other SAEs within the smallest difference of the best.",
        "*Ranks due to L0*: the share of their variance that a quadratic in log L0 explains.",
        "*Closest control*: the smallest advantage of an SAE over a control, and how many SAEs are told apart "
        "from every control and better. A variant's own controls are held against that variant alone.",
    ]
    if bands:
        listed = ", ".join(f"{band} ({saes} SAEs)" for band, saes in bands.items())
        meanings.append(f"*At matched L0*: the reliability within {listed}.")
    return " ".join(meanings)
