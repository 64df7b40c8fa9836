"""From answers under interventions to the unlearning score and its trade-off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sae_research.evals.unlearning.grid import Clamp
from sae_research.evals.unlearning.questions import Question
from sae_research.evals.unlearning.settings import UnlearningSettings
from sae_research.measurements import EvalOutput, Measurement, measured
from sae_research.metrics.accuracies import mean_share
from sae_research.metrics.intervals import Estimate

_NO_RATES = "the SAE chooses atoms for whole sequences, not token by token: no latent fires on a share of the tokens"


@dataclass(frozen=True)
class QuestionSet:
    """Questions, and the purpose of each."""

    questions: Sequence[Question]
    is_forget: np.ndarray
    selects: np.ndarray
    """Whether the intervention is chosen on the question."""
    reports: np.ndarray
    """Whether the reported accuracies include it."""

    def only(self, places: Sequence[int]) -> QuestionSet:
        """The questions at `places`."""
        at = np.asarray(places, dtype=np.int64)
        return QuestionSet([self.questions[i] for i in places], self.is_forget[at], self.selects[at], self.reports[at])

    def accuracy(self, shares: np.ndarray, *, forget: bool) -> Estimate:
        """The mean of `shares` over the reported forget or harmless questions; its sampling units are entities, or
        questions where the data set names no entities."""
        places = (self.reports & (self.is_forget == forget)).nonzero()[0]
        units = [(self.questions[i].subject, self.questions[i].entity or int(i)) for i in places]
        return mean_share(shares[places], units)

    @property
    def missing_reason(self) -> str | None:
        """Why these questions, the ones that the model knows, do not suffice for a score; None if they do."""
        for kind, of_kind in (("forget", self.is_forget), ("harmless", ~self.is_forget)):
            for use, used in (("choose a setting on", self.selects), ("report", self.reports)):
                if not bool((of_kind & used).any()):
                    return f"no {kind} question to {use} is answered correctly by the unmodified model in all orders"
        return None


@dataclass(frozen=True)
class ClampedAnswers:
    """How one SAE's interventions change the answers to the known questions."""

    shares: Mapping[Clamp, np.ndarray]
    """For each question, the share of its orders in which the answer stays right."""
    latents: Mapping[tuple[float, int], list[int]]
    """The clamped latents, by retain threshold and number."""


def unlearning_output(answers: ClampedAnswers | None, known: QuestionSet, settings: UnlearningSettings) -> EvalOutput:
    """The score, side effects at the chosen intervention, and the accuracies under every intervention."""
    if answers is None:
        reason = known.missing_reason or _NO_RATES
        return EvalOutput(
            (
                Measurement("unlearning_score", None, reason=reason),
                Measurement("chosen_side_effect_accuracy", None, reason=reason),
            ),
            unstructured={"protocol": settings.protocol},
        )
    latents = answers.latents
    effective = {c: shares for c, shares in answers.shares.items() if latents[c.retain_threshold, c.n]}
    chosen = choose_clamp(effective, known, floor=settings.side_effect_floor)
    return EvalOutput(
        (*_scores(effective, chosen, known, settings), *_trade_off(answers, known)),
        unstructured=_described(answers, known, settings, chosen),
    )


def _scores(
    effective: Mapping[Clamp, np.ndarray], chosen: Clamp | None, known: QuestionSet, settings: UnlearningSettings
) -> Iterator[Measurement]:
    """The score and its side effects; `effective` are the interventions that clamp anything."""
    if not effective:
        reason = (
            f"no latent fires on the forget corpus and on less than {max(settings.retain_thresholds):g} of the retain "
            "tokens: there is nothing to clamp"
        )
        yield Measurement("unlearning_score", None, reason=reason)
        yield Measurement("chosen_side_effect_accuracy", None, reason=reason)
    elif chosen is None:
        # By definition: the questions have no part in it, so it has no interval.
        yield Measurement("unlearning_score", 0.0)
        yield Measurement("chosen_side_effect_accuracy", 1.0)
    else:
        shares = effective[chosen]
        yield measured("unlearning_score", _complement(known.accuracy(shares, forget=True)))
        yield measured("chosen_side_effect_accuracy", known.accuracy(shares, forget=False))


def choose_clamp(shares: Mapping[Clamp, np.ndarray], known: QuestionSet, *, floor: float) -> Clamp | None:
    """The intervention with the lowest accuracy on forget questions among those with at least `floor` on harmless ones.

    Only questions that select count. Ties go to the higher harmless accuracy, then to the first. None if no
    intervention reaches `floor`.
    """
    forget, harmless = known.selects & known.is_forget, known.selects & ~known.is_forget
    on_harmless = {clamp: float(of_clamp[harmless].mean()) for clamp, of_clamp in shares.items()}
    allowed = [clamp for clamp in shares if on_harmless[clamp] >= floor]
    return min(allowed, key=lambda clamp: (float(shares[clamp][forget].mean()), -on_harmless[clamp]), default=None)


def _trade_off(answers: ClampedAnswers, known: QuestionSet) -> Iterator[Measurement]:
    for clamp, shares in answers.shares.items():
        at: dict[str, int | float | str] = {**clamp._asdict()}
        yield measured("forget_accuracy", known.accuracy(shares, forget=True), at)
        yield measured("side_effect_accuracy", known.accuracy(shares, forget=False), at)


def _complement(estimate: Estimate) -> Estimate:
    value, low, high, replicates = estimate
    return Estimate(
        1 - value,
        None if high is None else 1 - high,
        None if low is None else 1 - low,
        tuple(1 - replicate for replicate in replicates),
    )


def _described(
    answers: ClampedAnswers, known: QuestionSet, settings: UnlearningSettings, chosen: Clamp | None
) -> dict[str, Any]:
    """Protocol, chosen intervention, numbers of known questions, and latents."""
    counted = Counter(question.subject for question in known.questions)
    return {
        "protocol": settings.protocol,
        "comparable_with_sae_bench": settings.protocol == "letters" and settings.select_on == "same_questions",
        "select_on": settings.select_on,
        "chosen": None if chosen is None else dict(chosen._asdict()),
        "counted_questions": {subject: counted[subject] for subject in sorted(counted)},
        "latents": [
            {"retain_threshold": threshold, "n": n, "latents": latents}
            for (threshold, n), latents in answers.latents.items()
        ],
    }
