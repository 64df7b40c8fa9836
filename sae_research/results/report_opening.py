"""The report's first half page: what was measured, what holds, what cannot be told apart, what not to use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from sae_research.results.audit import ColumnAudit
from sae_research.results.baselines import out_of_reach
from sae_research.results.comparisons import Comparisons
from sae_research.results.figures import planned_figures
from sae_research.results.leaders import Contenders, Leaders, leaders_of, main_columns
from sae_research.results.markdown import ARROWS, code, column_title, listed, plain
from sae_research.results.merge import Entry
from sae_research.results.numbers import shown
from sae_research.results.outliers import OF_SQUARES, outlier_warnings
from sae_research.results.panels import TRAINED
from sae_research.results.rows import Row
from sae_research.results.sites import sites_of
from sae_research.results.summary import by_sae, headline_columns
from sae_research.results.verdicts import SIGNS, Verdict, as_list

_MANY = 4
"""SAEs that are listed by name; of more, the number is given."""
_OF_COLUMN: Mapping[Verdict, str] = {
    "do not use to tell these SAEs apart": "the SAEs differ no more than noise would make them",
    "fails a control": "not every trained SAE is above the controls; in brackets, the share that is",
    "reads L0": "the order of the SAEs is mostly that of their L0, so compare at matched L0",
    "at the ceiling": "half of the SAEs or more are as good as the best",
    "not tested": "too few SAEs, or no replicates",
    "large differences only": "believe large differences only",
}
"""What speaks against a column, the gravest first."""


def opening(
    entries: Sequence[Entry],
    rows: Sequence[Row],
    audits: Sequence[ColumnAudit],
    contenders: Contenders,
    pairs: Comparisons,
) -> str:
    """Half a page for whoever reads nothing else."""
    verdicts = {(a.eval, a.column): as_list(a.verdicts) for a in audits if a.panel == TRAINED}
    sections = [
        "# Measured sparse autoencoders",
        _measured(entries, rows),
        *_findings(rows, contenders, pairs, verdicts),
        *_alike(rows, contenders, pairs),
        *_not_to_use(rows, audits),
        *_figures(rows, audits),
        "Written by the stage `process_results` from `eval_results/`; edits are overwritten.",
    ]
    return "\n\n".join(sections)


def _measured(entries: Sequence[Entry], rows: Sequence[Row]) -> str:
    computed = [row for row in rows if row.source == "computed"]
    groups = by_sae(computed).values()
    controls = sum(group[0].control for group in groups)
    evals = list(dict.fromkeys(row.eval for row in rows))
    parts = [entry.result.key_parts for entry in entries if entry.result is not None and entry.source == "computed"]
    models = list(dict.fromkeys(code((p.get("model") or {}).get("name") or "?") for p in parts))
    sites = [code(site) for site in sites_of(computed)]
    tokens = {row.value for row in computed if row.metric == "total_tokens_eval_sparsity_variance" and row.value}
    text = f"**What was measured.** {len(groups)} SAEs"
    text += f", {controls} of them controls that learned nothing a metric should reward," if controls else ""
    text += f" at {listed(sites)} of {listed(models)}" if sites and models else ""
    if len(sites) > 1:
        text += " (what holds over all speaks of all sites together; tables mark the best of each)"
    published = len(by_sae([row for row in rows if row.source == "published"]))
    text += f", and {published} published ones" if published else ""
    text += f", evals: {', '.join(evals) or 'none'}."
    datasets: dict[str, list[str]] = {}
    for entry in entries:
        if entry.result is not None and entry.source == "computed":
            names = datasets.setdefault(entry.eval_name, [])
            names += [name for name in entry.result.key_parts.get("data") or {} if name not in names]
    used = [f"{name} reads {listed([code(d) for d in data])}" for name, data in datasets.items() if data]
    if tokens and used:
        used[0] += f" ({shown(max(tokens))} tokens)"
    return f"{text} {'; '.join(used)}." if used else text


def _findings(
    rows: Sequence[Row], contenders: Contenders, pairs: Comparisons, verdicts: dict[tuple[str, str], Sequence[Verdict]]
) -> Iterator[str]:
    """A line per main column that has something to say."""
    values = {(row.sae, row.column): row.value for row in rows if row.source == "computed"}
    controls = {row.sae: row.control_for for row in rows if row.control and row.source == "computed"}
    lines = []
    headline = [row for row in rows if row.headline]
    for column, example in main_columns(rows).items():
        doubts = verdicts.get((example.eval, column), ())
        short_of_baseline = out_of_reach(rows, example, pairs)
        sentences = [short_of_baseline] if short_of_baseline else []
        told_apart = "do not use to tell these SAEs apart" not in doubts
        overall = leaders_of(headline, column, contenders.everywhere, pairs) if told_apart else None
        beaten = overall is not None and _beats(overall.saes[0], controls, example, pairs)
        if overall is not None and beaten:
            text = _overall(overall, values[overall.saes[0], column], reads_l0="reads L0" in doubts)
            sentences.append(f"Best of them: {text}" if short_of_baseline else text)
        elif overall is not None:
            text = f"{code(overall.saes[0])} is ahead of {overall.behind} SAEs but not of every control"
            sentences.append(f"Of them {text}" if short_of_baseline else text)
        bands = contenders.bands if told_apart else {}
        of_bands = {name: leaders_of(headline, column, saes, pairs) for name, saes in bands.items()}
        at_l0 = [f"{_names(best.saes)} (L0 {name})" for name, best in of_bands.items() if best is not None]
        if at_l0:
            sentences.append(f"{'At' if sentences else 'at'} matched L0: {'; '.join(at_l0)}")
        if sentences:
            title = f"*{plain(column_title(example))}*{ARROWS.get(example.direction, '')}"
            lines.append(f"- {title}: {'. '.join(sentences)}.")
    if lines:
        yield (
            "**Findings that hold.** Who is best, and how far behind the nearest SAE is that can be told apart from "
            "it; the intervals are corrected for the comparisons of all headline columns (Benjamini & Hochberg). They "
            "speak of these SAEs: the same recipe with another training seed or language model may differ by more.\n\n"
            + "\n".join(lines)
        )


def _overall(leaders: Leaders, value: float | None, *, reads_l0: bool) -> str:
    best, *ties = leaders.saes
    pair = leaders.nearest
    other = pair.sae_b if pair.sae_a == best else pair.sae_a
    size, low, high = leaders.lead
    text = f"{code(best)} ({shown(value or 0.0)})"
    text += f", indistinguishable from {_names(ties)}" if ties else ""
    text += f"; {code(other)} is {shown(size, 3)} [{shown(low, 3)}, {shown(high, 3)}] behind"
    return text + (", which may be its L0" if reads_l0 else "")


def _beats(sae: str, controls: Mapping[str, str | None], example: Row, pairs: Comparisons) -> bool:
    """Whether the SAE is told apart from every control that it is held against, and better."""
    held_against = [control for control, variant in controls.items() if variant in (None, sae)]
    against = [pairs.get((example.eval, example.column or "", sae, control)) for control in held_against]
    # A control without a number has no pair.
    return all(bool(p.distinguishable_adjusted) and p.better == sae for p in against if p is not None)


def _names(saes: Sequence[str]) -> str:
    return f"{len(saes)} SAEs" if len(saes) > _MANY else listed([code(sae) for sae in saes])


def _alike(rows: Sequence[Row], contenders: Contenders, pairs: Comparisons) -> Iterator[str]:
    """The share of pairs that are told apart, by column, and the pairs that no main column tells apart."""
    columns = main_columns(rows)
    told: dict[str, list[bool]] = {}
    by_pair: dict[tuple[str, str], list[bool]] = {}
    for pair in pairs.of_columns(columns):
        if {pair.sae_a, pair.sae_b} <= contenders.everywhere:
            apart = bool(pair.distinguishable_adjusted)
            told.setdefault(pair.column, []).append(apart)
            by_pair.setdefault((pair.sae_a, pair.sae_b), []).append(apart)
    if not told:
        return
    shares = sorted((sum(apart) / len(apart), column) for column, apart in told.items())
    each = ", ".join(
        f"{plain(column_title(columns[column], unit=False))} {100 * share:.0f} %" for share, column in shares
    )
    text = f"**What cannot be told apart.** Of the pairs of trained SAEs, each column tells this share apart: {each}."
    never = [f"{code(a)} and {code(b)}" for (a, b), apart in by_pair.items() if not any(apart)]
    if never and len(never) <= _MANY:
        text += f" None of them tells {', or '.join(never)} apart."
    elif never:
        text += f" {len(never)} of {len(by_pair)} pairs are told apart by none of them."
    yield text


def _not_to_use(rows: Sequence[Row], audits: Sequence[ColumnAudit]) -> Iterator[str]:
    """The columns that something speaks against, by verdict; each stands where the gravest one is."""
    columns = headline_columns([row for row in rows if row.source == "computed"])
    left = [a for a in audits if a.panel == TRAINED and a.column in columns and as_list(a.verdicts) != ["usable"]]
    outliers = outlier_warnings(rows)
    lines = [f"- ! {warning}" for warning in outliers]
    for verdict, why in _OF_COLUMN.items():
        against = [audit for audit in left if verdict in as_list(audit.verdicts)]
        left = [audit for audit in left if audit not in against]
        if against:
            lines.append(f"- {SIGNS[verdict]} {why[:1].upper()}{why[1:]}: {_grouped(against, columns)}.")
    if lines:
        yield "**Which columns not to use, or only with care.**\n\n" + "\n".join(lines)
    usable = [a for a in audits if a.panel == TRAINED and a.column in columns and as_list(a.verdicts) == ["usable"]]
    usable = [a for a in usable if not (outliers and a.metric in OF_SQUARES)]
    if usable:
        yield f"Nothing speaks against {_grouped(usable, columns)}."


def _grouped(audits: Sequence[ColumnAudit], columns: Mapping[str, Row]) -> str:
    """The titles of columns, those of one metric together; where a control is failed, how many SAEs are above it."""
    places: dict[str, list[str]] = {}
    for audit in audits:
        row = columns[audit.column]
        at = ", ".join(f"{key} = {value}" for key, value in row.place.items())
        failed = "fails a control" in as_list(audit.verdicts) and audit.told_above_control is not None
        above = f"{100 * (audit.told_above_control or 0):.0f} %" if failed else ""
        places.setdefault(row.title or str(row.metric), []).append(": ".join(text for text in (at, above) if text))
    return ", ".join(f"*{plain(title)}*" + (f" ({', '.join(at)})" if any(at) else "") for title, at in places.items())


def _figures(rows: Sequence[Row], audits: Sequence[ColumnAudit]) -> Iterator[str]:
    """The overview, and the column that tells SAEs apart best among those that nothing speaks against."""
    if not any(row.value is not None for row in rows):
        return
    yield "![Main metrics against L0](docs/figures/overview.png)"
    usable = [a for a in audits if a.panel == TRAINED and a.headline and as_list(a.verdicts) == ["usable"]]
    drawn = {(f.eval, f.metric): f for f in planned_figures(rows) if f.kind == "metric"}
    telling = sorted((a for a in usable if (a.eval, a.metric) in drawn), key=lambda a: -(a.signal_to_noise or 0.0))
    for audit in telling[:1]:
        figure = drawn[audit.eval, audit.metric]
        yield f"![{plain(figure.caption)}](images/{figure.name}.png)"
