"""METRICS.md: settings, SAEs, results with intervals, what failed, where the pictures are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sae_research.measurements import NOT_FOR_TOKENS
from sae_research.results.audit import ColumnAudit
from sae_research.results.audit_report import audit_section, column_signs
from sae_research.results.comparison_report import comparison_section
from sae_research.results.comparisons import Comparison
from sae_research.results.figures import planned_figures
from sae_research.results.markdown import ARROWS, column_title, table
from sae_research.results.merge import Entry
from sae_research.results.numbers import shown
from sae_research.results.references import references
from sae_research.results.rows import Row, Source, card_label, interpolation
from sae_research.results.summary import best_value, by_sae, headline_columns

_MARKS = {"most": " †", "some": " ‡"}


def report_text(
    entries: Sequence[Entry],
    rows: Sequence[Row],
    comparisons: Sequence[Comparison] = (),
    audits: Sequence[ColumnAudit] = (),
) -> str:
    """The report in Markdown; the same results give the same bytes."""
    sections = [
        _head(rows),
        audit_section(rows, audits),
        *_results(rows, "computed", "Results", column_signs(audits)),
        *_results(rows, "published", "Published results", {}),
        _notes(rows),
        comparison_section(rows, comparisons),
        _missing(rows),
        _pictures(rows),
        _saes(entries),
        _settings(entries),
        _versions(entries),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _head(rows: Sequence[Row]) -> str:
    computed = by_sae([row for row in rows if row.source == "computed"])
    published = by_sae([row for row in rows if row.source == "published"])
    evals = list(dict.fromkeys(row.eval for row in rows))
    counted = f"{len(computed)} SAEs" + (f" and {len(published)} published ones" if published else "")
    return (
        "# Measured sparse autoencoders\n\n"
        f"{counted}, evals: {', '.join(evals) or 'none'}. "
        "Written by the stage `process_results` from `eval_results/`; edits are overwritten."
    )


def _results(rows: Sequence[Row], source: Source, title: str, signs: Mapping[tuple[str, str], str]) -> Iterator[str]:
    chosen = [row for row in rows if row.source == source]
    evals = list(dict.fromkeys(row.eval for row in chosen if row.metric is not None))
    if evals:
        yield f"## {title}"
    for name in evals:
        yield _eval_section(name, [row for row in chosen if row.eval == name], signs)


def _eval_section(name: str, rows: Sequence[Row], signs: Mapping[tuple[str, str], str]) -> str:
    """A line per SAE, by label and L0 (those without come last), then the model's own numbers."""
    columns = headline_columns(rows)
    header = ["SAE", "architecture", "d_sae", "L0"]
    header += [
        f"{column_title(row)}{ARROWS.get(row.direction, '')} {signs.get((name, column), '')}".rstrip()
        for column, row in columns.items()
    ]
    best = {column: best_value([row for row in rows if row.column == column]) for column in columns}
    groups = sorted(by_sae(rows).values(), key=lambda g: (g[0].label, g[0].l0 is None, g[0].l0 or 0.0, g[0].sae))
    lines = [_sae_line(group, columns, best) for group in groups]
    reference = _reference_line(rows, columns)
    lines += [reference] if reference else []
    return f"### {name}\n\n" + table(header, lines, numbers_from=2)


def _sae_line(group: Sequence[Row], columns: Iterable[str], best: Mapping[str, float | None]) -> list[str]:
    first = group[0]
    by_column = {row.column: row for row in group}
    failed = any(row.metric is None for row in group)
    name = f"`{first.sae}`{_MARKS.get(interpolation(first.interpolates), '')}{' (failed)' if failed else ''}"
    line = [name, first.label, *("–" if number is None else shown(number) for number in (first.d_sae, first.l0))]
    return line + [_value(by_column.get(column), best[column]) for column in columns]


def _value(row: Row | None, best: float | None) -> str:
    if row is None or row.value is None:
        return "–"
    text = shown(row.value)
    text = f"**{text}**" if row.value == best and interpolation(row.interpolates) != "most" else text
    if row.ci_low is None or row.ci_high is None:
        return text
    return f"{text} [{shown(row.ci_low)}, {shown(row.ci_high)}]"


def _reference_line(rows: Sequence[Row], columns: Mapping[str, Row]) -> list[str] | None:
    """The model's own numbers, where the metrics have such a reference and all SAEs agree on it."""
    cells = []
    for example in columns.values():
        levels = []
        for metric in references().get(example.metric or "", ()):
            places = {"{}", example.at}
            values = {shown(r.value) for r in rows if r.metric == metric and r.at in places and r.value}
            if len(values) == 1:
                levels.append(f"{values.pop()} ({'k best' if '_k_' in metric else 'all channels'})")
        cells.append(", ".join(levels) or "–")
    return ["*language model*", "–", "–", "–", *cells] if any(cell != "–" for cell in cells) else None


