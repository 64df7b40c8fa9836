"""Is the judge fit? It is asked about artificial latents as about an SAE's; an unfit judge measures itself.

Once per corpus: nothing that is asked depends on the SAEs. Answers are kept, so asking at each site costs nothing more.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np

from sae_research.evals.judged.counts import Counts
from sae_research.evals.judged.examples import Examples, LatentExamples
from sae_research.evals.judged.known import gold_latents, null_latents
from sae_research.evals.judged.panel import Panel
from sae_research.evals.judged.quiz import Quiz, make_quiz
from sae_research.evals.judged.settings import JudgedSettings
from sae_research.evals.judged.specs import COMPLIANCE, GOLD, NULL
from sae_research.judges import prompts
from sae_research.judges.records import Sampling, Unanswered
from sae_research.judges.replies import read_explanation, read_numbers, read_texts
from sae_research.measurements import Measurement, measured
from sae_research.metrics.accuracies import mean_share

log = logging.getLogger(__name__)

Value = TypeVar("Value")
_CHANCE = 0.5


class Fitness(NamedTuple):
    """How fit the judge is for what an eval asks it."""

    measurements: tuple[Measurement, ...]
    unfit: str | None
    """Why no score of the eval means anything."""


def fitness_to_detect(
    panel: Panel,
    examples: Examples,
    settings: JudgedSettings,
    *,
    explaining: Sampling,
    scoring: Sampling,
    seed: int,
    counts: Counts,
) -> Fitness:
    """Whether it finds one word that it was shown, and is at chance where there is nothing to find."""
    gold = [known.examples for known in gold_latents(examples.corpus, seed=seed, counts=counts)]
    latents = [*gold, *null_latents(examples.corpus, seed=seed, counts=counts)]
    quizzes = [quiz_of(examples, latent, seed=seed) for latent in latents]
    explanations = panel.ask_for_all(
        examples.by_sae,
        [explaining.request(prompts.explaining(to_explain(examples, latent))) for latent in latents],
        read_explanation,
        reminder=prompts.EXPLAIN_AGAIN,
    )
    asked = [i for i, explanation in enumerate(explanations) if isinstance(explanation, str)]
    answers = panel.ask_for_all(
        examples.by_sae,
        [scoring.request(quizzes[i].messages(str(explanations[i]))) for i in asked],
        partial(read_numbers, n=counts.n_scored),
        reminder=prompts.NUMBERS_AGAIN,
    )
    rights = {i: quizzes[i].mark(a) for i, a in zip(asked, answers, strict=True) if not isinstance(a, Unanswered)}
    scores = [right.score for i, right in rights.items() if i < len(gold)]
    balanced = [right.balanced_accuracy for i, right in rights.items() if i >= len(gold)]
    null = _mean(NULL, balanced, "no answer about latents of no meaning could be read")
    if null.ci_low is not None and null.ci_high is not None and not null.ci_low <= _CHANCE <= null.ci_high:
        log.warning(
            "the judge's balanced accuracy on latents of no meaning is %.3f [%.3f, %.3f], expected %g: windows tell "
            "more than the explanation",
            null.value, null.ci_low, null.ci_high, _CHANCE,
        )  # fmt: skip
    return _fitness(GOLD, scores, len(gold), settings, [null])


def fitness_to_write(
    panel: Panel,
    examples: Examples,
    settings: JudgedSettings,
    *,
    writing: Sampling,
    n_texts: int,
    seed: int,
    counts: Counts,
) -> Fitness:
    """Whether the texts that it writes hold the one word that it was shown."""
    gold = gold_latents(examples.corpus, seed=seed, counts=counts)
    answers = panel.ask_for_all(
        examples.by_sae,
        [writing.request(prompts.writing(to_explain(examples, known.examples), n_texts)) for known in gold],
        partial(read_texts, separator=prompts.SEPARATOR, n=n_texts),
        reminder=prompts.WRITE_AGAIN,
    )
    shares = [
        float(np.mean([_holds(text, known.word) for text in answer]))
        for known, answer in zip(gold, answers, strict=True)
        if not isinstance(answer, Unanswered)
    ]
    return _fitness(COMPLIANCE, shares, len(gold), settings, [])


def to_explain(examples: Examples, latent: LatentExamples) -> list[prompts.MarkedText]:
    """What a judge is shown to explain the latent from."""
    return examples.marked(latent, latent.windows.explain)


def quiz_of(examples: Examples, latent: LatentExamples, *, seed: int) -> Quiz:
    """The latent's windows to score."""
    windows = latent.windows
    texts = (examples.plain(some) for some in (windows.top, windows.weighted, windows.silent))
    return make_quiz(*texts, seed=seed)


def _holds(text: str, word: str) -> bool:
    return re.search(rf"(?<![^\W\d_]){re.escape(word)}(?![^\W\d_])", text) is not None


def _mean(metric: str, values: Sequence[float], reason: str) -> Measurement:
    return measured(metric, mean_share(np.array(values))) if values else Measurement(metric, None, reason=reason)


def _fitness(
    metric: str, values: Sequence[float], n: int, settings: JudgedSettings, further: Sequence[Measurement]
) -> Fitness:
    """Unfit: too many of the `n` latents without an answer, or the mean of the others below `min_judge_gold`."""
    none = (
        "the judge could not be tested: no word of the text has enough windows"
        if not n
        else "the judge gave no answer that can be read about latents that are one word"
    )
    gold = _mean(metric, values, none)
    unanswered = n - len(values)
    if gold.value is None:
        unfit = none
    elif unanswered > settings.max_unanswered * n:
        unfit = f"the judge's answers cannot be read for {unanswered} of {n} latents that are one word"
    elif gold.value < settings.min_judge_gold:
        unfit = (
            f"the judge is not fit: {metric} is {gold.value:.3f}, below min_judge_gold = {settings.min_judge_gold:g}"
        )
    else:
        unfit = None
    return Fitness((gold, *further), unfit if settings.min_judge_gold > 0 else None)
