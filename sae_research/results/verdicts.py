"""Verdicts on a metric: what its numbers on these SAEs can be used for. Each rests on one number and one threshold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

Verdict = Literal[
    "usable",
    "large differences only",
    "do not use to tell these SAEs apart",
    "at the ceiling",
    "reads L0",
    "fails a control",
    "not tested",
]

USABLE_FROM = 0.8
"""Of the lower end of the reliability's interval. Three levels of SAEs can then be separated (H), τ of two runs is .59,
and it is the usual demand on measures that compare groups (Nunnally, "Psychometric Theory", 1978)."""
LARGE_DIFFERENCES_FROM = 0.5
"""Of the reliability. Below it more than half of the variance is noise, H is below two and τ of two runs below .33."""
FALSE_DISCOVERIES = 0.05
"""The rate of Benjamini & Hochberg among the columns that are said to have a signal, and the pairs told apart."""
CEILING_FROM = 0.5
"""Of the share of the other SAEs within one minimum detectable difference of the best."""
L0_FROM = 0.7
"""Of the share of the rank variance that a quadratic in log L0 explains. Ranks of eight SAEs that have nothing to do
with L0 reach it in 5 % of cases (F = 5.8 with 2 and 5 degrees of freedom); ranks of more SAEs less often."""
L0_LEAST_SAES = 8
"""SAEs that this share needs: three coefficients fit the ranks of fewer too well."""

SIGNS: Mapping[Verdict, str] = {
    "large differences only": "≈",
    "do not use to tell these SAEs apart": "✗",
    "at the ceiling": "⊤",
    "reads L0": "∝",
    "fails a control": "!",
    "not tested": "?",
}
"""The mark of a column in the tables of results."""

MEANINGS: Mapping[Verdict, str] = {
    "usable": f"the lower end of the reliability is at least {USABLE_FROM}, and nothing below speaks against it. The "
    "column tells these SAEs apart; that it measures what its name says is not shown",
    "large differences only": f"the reliability is at least {LARGE_DIFFERENCES_FROM}, its lower end below "
    f"{USABLE_FROM}: believe differences above the smallest difference",
    "do not use to tell these SAEs apart": f"the reliability is below {LARGE_DIFFERENCES_FROM}, or SAEs without any "
    "difference would differ as much by chance",
    "at the ceiling": f"at least {100 * CEILING_FROM:.0f} % of the other SAEs are within the smallest difference of "
    "the best",
    "reads L0": f"more than {100 * L0_FROM:.0f} % of the variance of the SAEs' ranks is explained by their L0",
    "fails a control": "not every SAE is told apart from every control, and better",
    "not tested": "too few SAEs, or no replicates",
}


class Evidence(NamedTuple):
    """The numbers that verdicts rest on; None where one is not defined."""

    reliability: float
    reliability_low: float
    no_signal_p: float
    """Adjusted over the columns of the panel."""
    ceiling_share: float | None = None
    l0_share: float | None = None
    control_margin_low: float | None = None
    """The lower end of the interval of the smallest advantage that an SAE has over a control."""


def verdicts(evidence: Evidence) -> Sequence[Verdict]:
    """All that hold; `usable` stands alone."""
    return [*_doubts(evidence)] or ["usable"]


def untested(numbers: Mapping[str, Any]) -> Sequence[Verdict]:
    """Those of a column without draws, by the audit's numbers on controls."""
    low = numbers.get("control_margin_low")
    return ["fails a control", "not tested"] if low is not None and low <= 0 else ["not tested"]


def _doubts(evidence: Evidence) -> Iterator[Verdict]:
    tells_apart = evidence.no_signal_p <= FALSE_DISCOVERIES and evidence.reliability >= LARGE_DIFFERENCES_FROM
    if not tells_apart:
        yield "do not use to tell these SAEs apart"
    elif evidence.reliability_low < USABLE_FROM:
        yield "large differences only"
    # Where noise keeps the SAEs within one difference of the best, the first verdict has said so.
    if tells_apart and evidence.ceiling_share is not None and evidence.ceiling_share >= CEILING_FROM:
        yield "at the ceiling"
    if evidence.l0_share is not None and evidence.l0_share > L0_FROM:
        yield "reads L0"
    if evidence.control_margin_low is not None and evidence.control_margin_low <= 0:
        yield "fails a control"


_SEPARATOR = "; "


def as_text(verdicts: Sequence[Verdict]) -> str:
    """The verdicts in one field of a table."""
    return _SEPARATOR.join(verdicts)


def as_list(text: str) -> Sequence[Verdict]:
    """The verdicts in a field that `as_text` wrote."""
    return [verdict for verdict in MEANINGS if verdict in text.split(_SEPARATOR)]