def _notes(rows: Sequence[Row]) -> str:
    notes = [
        "↑ higher is better, ↓ lower is better; **bold**: the best of its column, at whatever L0. "
        "In brackets: 95 % intervals. Signs after an arrow are verdicts, explained under *Which numbers to trust*. "
        "L0 is the mean number of latents with a code other than 0 per token."
    ]
    shares = {row.identity: row for row in rows if interpolation(row.interpolates) in _MARKS}
    if shares:
        listed = ", ".join(f"`{row.sae}` {100 * (row.interpolates or 0):.3g} %" for row in shares.values())
        notes.append(
            "† ‡ The support of a sequence has d_in latents or more, so that least squares interpolates: there "
            "reconstruction is exact whatever the dictionary learned, and its metrics mean nothing. "
            f"† on most sequences (never called best), ‡ on some. Share of sequences: {listed}."
        )
    return "## Notes\n\n" + "\n\n".join(notes)


def _missing(rows: Sequence[Row]) -> str:
    """Failed cells and single missing numbers, each with its reason."""
    failed = [[f"`{row.sae}`", row.eval, row.reason or ""] for row in rows if row.metric is None]
    text = "## Failed and missing\n\n"
    text += table(["SAE", "eval", "reason"], failed, numbers_from=3) if failed else "No cell failed."
    gaps: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        if row.metric is not None and row.value is None and row.column is not None:
            gaps.setdefault((row.eval, row.column, row.reason or ""), []).append(f"`{row.sae}`")
    inapplicable = [f"`{column}` ({name}): {why}." for name, column, why in gaps if why == NOT_FOR_TOKENS]
    lines = [
        [name, f"`{column}`", why, ", ".join(saes)]
        for (name, column, why), saes in gaps.items()
        if why != NOT_FOR_TOKENS
    ]
    listed = [table(["eval", "missing", "reason", "SAEs"], lines, numbers_from=4)] if lines else []
    return "\n\n".join([text, *listed, *inapplicable])


def _pictures(rows: Sequence[Row]) -> str:
    links = [f"- [{figure.caption}](images/{figure.name}.png)" for figure in planned_figures(rows)]
    return "## Pictures\n\n" + ("\n".join(links) if links else "None: nothing was measured.")


def _saes(entries: Sequence[Entry]) -> str:
    cards = {(e.source, e.sae_name): e.result.sae for e in entries if e.result is not None}
    header = ["SAE", "architecture", "site", "d_in", "d_sae", "hyperparameters", "from", "digest"]
    lines = [_card_line(name, card) for (_, name), card in cards.items()]
    return "## SAEs\n\n" + table(header, lines, numbers_from=8) if lines else ""


def _card_line(name: str, card: Mapping[str, Any]) -> list[str]:
    hyper = ", ".join(f"{key} = {_plain(value)}" for key, value in sorted((card.get("hyperparameters") or {}).items()))
    origin = [
        f"{key} {_plain(value)}" for key, value in sorted((card.get("source") or {}).items()) if value is not None
    ]
    kind, label = card.get("architecture") or "–", card_label(card)
    numbers = [str(card.get(key) or "–") for key in ("hook_name", "d_in", "d_sae")]
    called = f"{label} ({kind})" if "label" in card and label != kind else kind
    return [f"`{name}`", called, *numbers, hyper or "–", ", ".join(origin) or "–", str(card.get("digest") or "–")[:12]]


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)


def _settings(entries: Sequence[Entry]) -> str:
    """The settings by eval; where the cells of an eval differ, every value."""
    lines: dict[tuple[str, str], list[str]] = {}
    for entry in entries:
        if entry.result is None or entry.source != "computed":
            continue
        parts = entry.result.key_parts
        chosen = {f"model.{k}": v for k, v in (parts.get("model") or {}).items()}
        chosen |= {f"data {k}": v for k, v in (parts.get("data") or {}).items()}
        chosen |= {"engine": parts.get("engine"), "seed": parts.get("seed"), **entry.result.settings}
        for name, value in chosen.items():
            values = lines.setdefault((entry.eval_name, name), [])
            if _plain(value) not in values:
                values.append(_plain(value))
    table_lines = [[eval_name, f"`{name}`", " / ".join(values)] for (eval_name, name), values in lines.items()]
    return "## Settings\n\n" + table(["eval", "setting", "value"], table_lines, numbers_from=3) if lines else ""


def _versions(entries: Sequence[Entry]) -> str:
    versions: dict[str, set[str]] = {}
    for entry in entries:
        if entry.result is not None and entry.source == "computed":
            for name, version in entry.result.versions.items():
                versions.setdefault(name, set()).add(version)
    listed = [f"{name} {' / '.join(sorted(several))}" for name, several in sorted(versions.items())]
    return "## Versions\n\n" + ", ".join(listed) + "." if listed else ""
