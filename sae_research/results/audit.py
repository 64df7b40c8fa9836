"""The audit: how far each metric can be trusted on these SAEs, from the replicates that are stored with the results.

All SAEs share the groups of test units, so what is hard for every SAE cancels. Where an eval was repeated with several
seeds, the seeds take the place of the groups: they also cover what else a draw changes. Trained anew, SAEs would differ
more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sae_research.metrics import reliability as stats
from sae_research.results.audit_controls import Draws, Scores, by_draws, by_intervals
from sae_research.results.columns import Column, columns_by_name
from sae_research.results.merge import Entry
from sae_research.results.numbers import rounded
from sae_research.results.panels import CONTROLS, Panel, sae_panels
from sae_research.results.rows import Row
from sae_research.results.verdicts import FALSE_DISCOVERIES, L0_LEAST_SAES, Evidence, as_text, untested, verdicts

LEAST_SAES = 3
"""SAEs that a panel needs: with two, one difference is all there is."""
LEAST_DRAWS = 3
"""Draws that the analysis of variance needs; seeds are used from so many on."""
HALF_SPLITS = 100
"""Random halves of the draws behind `tau_halves`."""
POWER = 0.8


@dataclass(frozen=True)
class ColumnAudit:
    """One column of the table of results on one panel of SAEs; numbers are null where they are not defined."""

    eval: str
    metric: str
    at: str
    column: str
    direction: str
    headline: bool
    panel: str
    """`trained`: all SAEs but controls and those that interpolate. `controls`. `L0 a to b`: trained SAEs at matched
    L0."""
    verdicts: str
    """All that hold, with semicolons between."""
    reason: str | None
    """Why nothing was tested."""
    saes: int
    draws: Draws | None = None
    """What was drawn: groups of test units, or seeds."""
    n_draws: int | None = None
    reliability: float | None = None
    """Of the run's scores: ρ = 1 − MS_e / MS_s."""
    reliability_low: float | None = None
    reliability_high: float | None = None
    no_signal_p: float | None = None
    """Of the F test that the SAEs do not differ, adjusted over the panel's columns (Benjamini & Hochberg)."""
    sigma_s: float | None = None
    """The standard deviation between SAEs, in the metric's unit."""
    sigma_d: float | None = None
    """That of a run, common to all SAEs."""
    sigma_e: float | None = None
    """That of one SAE's score after pairing: the noise."""
    noise_ratio: float | None = None
    """The largest noise of an SAE over the smallest."""
    signal_to_noise: float | None = None
    """σ_s / σ_e."""
    minimum_difference: float | None = None
    """The smallest difference of two SAEs that a paired test at 5 % calls one."""
    minimum_difference_80: float | None = None
    """The true difference that this test detects in 80 % of runs."""
    levels: float | None = None
    """H, the number of levels of SAEs that can be separated."""
    tau_halves: float | None = None
    """Kendall's τ between the orders by random halves of the draws."""
    tau_halves_expected: float | None = None
    """(2/π) asin ρ for the reliability of half of the draws."""
    tau_runs: float | None = None
    """The same for all draws: τ that two whole runs can be expected to have."""
    pairs_told_apart: float | None = None
    """The share of all pairs of SAEs that paired t tests tell apart (false discovery rate 5 %)."""
    ceiling_share: float | None = None
    """The share of the other SAEs within one minimum difference of the best."""
    l0_share: float | None = None
    """The share of the rank variance that a quadratic in log L0 explains."""
    controls: int = 0
    closest_control: str | None = None
    """The control, or baseline, that comes closest to a trained SAE, or passes it."""
    closest_sae: str | None = None
    """That trained SAE."""
    control_margin: float | None = None
    """Its advantage over the control, negative where the control is better."""
    control_margin_low: float | None = None
    control_margin_high: float | None = None
    told_above_control: float | None = None
    """The share of the SAEs that are told apart from every control that they are held against, and better."""


def audit_columns(entries: Sequence[Entry], rows: Sequence[Row]) -> list[ColumnAudit]:
    """Every headline column, and every other that has replicates, on every panel of the SAEs that were computed."""
    panels = sae_panels(rows, at_least=LEAST_SAES)
    l0 = {row.sae: row.l0 for row in rows if row.source == "computed" and row.l0}
    columns = [column for column in columns_by_name(entries).values() if column.spec.headline or _has_draws(column)]
    return [audit for panel in panels for audit in _judged([_audit(column, panel, l0) for column in columns])]


def _has_draws(column: Column) -> bool:
    return bool(column.seeds) or any(m.replicates for m in column.measured.values())


def _audit(column: Column, panel: Panel, l0: Mapping[str, float]) -> ColumnAudit:
    """All numbers, the p value not adjusted yet, and no verdict but `not tested`."""
    about: dict[str, Any] = {
        "eval": column.eval,
        "metric": column.spec.name,
        "at": column.at,
        "column": column.name,
        "direction": column.spec.direction,
        "headline": column.spec.headline,
        "panel": panel.name,
    }
    controls = (*panel.controls, *(sorted(column.least) if panel.name != CONTROLS else ()))
    everything = scores_of(column, (*panel.saes, *controls))
    reason = _too_little(panel, everything)
    if everything is None or reason is not None:
        numbers = by_intervals(column, panel.saes, controls, panel.for_one)
        return ColumnAudit(
            **about, verdicts=as_text(untested(numbers)), reason=reason, saes=len(panel.saes), **_rounded(numbers)
        )
    scores = everything.of(panel.saes)
    squares = stats.mean_squares(scores.table)
    numbers = {**_variances(squares, scores), **_order(squares, scores, l0)}
    if column.spec.direction != "neither":
        sign = 1 if column.spec.direction == "higher" else -1
        least = stats.minimum_difference(squares)
        numbers |= {"ceiling_share": _ceiling_share(sign * scores.values, least)}
        numbers |= by_draws(scores, everything.of(controls), sign, panel.for_one)
    return ColumnAudit(**about, verdicts="", reason=None, saes=len(scores.saes), **_rounded(numbers))


