"""The numbers of the sensitivity eval, from what latents do on the judge's texts."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import numpy as np

from sae_research.evals.judged.gate import Fitness
from sae_research.evals.judged.over_latents import DENSITY_ENDS, density_bins, latent_groups
from sae_research.evals.judged.panel import Panel
from sae_research.evals.sensitivity.formulas import LatentShares, sensitivities
from sae_research.evals.sensitivity.latents import AskedLatent, ExampledLatent, latent_row
from sae_research.evals.sensitivity.settings import SensitivitySettings
from sae_research.evals.sensitivity.specs import (
    BY_DENSITY,
    CONTRAST,
    CONTRAST_BY_DENSITY,
    COPIED,
    CUT,
    FAILED,
    LATENTS,
    NEGATIVE,
    PERCENTS,
    RETAINED,
    SCORES,
    SENSITIVITY,
    TEXTS,
)
from sae_research.evals.shared.attempts import Attempt
from sae_research.measurements import EvalOutput, Measurement, measured

log = logging.getLogger(__name__)

_FEW = 20
"""With fewer latents than that an SAE's number says little."""
_NO_CONTROL = "no other latent has texts"
_NO_DENSITY = "the published examples do not tell how dense the latents are"


def sensitivity_output(
    asked: Sequence[AskedLatent],
    passed_over: Sequence[ExampledLatent],
    fitness: Fitness,
    settings: SensitivitySettings,
    panel: Panel,
    attempt: Attempt,
) -> EvalOutput:
    """All numbers of an SAE; scores are missing where the judge is unfit, or leaves too much without an answer."""
    scored = [latent for latent in asked if latent.own]
    reason = fitness.unfit or _why_none(asked, passed_over, scored, settings.max_unanswered)
    measurements = [Measurement(LATENTS, float(len(scored)))]
    if asked:
        measurements.append(Measurement(NEGATIVE, float(np.mean([latent.about.sign < 0 for latent in asked]))))
    if asked and fitness.unfit is None:
        measurements += [*_of_answers(asked), *_of_texts(scored)]
    measurements += _missing(reason) if reason is not None else [*_scores(scored), *_by_density(scored)]
    rows = [latent_row(latent.about, latent) for latent in asked] + [latent_row(about, None) for about in passed_over]
    content = {str(latent.about.latent): latent.content(panel.digest(latent.request)) for latent in asked}
    return EvalOutput(
        (*measurements, *fitness.measurements), details=rows, unstructured=content, judge=panel.record(attempt)
    )


def _why_none(
    asked: Sequence[AskedLatent], passed_over: Sequence[ExampledLatent], scored: Sequence[AskedLatent], most: float
) -> str | None:
    if not asked:
        reasons = [latent.reason for latent in passed_over if latent.reason]
        example = f", for instance: {reasons[0]}" if reasons else ""
        return f"none of {len(passed_over)} latents has examples{example}"
    unanswered = [latent for latent in asked if latent.written is None]
    if len(unanswered) > most * len(asked):
        return f"no texts for {len(unanswered)} of {len(asked)} latents, for instance: {unanswered[0].reason}"
    if not scored:
        return f"no latent has a text that counts, for instance: {asked[0].reason}"
    return None


def _missing(reason: str) -> Iterator[Measurement]:
    for metric in SCORES:
        yield from (Measurement(metric, None, reason=reason, at={"percent": percent}) for percent in PERCENTS)


def _of_answers(asked: Sequence[AskedLatent]) -> Iterator[Measurement]:
    written = [latent.written for latent in asked if latent.written is not None]
    yield Measurement(FAILED, 1 - len(written) / len(asked))
    n_copies, n_texts = sum(len(w.copies) for w in written), sum(len(w.texts) for w in written)
    if n_copies + n_texts:
        yield Measurement(COPIED, n_copies / (n_copies + n_texts))
        yield Measurement(TEXTS, n_texts / len(written))


def _of_texts(scored: Sequence[AskedLatent]) -> Iterator[Measurement]:
    if scored:
        yield Measurement(CUT, float(np.mean([text.tokens.is_cut for latent in scored for text in latent.own])))


def _scores(scored: Sequence[AskedLatent]) -> Iterator[Measurement]:
    if len(scored) < _FEW:
        log.warning("sensitivity: %d latents with a number, which says little of the SAE", len(scored))
    estimates = sensitivities(_shares(scored), latent_groups([latent.about.place for latent in scored]))
    for metric in SCORES:
        for percent in PERCENTS:
            estimate, at = estimates.get((metric, percent)), {"percent": percent}
            if estimate is not None:
                yield measured(metric, estimate, at)
            else:
                none = "the latents are active on none of their examples" if metric == RETAINED else _NO_CONTROL
                yield Measurement(metric, None, reason=none, at=at)


def _by_density(scored: Sequence[AskedLatent]) -> Iterator[Measurement]:
    """Sensitivity and contrast above 0, of the latents of each bin."""
    densities = [latent.about.density for latent in scored]
    known = [density for density in densities if density is not None]
    if len(known) < len(densities):
        yield from (Measurement(metric, None, reason=_NO_DENSITY) for metric in (BY_DENSITY, CONTRAST_BY_DENSITY))
        return
    bins = density_bins(known)
    for number in np.unique(bins).tolist():
        chosen = [latent for latent, place in zip(scored, bins, strict=True) if place == number]
        at = {"density_below": DENSITY_ENDS[number]}
        estimates = sensitivities(_shares(chosen), latent_groups([latent.about.place for latent in chosen]))
        yield Measurement(LATENTS, float(len(chosen)), at=at)
        for metric, of_bin in ((SENSITIVITY, BY_DENSITY), (CONTRAST, CONTRAST_BY_DENSITY)):
            estimate = estimates.get((metric, 0))
            if estimate is not None:
                yield measured(of_bin, estimate, at)
            else:
                yield Measurement(of_bin, None, reason=_NO_CONTROL, at=at)


def _shares(latents: Sequence[AskedLatent]) -> LatentShares:
    return LatentShares(
        own=np.array([latent.own_shares for latent in latents]),
        original=np.array([latent.original_shares for latent in latents]),
        other=np.array([latent.control_shares for latent in latents]),
    )
