"""The report's tables of results: the main columns side by side, then every eval with its intervals."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from sae_research.evals.registry import all_evals
from sae_research.results.baselines import baseline_lines, baseline_rows
from sae_research.results.comparisons import Comparisons
from sae_research.results.leaders import Contenders, leaders_of, main_columns
from sae_research.results.markdown import ARROWS, code, column_title, plain, table
from sae_research.results.numbers import shown
from sae_research.results.panels import wide_supports
from sae_research.results.references import references
from sae_research.results.rows import Row, Source, interpolation
from sae_research.results.sites import at_site, sites_of
from sae_research.results.summary import by_sae, headline_columns

_INTERPOLATES = {"most": "†", "some": "‡"}
_WIDE = "§"
Signs = Mapping[tuple[str, str], str]
"""Of the audit's verdicts, by eval and column."""


class Marks(NamedTuple):
    """The SAEs that lead each column among those of their site."""

    everywhere: Mapping[str, Collection[str]]
    at_matched_l0: Mapping[str, Collection[str]]

    def on(self, text: str, row: Row) -> str:
        """`text` in bold if the row's SAE leads at its site, in italics if it leads at its L0."""
        if row.source != "computed":
            return text
        leads = row.sae in self.everywhere.get(row.column or "", ())
        leads_its_band = row.sae in self.at_matched_l0.get(row.column or "", ())
        stars = "*" * (2 * leads + leads_its_band)
        return f"{stars}{text}{stars}"


def leading_marks(rows: Sequence[Row], contenders: Contenders, pairs: Comparisons) -> Marks:
    """Those of all headline columns."""
    everywhere, at_matched_l0 = {}, {}
    rows = [row for row in rows if row.headline and row.source == "computed"]
    of_sites = [contenders.everywhere.intersection(row.sae for row in at_site(rows, site)) for site in sites_of(rows)]
    for column in headline_columns(rows):
        of_each = [leaders_of(rows, column, saes, pairs) for saes in of_sites or [contenders.everywhere]]
        everywhere[column] = [sae for leaders in of_each if leaders for sae in leaders.saes]
        of_bands = [leaders_of(rows, column, saes, pairs) for saes in contenders.bands.values()]
        at_matched_l0[column] = [sae for leaders in of_bands if leaders for sae in leaders.saes]
    return Marks(everywhere, at_matched_l0)


def main_table(rows: Sequence[Row], contenders: Contenders, marks: Marks, signs: Signs) -> str:
    """One line per SAE that was computed, by L0, the controls last; values only."""
    computed = [row for row in rows if row.source == "computed"]
    columns = main_columns(computed)
    if not columns:
        return ""
    sites = sites_of(computed)
    lines = _sae_lines(computed, computed, list(columns), marks, by="l0", intervals=False, sites=sites)
    header = [*_about(sites), *(_title(row, signs) for row in columns.values())]
    bands = f" Bands of matched L0: {', '.join(contenders.bands)}." if contenders.bands else ""
    order, whole = ("site and L0", "of its site") if len(sites) > 1 else ("L0", "over all")
    reading = (
        f"SAEs by {order}, controls last. **Bold**: the best trained SAE {whole}, together with every SAE that cannot "
        f"be told apart from it; *italics*: the same among SAEs of matched L0 (within a factor of 1.5).{bands} Where "
        "all are alike, nothing is marked. Intervals are in the tables by eval; signs after an arrow are verdicts on "
        "the column ([*Which numbers to trust*](#which-numbers-to-trust))."
    )
    text_columns = len(_about(sites)) - 2
    return "\n\n".join(["## Main columns", table(header, lines, numbers_from=text_columns), reading, *_notes(computed)])


def eval_tables(rows: Sequence[Row], source: Source, title: str, marks: Marks, signs: Signs) -> Iterator[str]:
    """A section per eval: a line per SAE, then baselines, then the model's own numbers."""
    chosen = [row for row in rows if row.source == source]
    left_out = {evaluated.name: evaluated.not_in_intervals for evaluated in all_evals()}
    evals = list(dict.fromkeys(row.eval for row in chosen if row.metric is not None))
    if evals:
        yield f"## {title}"
    for name in evals:
        of_eval = [row for row in chosen if row.eval == name]
        columns, sites = headline_columns(of_eval), sites_of(chosen)
        lines = _sae_lines(of_eval, rows, list(columns), marks, by="label", intervals=True, sites=sites)
        lines += _baseline_lines(of_eval, columns, sites)
        reference = _reference_line(of_eval, columns, sites)
        lines += [reference] if reference else []
        header = [*_about(sites), *(_title(row, signs) for row in columns.values())]
        more = f"; nor {left_out[name]}" if left_out.get(name) else ""
        caveat = (
            f"95 % intervals in brackets. They do not cover the SAE's training seed or another language model{more}."
        )
        parts = [caveat, *_sizes(of_eval), table(header, lines, numbers_from=len(_about(sites)) - 2)]
        yield f"### {name}\n\n" + "\n\n".join(parts)


def _about(sites: Sequence[str]) -> list[str]:
    """The header of what is said of every SAE; its site where there are several."""
    return ["SAE", *(["site"] if len(sites) > 1 else []), "architecture", "d_sae", "L0"]


def _title(row: Row, signs: Signs) -> str:
    sign = signs.get((row.eval, row.column or ""), "") if row.source == "computed" else ""
    return f"{column_title(row)}{ARROWS.get(row.direction, '')} {sign}".rstrip()