def _rounded(numbers: Mapping[str, Any]) -> dict[str, Any]:
    return {name: rounded(value) if isinstance(value, float) else value for name, value in numbers.items()}


def scores_of(column: Column, saes: Sequence[str]) -> Scores | None:
    """The scores of those of `saes`, or baselines, that share their draws; None where draws are not stored."""
    everyone = column.everyone
    measured = {sae: everyone[sae] for sae in saes if sae in everyone}
    values = {sae: float(m.value or 0.0) for sae, m in measured.items()}
    seeds = column.seeds_of(list(measured))
    if len(seeds) >= LEAST_DRAWS:
        table = np.array([[column.seeds[sae][seed] for seed in seeds] for sae in measured])
        return Scores(tuple(measured), np.array([*values.values()]), table, "seeds")
    counts = Counter(len(m.replicates) for m in measured.values() if len(m.replicates) >= LEAST_DRAWS)
    if not counts:
        return None
    groups = counts.most_common(1)[0][0]
    chosen = {sae: m.replicates for sae, m in measured.items() if len(m.replicates) == groups}
    theirs = np.array([values[sae] for sae in chosen])
    return Scores(tuple(chosen), theirs, stats.pseudo_values(theirs, np.array([*chosen.values()])), "test units")


def _too_little(panel: Panel, scores: Scores | None) -> str | None:
    """Why nothing can be tested."""
    if len(panel.saes) < LEAST_SAES:
        return f"{len(panel.saes)} SAEs; at least {LEAST_SAES} are needed"
    if scores is None:
        return "no replicates over test units"
    alike = len(scores.of(panel.saes).saes)
    if alike < LEAST_SAES:
        return f"{alike} of {len(panel.saes)} SAEs have replicates over the same test units; {LEAST_SAES} are needed"
    return None


def _variances(squares: stats.MeanSquares, scores: Scores) -> dict[str, Any]:
    rho = stats.reliability(squares)
    noise = stats.noise_by_row(scores.table)
    return {
        "draws": scores.draws,
        "n_draws": squares.draws,
        "reliability": rho.value,
        "reliability_low": rho.low,
        "reliability_high": rho.high,
        "no_signal_p": stats.no_signal_p(squares),
        "sigma_s": squares.sigma_s,
        "sigma_d": squares.sigma_d,
        "sigma_e": squares.sigma_e,
        "noise_ratio": float(noise.max() / noise.min()) if noise.min() > 0 else None,
        "signal_to_noise": squares.sigma_s / squares.sigma_e if squares.sigma_e > 0 else None,
        "minimum_difference": stats.minimum_difference(squares),
        "minimum_difference_80": stats.minimum_difference(squares, power=POWER),
        "levels": stats.separable_levels(squares),
    }


def _order(squares: stats.MeanSquares, scores: Scores, l0: Mapping[str, float]) -> dict[str, Any]:
    """How stable the order of the SAEs is, and how much of it is their L0."""
    half = stats.reliability(squares, draws=squares.draws // 2).value
    p = stats.benjamini_hochberg(stats.pairwise_p(scores.values, scores.table))
    with_l0 = [i for i, sae in enumerate(scores.saes) if sae in l0]
    log_l0 = np.log([l0[scores.saes[i]] for i in with_l0])
    enough = len(with_l0) >= L0_LEAST_SAES
    return {
        "tau_halves": stats.halves_tau(scores.table, HALF_SPLITS),
        "tau_halves_expected": stats.expected_tau(half),
        "tau_runs": stats.expected_tau(stats.reliability(squares).value),
        "pairs_told_apart": float(np.mean(p <= FALSE_DISCOVERIES)),
        "l0_share": stats.rank_share(scores.values[with_l0], log_l0) if enough else None,
    }


def _ceiling_share(goodness: np.ndarray, least: float) -> float:
    """The share of the other SAEs that are at most `least` behind the best."""
    behind = goodness.max() - np.sort(goodness)[:-1]
    return float(np.mean(behind <= least))


def _judged(audits: Sequence[ColumnAudit]) -> list[ColumnAudit]:
    """The columns of one panel with their p values adjusted to each other, and their verdicts."""
    tested = [audit for audit in audits if audit.no_signal_p is not None]
    adjusted = stats.benjamini_hochberg([audit.no_signal_p or 0.0 for audit in tested])
    p_of = {id(audit): rounded(float(p)) for audit, p in zip(tested, adjusted, strict=True)}
    return [_with_verdicts(audit, p_of[id(audit)]) if id(audit) in p_of else audit for audit in audits]


def _with_verdicts(audit: ColumnAudit, p: float) -> ColumnAudit:
    assert audit.reliability is not None
    assert audit.reliability_low is not None
    evidence = Evidence(
        reliability=audit.reliability,
        reliability_low=audit.reliability_low,
        no_signal_p=p,
        ceiling_share=audit.ceiling_share,
        l0_share=audit.l0_share,
        control_margin_low=audit.control_margin_low,
    )
    return replace(audit, no_signal_p=p, verdicts=as_text(verdicts(evidence)))
