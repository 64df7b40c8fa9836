"""The numbers of autointerp, from what a judge said of each latent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sae_research.evals.autointerp.latents import JudgedLatent
from sae_research.evals.autointerp.settings import AutointerpSettings
from sae_research.evals.autointerp.specs import (
    BALANCED,
    BY_DENSITY,
    DEVIATION,
    GAIN,
    LATENTS,
    NEGATIVE,
    NEGATIVE_SIGN,
    NONE,
    POSITIVE,
    RANDOM,
    SCORE,
    SCORES,
    UNREADABLE,
)
from sae_research.evals.judged.gate import Fitness
from sae_research.evals.judged.over_latents import DENSITY_ENDS, density_bins, latent_groups
from sae_research.measurements import EvalOutput, Measurement, measured
from sae_research.metrics.intervals import Estimate, Sums, jackknife

_SHARE, _DIFFERENCE = (0.0, 1.0), (-1.0, 1.0)


def autointerp_output(
    asked: Sequence[JudgedLatent],
    passed_over: Sequence[JudgedLatent],
    fitness: Fitness,
    settings: AutointerpSettings,
    judge: Mapping[str, Any],
) -> EvalOutput:
    """All numbers of an SAE; scores are missing where the judge is unfit, or leaves too much without an answer."""
    scored = [latent for latent in asked if latent.right is not None]
    reason = fitness.unfit or _why_none(asked, passed_over, len(scored), settings.max_unanswered)
    measurements = [Measurement(LATENTS, len(scored))]
    if asked:
        measurements.append(Measurement(NEGATIVE_SIGN, sum(latent.sign < 0 for latent in asked) / len(asked)))
    if asked and fitness.unfit is None:
        measurements.append(Measurement(UNREADABLE, 1 - len(scored) / len(asked)))
    if reason is None:
        measurements += [*_scores(scored), *_against_control(scored, settings.max_unanswered)]
    else:
        measurements += _missing(reason)
    rows = {str(latent.latent): latent.row() for latent in (*asked, *passed_over)}
    return EvalOutput((*measurements, *fitness.measurements), unstructured=rows, judge=judge)


def _why_none(
    asked: Sequence[JudgedLatent], passed_over: Sequence[JudgedLatent], n_scored: int, most: float
) -> str | None:
    if not asked:
        reasons = [latent.reason for latent in passed_over if latent.reason]
        example = f", for instance: {reasons[0]}" if reasons else ""
        return f"none of {len(passed_over)} latents has windows to judge{example}"
    unanswered = len(asked) - n_scored
    if unanswered > most * len(asked) or not n_scored:
        reasons = [latent.reason for latent in asked if latent.reason]
        return f"no answer that can be read about {unanswered} of {len(asked)} latents, for instance: {reasons[0]}"
    return None


def _missing(reason: str) -> Iterator[Measurement]:
    for metric in SCORES:
        places = ({"windows": "top"}, {"windows": "weighted"}) if metric == POSITIVE else ({},)
        yield from (Measurement(metric, None, reason=reason, at=at) for at in places)


def _scores(scored: Sequence[JudgedLatent]) -> Iterator[Measurement]:
    rights = [right for latent in scored if (right := latent.right) is not None]
    bins = np.eye(len(DENSITY_ENDS))[density_bins([latent.density for latent in scored])]
    scores = np.array([right.score for right in rights])
    balanced = np.array([right.balanced_accuracy for right in rights])
    rows = {
        "n": np.ones(len(scored)),
        "score": scores,
        "square": scores**2,
        "balanced": balanced,
        "top": np.array([right.top[0] / right.top[1] for right in rights]),
        "weighted": np.array([right.weighted[0] / right.weighted[1] for right in rights]),
        "silent": np.array([right.true_negative_rate for right in rights]),
        "in bin": bins,
        "balanced in bin": bins * balanced[:, None],
    }
    filled = [i for i, n in enumerate(bins.sum(axis=0)) if n]

    def statistic(sums: Sums) -> Sums:
        n = sums["n"]
        means = {name: sums[name] / n for name in ("score", "balanced", "top", "weighted", "silent")}
        spread = np.maximum(sums["square"] - sums["score"] ** 2 / n, 0)
        by_bin = {str(i): sums["balanced in bin"][..., i] / sums["in bin"][..., i] for i in filled}
        return {**means, "deviation": np.sqrt(spread / (n - 1)), **by_bin}

    estimates = jackknife(
        rows,
        statistic,
        groups=latent_groups([latent.place for latent in scored]),
        bounds={"deviation": _SHARE},
        shares={
            **dict.fromkeys(("score", "balanced", "top", "weighted", "silent"), len(scored)),
            **{str(i): int(bins[:, i].sum()) for i in filled},
        },
    )
    yield measured(SCORE, estimates["score"])
    yield Measurement(NONE, rights[0].none_score)
    yield _deviation(estimates["deviation"], len(scored))
    yield measured(BALANCED, estimates["balanced"])
    yield measured(POSITIVE, estimates["top"], {"windows": "top"})
    yield measured(POSITIVE, estimates["weighted"], {"windows": "weighted"})
    yield measured(NEGATIVE, estimates["silent"])
    for i in filled:
        at = {"density_below": DENSITY_ENDS[i]}
        yield measured(BY_DENSITY, estimates[str(i)], at)
        yield Measurement(LATENTS, int(bins[:, i].sum()), at=at)


def _deviation(estimate: Estimate, n: int) -> Measurement:
    if n < 2:
        return Measurement(DEVIATION, None, reason="a deviation needs two latents with a score, there is one")
    return measured(DEVIATION, estimate)


def _against_control(scored: Sequence[JudgedLatent], most_unanswered: float) -> Iterator[Measurement]:
    """Latents whose windows the judge was quizzed on twice, the second time with another latent's explanation."""
    pairs = [(one, right, control) for one in scored if (right := one.right) and (control := one.control_right)]
    missing = len(scored) - len(pairs)
    if not pairs or missing > most_unanswered * len(scored):
        reasons = [latent.control_reason for latent in scored if latent.control_reason]
        reason = (
            f"no answer to another latent's explanation for {missing} of {len(scored)} latents, for instance: "
            f"{reasons[0] if reasons else 'there is no other explanation'}"
        )
        yield from (Measurement(metric, None, reason=reason) for metric in (RANDOM, GAIN))
        return
    control = np.array([control.score for _, _, control in pairs])
    gain = np.array([right.score for _, right, _ in pairs]) - control
    estimates = jackknife(
        {"n": np.ones(len(pairs)), "control": control, "gain": gain},
        lambda sums: {name: sums[name] / sums["n"] for name in ("control", "gain")},
        groups=latent_groups([latent.place for latent, _, _ in pairs]),
        bounds={"gain": _DIFFERENCE},
        shares={"control": len(pairs)},
    )
    yield measured(RANDOM, estimates["control"])
    yield measured(GAIN, estimates["gain"])