def _sae_lines(
    rows: Sequence[Row],
    every_row: Sequence[Row],
    columns: Sequence[str],
    marks: Marks,
    *,
    by: Literal["l0", "label"],
    intervals: bool,
    sites: Sequence[str],
) -> list[list[str]]:
    """Trained SAEs by site, then a line that announces the controls, then these."""
    wide = wide_supports(every_row)

    def place(group: Sequence[Row]) -> tuple[object, ...]:
        first = group[0]
        l0 = (first.l0 is None, first.l0 or 0.0)
        site = sites.index(first.hook_name) if first.hook_name in sites else len(sites)
        return (first.control, site, *((l0, first.label) if by == "l0" else (first.label, l0)), first.sae)

    lines: list[list[str]] = []
    announced = False
    for group in sorted(by_sae(rows).values(), key=place):
        first, of_column = group[0], {row.column: row for row in group}
        if first.control and not announced:
            lines.append(["*controls*", *[""] * (len(columns) + len(_about(sites)) - 1)])
            announced = True
        sign = _INTERPOLATES.get(interpolation(first.interpolates)) or (_WIDE if first.sae in wide else "")
        failed = " (failed)" if any(row.metric is None for row in group) else ""
        about = [f"{code(first.sae)} {sign}".rstrip() + failed]
        about += [code(first.hook_name) if first.hook_name else "–"] if len(sites) > 1 else []
        about += [first.label]
        about += ["–" if number is None else shown(number) for number in (first.d_sae, first.l0)]
        lines.append(about + [_value(of_column.get(column), marks, intervals=intervals) for column in columns])
    return lines


def _value(row: Row | None, marks: Marks, *, intervals: bool) -> str:
    if row is None or row.value is None:
        return "–"
    text = marks.on(shown(row.value), row)
    return _with_interval(row, text) if intervals else text


def _with_interval(row: Row | None, text: str | None = None) -> str:
    """The row's number, or the `text` for it, and its interval."""
    if row is None or row.value is None:
        return "–"
    text = text or shown(row.value)
    return text if row.ci_low is None or row.ci_high is None else f"{text} [{shown(row.ci_low)}, {shown(row.ci_high)}]"


def _baseline_lines(rows: Sequence[Row], columns: Mapping[str, Row], sites: Sequence[str]) -> list[list[str]]:
    """A line that announces the baselines, then these, with their intervals."""
    lines, about = [], len(_about(sites))
    of_columns = [{line.name: line.row for line in baseline_rows(rows, example)} for example in columns.values()]
    for baseline in baseline_lines(rows, columns):
        values = [_with_interval(numbers.get(baseline.name)) for numbers in of_columns]
        site = [code(baseline.row.hook_name or "–")] if len(sites) > 1 else []
        lines.append([code(baseline.name), *site, baseline.title, "–", "–", *values])
    return [["*baselines*", *[""] * (len(columns) + about - 1)], *lines] if lines else []


def _sizes(rows: Sequence[Row]) -> Iterator[str]:
    """What stands behind the numbers, where the eval says so."""
    metrics = [metric for evaluated in all_evals() for metric in evaluated.sizes]
    stated = {}
    for metric in metrics:
        sizes = [row for row in rows if (row.metric, row.at) == (metric, "{}") and row.value is not None]
        numbers = sorted({row.value or 0.0 for row in sizes})
        if numbers:
            stated[sizes[0].title or metric] = " to ".join(dict.fromkeys(shown(n) for n in (numbers[0], numbers[-1])))
    if stated:
        yield f"What a number rests on: {', '.join(f'{plain(title)} {size}' for title, size in stated.items())}."


def _reference_line(rows: Sequence[Row], columns: Mapping[str, Row], sites: Sequence[str]) -> list[str] | None:
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
    about = ["–"] * (len(_about(sites)) - 1)
    return ["*language model*", *about, *cells] if any(cell != "–" for cell in cells) else None


def _notes(rows: Sequence[Row]) -> Iterator[str]:
    """The signs on SAEs that are there."""
    shares = {row.sae: row.interpolates for row in rows if interpolation(row.interpolates) in _INTERPOLATES}
    if shares:
        each = ", ".join(f"{code(sae)} {100 * (share or 0):.3g} %" for sae, share in shares.items())
        yield (
            "† ‡ On most (†) or some (‡) sequences the support has d_in latents or more. Least squares then "
            "interpolates: reconstruction is exact whatever the dictionary learned. These SAEs never count as best. "
            f"Share of sequences: {each}."
        )
    wide = {sae: share for sae, share in wide_supports(rows).items() if sae not in shares}
    if wide:
        each = ", ".join(f"{code(sae)} {shown(share, 2)}" for sae, share in wide.items())
        yield (
            "§ Chooses latents for a whole sequence, from more than a quarter of d_in: so many latents explain most of "
            f"the text whatever they are. Compare it at matched L0 only. Latents in use per sequence over d_in: {each}."
        )


def missing_section(rows: Sequence[Row], not_applicable: str) -> str:
    """Failed cells and single missing numbers, each with its reason; those for `not_applicable` in one line."""
    failed = [[code(row.sae), row.eval, row.reason or ""] for row in rows if row.metric is None]
    text = "## Failed and missing\n\n"
    text += table(["SAE", "eval", "reason"], failed, numbers_from=3) if failed else "No cell failed."
    gaps: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        if row.metric is not None and row.value is None and row.column is not None:
            gaps.setdefault((row.eval, row.column, row.reason or ""), []).append(code(row.sae))
    inapplicable = [f"{code(column)} ({name}): {plain(why)}." for name, column, why in gaps if why == not_applicable]
    lines = [
        [name, code(column), why, ", ".join(saes)]
        for (name, column, why), saes in gaps.items()
        if why != not_applicable
    ]
    gap_table = [table(["eval", "missing", "reason", "SAEs"], lines, numbers_from=4)] if lines else []
    return "\n\n".join([text, *gap_table, *inapplicable])
