"""The five questions about an SAE: what each rests on, and the verdict by its thresholds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from sae_research.measurements import Measurement
from sae_research.results.health.settings import HealthSettings, Limits
from sae_research.results.latents import Latents

Question = Literal["loss_recovered", "l0", "dead", "redundant", "absorption"]
Verdict = Literal["healthy", "borderline", "bad"]

QUESTIONS: Mapping[Question, str] = {
    "loss_recovered": "loss recovered",
    "l0": "L0",
    "dead": "dead latents",
    "redundant": "redundant latents",
    "absorption": "absorption fraction",
}
"""In the order of tables."""
OF_CORE: tuple[Question, ...] = ("loss_recovered", "l0", "dead", "redundant")
"""Those that the eval core answers."""
VERDICTS: tuple[Verdict, ...] = ("healthy", "borderline", "bad")
"""From the best to the worst."""

_LOSS, _ABSORPTION = "ce_loss_score", "mean_absorption_fraction_score"
_RULE_OF_THREE = 3


@dataclass(frozen=True)
class Answer:
    """One question's number and verdict, or the reason why there is none."""

    value: float | None = None
    low: float | None = None
    """The 95 % interval; None where there is none."""
    high: float | None = None
    verdict: Verdict | None = None
    reason: str | None = None
    """Why there is no verdict: there is no number, or the question does not apply. None where there is one."""
    in_short: str | None = None
    """The reason where SAEs stand side by side, if it has numbers of this one in it."""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """What else there is to know: counts, bounds, other ways to measure the same."""


def loss_recovered(core: Mapping[str, Measurement], settings: HealthSettings) -> Answer:
    """(CE_zero − CE_sae) / (CE_zero − CE_clean)."""
    others = {
        "against_mean_ablation": "ce_loss_score_mean_ablation",
        "against_token_frequencies": "ce_loss_score_unigram",
        "explained_variance": "explained_variance",
    }
    evidence = {name: value for name, metric in others.items() if (value := _value(core, metric)) is not None}
    return _at_least(core.get(_LOSS), settings.loss_recovered, evidence)


def l0(core: Mapping[str, Measurement], settings: HealthSettings) -> Answer:
    """Latents that fire per token."""
    number = core.get("l0")
    if number is None or number.value is None:
        return _missing(number)
    low, high = settings.l0.healthy
    lowest, highest = _interval(number)
    verdict: Verdict = "borderline"
    if low <= lowest and highest <= high:
        verdict = "healthy"
    elif highest < low or lowest > high:
        verdict = "bad"
    return Answer(number.value, number.ci_low, number.ci_high, verdict)


def dead(core: Mapping[str, Measurement], latents: Latents | None, settings: HealthSettings) -> Answer:
    """The share of latents that are silent on all N tokens.

    A latent silent on N independent tokens fires on fewer than 3 / N of them, with 95 % confidence. Of the silent ones
    at least f₁(f₁ − 1) / 2(f₂ + 1) are not dead but rare, where f₁ and f₂ latents fired once and twice (Chao 1984);
    the interval reaches down to the share without them.
    """
    number = core.get("frac_dead")
    if number is None or number.value is None:
        return _missing(number)
    low, evidence = number.ci_low, {}
    tokens = _value(core, "real_tokens_sparsity")
    if tokens:
        evidence |= {"tokens": int(tokens), "silent_latents_fire_on_less_than": _RULE_OF_THREE / tokens}
    if tokens and latents is not None:
        silent, rare = count_silent(latents.density, tokens)
        evidence |= {"silent_latents": silent, "silent_but_rare": rare}
        without_rare = (silent - rare) / len(latents.density)
        low = without_rare if low is None else min(low, without_rare)
    limits = settings.dead
    return _at_most(number, limits, evidence, low=low)


def count_silent(density: np.ndarray, tokens: float) -> tuple[int, int]:
    """How many latents never fired on `tokens` tokens, and how many of them are at least rare instead of dead."""
    counts = np.rint(density * tokens)
    silent, once, twice = (int((counts == n).sum()) for n in range(3))
    return silent, min(silent, once * (once - 1) // (2 * (twice + 1)))


def redundant(core: Mapping[str, Measurement], latents: Latents | None, settings: HealthSettings) -> Answer:
    """The share of latents with a near copy; weights are known exactly, so it has no interval."""
    if latents is None or not np.isfinite(latents.decoder_cosine).any():
        return Answer(reason="core has no record of the latents' decoder cosines")
    cosines, limits = latents.decoder_cosine, settings.redundant
    share = float((cosines >= limits.cosine).mean())
    evidence = {"cosine": limits.cosine, "largest_cosine": float(np.nanmax(cosines))}
    mean = _value(core, "average_max_decoder_cosine_sim")
    evidence |= {"mean_largest_cosine": mean} if mean is not None else {}
    return _at_most(Measurement("redundant", share), Limits(limits.healthy, limits.borderline), evidence)


def absorption(measured: Mapping[str, Measurement], settings: HealthSettings) -> Answer:
    """The absorption eval's mean fraction."""
    number, full = measured.get(_ABSORPTION), _value(measured, "mean_full_absorption_score")
    if number is not None and number.value is None:
        return Answer(reason=number.reason, in_short="the absorption eval gives no mean, for too few letters")
    evidence = {"full_absorption": full} if full is not None else {}
    return _at_most(number, settings.absorption, evidence)


def _at_least(number: Measurement | None, limits: Limits, evidence: Mapping[str, Any]) -> Answer:
    if number is None or number.value is None:
        return _missing(number)
    lowest, highest = _interval(number)
    verdict: Verdict = "borderline"
    if lowest >= limits.healthy:
        verdict = "healthy"
    elif highest < limits.borderline:
        verdict = "bad"
    return Answer(number.value, number.ci_low, number.ci_high, verdict, evidence=evidence)


def _at_most(
    number: Measurement | None, limits: Limits, evidence: Mapping[str, Any], *, low: float | None = None
) -> Answer:
    """`low` is the interval's lower end where that is not the measurement's own."""
    if number is None or number.value is None:
        return _missing(number)
    low = number.ci_low if low is None else low
    lowest = number.value if low is None else low
    highest = number.value if number.ci_high is None else number.ci_high
    verdict: Verdict = "borderline"
    if highest <= limits.healthy:
        verdict = "healthy"
    elif lowest > limits.borderline:
        verdict = "bad"
    return Answer(number.value, low, number.ci_high, verdict, evidence=evidence)


def _interval(number: Measurement) -> tuple[float, float]:
    """The ends of the interval; the value itself where there is none."""
    value = number.value or 0.0
    return (value if number.ci_low is None else number.ci_low, value if number.ci_high is None else number.ci_high)


def _missing(number: Measurement | None) -> Answer:
    return Answer(reason=number.reason if number is not None else "not measured")


def _value(numbers: Mapping[str, Measurement], metric: str) -> float | None:
    number = numbers.get(metric)
    return number.value if number is not None else None
