"""Runs of two SAEs whose true scores are known, as each eval's own functions report them.

What makes a unit hard is hard for both SAEs, and units depend on each other as real ones do: rows of a document,
prompts and questions about an entity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import betaincinv

from sae_research.evals.absorption.report import KnownLetters, absorption_output
from sae_research.evals.absorption.scores import LetterResult, SaeGate
from sae_research.evals.absorption.words import LETTERS
from sae_research.evals.core.formulas import estimate_behaviour, estimate_densities, estimate_quality
from sae_research.evals.core.rows import documents_of
from sae_research.evals.ravel.entities import EntityPrompt
from sae_research.evals.ravel.pairs import Pairs
from sae_research.evals.ravel.prompts import Prompts
from sae_research.evals.ravel.report import ClassHits, class_scores
from sae_research.evals.ravel.training import SwapHits
from sae_research.evals.unlearning.grid import Clamp
from sae_research.evals.unlearning.questions import Question
from sae_research.evals.unlearning.report import ClampedAnswers, QuestionSet, unlearning_output
from sae_research.evals.unlearning.settings import UnlearningSettings
from sae_research.measurements import Measurement, measured
from sae_research.metrics.groups import sum_by_group, whole_documents
from sae_research.metrics.intervals import Estimate

_CONTEXT, _BOS = 128, 0
_ALIKE = 0.9
"""How much of what makes a unit hard is common to both SAEs: a correlation."""

Rng = np.random.Generator
Place = Mapping[str, int | float | str]


class SimulatedRun(NamedTuple):
    """What an eval reports of two SAEs on one draw of its units."""

    measurements: tuple[Sequence[Measurement], Sequence[Measurement]]
    true: tuple[float | None, float | None]
    """The score that each would have without end of units; None: the mean over runs stands in for it."""


def _skewed(rng: Rng, *shape: int) -> np.ndarray:
    """Mean 0, variance 1, skewness 1."""
    return rng.gamma(4.0, size=shape) / 2 - 2


def _documents(rng: Rng, n_rows: int, mean_rows: float) -> tuple[np.ndarray, np.ndarray]:
    """The document of each token of rows that are cut from documents end to end; lengths are exponential."""
    total, lengths = n_rows * (_CONTEXT - 1), [0]
    while sum(lengths) < total:
        lengths += (20 + rng.exponential(mean_rows * _CONTEXT, size=n_rows)).astype(int).tolist()
    of_token = np.repeat(np.arange(len(lengths)), lengths)[:total].reshape(n_rows, -1)
    tokens = np.full((n_rows, _CONTEXT), 5)
    tokens[:, 0] = _BOS
    ends = np.diff(of_token.reshape(-1), append=of_token[-1, -1]).reshape(n_rows, -1) > 0
    tokens[:, 1:][ends] = _BOS
    return of_token, documents_of(torch.from_numpy(tokens), {_BOS})


def core_rows_run(rng: Rng, metric: str, *, n_rows: int, mean_rows: float, icc: float) -> SimulatedRun:
    """Errors of rows, which are correlated by `icc` where they are of one document."""
    of_token, documents = _documents(rng, n_rows, mean_rows)

    def effects() -> np.ndarray:
        of_document = _skewed(rng, int(of_token.max()) + 1)
        return np.sqrt(icc) * of_document[of_token].mean(axis=1) + np.sqrt(1 - icc) * _skewed(rng, n_rows)

    tokens, common = rng.integers(110, 128, n_rows).astype(float), effects()
    spread = tokens * (1 + 0.2 * effects())
    estimates, true = [], []
    for level in (1.0, 1.1):
        error = tokens * level * (1 + 0.4 * (_ALIKE * common + np.sqrt(1 - _ALIKE**2) * effects()))
        if metric == "explained_variance":
            names = ("cosine", "in_norm", "out_norm", "ratio", "out_square", "dot", "legacy", "l0", "l1", "negative")
            rows = dict.fromkeys((*names, "support", "interpolating", "sequences"), tokens)
            rows |= {f"{kind}tokens": tokens for kind in ("", "usual_")}
            rows |= {f"{kind}error": 0.1 * error for kind in ("", "usual_")}
            rows |= {f"{kind}_spread": spread for kind in ("in", "usual")}
            quality = estimate_quality(rows, documents, offset_square=0.0, usual_offset_square=0.0, d_in=64)
            estimates.append(quality[metric])
            true.append(1 - 0.1 * level)
        else:
            clean = tokens * (3 + common)
            ce = {"clean": clean, "sae": clean + 0.05 * error, "zero": 9 * tokens, "mean": 8 * tokens}
            rows = {f"ce_{name}": values for name, values in {**ce, "unigram": 6 * tokens, "tokens": tokens}.items()}
            rows |= {f"kl_{name}": error for name in ("sae", "zero", "mean")} | {"kl_tokens": tokens}
            rows |= {f"right_{name}": 0.5 * tokens for name in ("sae", "clean")}
            estimates.append(estimate_behaviour(rows, documents)[metric])
            true.append(0.05 * level)
    return SimulatedRun(_of_each(metric, estimates), (true[0], true[1]))


def densities_run(rng: Rng, metric: str, *, n_rows: int, mean_rows: float, topics: int) -> SimulatedRun:
    """Latents that fire by chance, five times as often in documents on their own topic."""
    of_token, documents = _documents(rng, n_rows, mean_rows)
    groups = whole_documents(documents)
    topic = rng.integers(topics, size=int(of_token.max()) + 1)[of_token]
    on_topic = np.stack([(topic == t).sum(axis=1) for t in range(topics)], axis=1)
    tokens = sum_by_group(np.full(n_rows, _CONTEXT - 1.0), groups)
    estimates = []
    for lowest in (-6.0, -5.8):
        rates = 10 ** np.linspace(lowest, -1.5, 500)
        by_topic = rates * np.where(np.arange(500) % topics == np.arange(topics)[:, None], 5.0, 0.5)
        fired = rng.poisson(sum_by_group(on_topic, groups) @ by_topic).astype(float)
        estimates.append(estimate_densities(fired, tokens)[metric])
    return SimulatedRun(_of_each(metric, estimates), (None, None))


def _of_each(metric: str, estimates: Sequence[Estimate]) -> tuple[list[Measurement], list[Measurement]]:
    one, two = ([measured(metric, estimate)] for estimate in estimates)
    return one, two


def _successes(rng: Rng, of_case: np.ndarray, *, units: int, icc: float, means: Sequence[float]) -> list[np.ndarray]:
    """Of each SAE: whether each case is a success. Cases of a unit are correlated by `icc`, and the SAEs by the unit.

    The chances of success in the units have a beta distribution; a unit has the same quantile of both SAEs' own.
    """
    quantile, noise = rng.random(units), rng.random((2, len(of_case)))
    noise[1] = np.where(rng.random(len(of_case)) < _ALIKE, noise[0], noise[1])
    size = 1 / icc - 1 if icc else None
    levels = [np.full(units, mean) if size is None else betaincinv(mean * size, (1 - mean) * size, quantile)
              for mean in means]  # fmt: skip
    return [draw < level[of_case] for draw, level in zip(noise, levels, strict=True)]


def ravel_run(rng: Rng, metric: str, *, entities: int, pairs: int, icc: float) -> SimulatedRun:
    """Test pairs on two attributes, about `entities` entities."""
    items = [EntityPrompt(f"e{i}", "a", "%s is", "x", True) for i in range(entities)]
    zeros = torch.zeros(entities, dtype=torch.long)
    prompts = Prompts(items, zeros[:, None], zeros, zeros, zeros)
    base = rng.integers(entities, size=2 * pairs)
    is_cause = torch.arange(pairs) % 2 == 0
    of_sae = _successes(rng, base, units=entities, icc=icc, means=(0.6, 0.65))
    estimates = []
    for hits in of_sae:
        attributes = {
            name: SwapHits(Pairs(at, at, is_cause), {"": right}, None, 0)
            for name, at, right in zip("ab", torch.from_numpy(base).split(pairs), np.split(hits, 2), strict=True)
        }
        estimates.append(class_scores(ClassHits(prompts, entities, {0: attributes}), "")["all"][metric].mean)
    return SimulatedRun(_of_each(metric, estimates), (0.6, 0.65))


def unlearning_run(rng: Rng, metric: str, *, entities: int, questions: int, icc: float) -> SimulatedRun:
    """Questions about `entities` entities that are reported, and as many others that choose between two clamps."""
    of_question = np.repeat(np.arange(2 * entities), questions)
    asked = [Question("toxins", "?", ("a", "b"), 0, f"e{entity}") for entity in of_question]
    harmless = [question._replace(subject="birds") for question in asked]
    selects = np.tile(of_question < entities, 2)
    is_forget = np.arange(2 * len(asked)) < len(asked)
    known = QuestionSet([*asked, *harmless], is_forget, selects, ~selects)
    settings = UnlearningSettings(side_effect_floor=0.5)
    clamps = [Clamp(0.01, 10, 25), Clamp(0.01, 10, 50)]
    right = [
        _successes(rng, of_question, units=2 * entities, icc=icc, means=means) for means in ((0.8, 0.75), (0.7, 0.65))
    ]
    outputs, true = [], []
    for sae in (0, 1):
        shares = {
            clamp: np.concatenate([of_clamp[sae], np.ones(len(asked))])
            for clamp, of_clamp in zip(clamps, right, strict=True)
        }
        output = unlearning_output(ClampedAnswers(shares, {(0.01, 10): [1]}), known, settings)
        chosen = clamps.index(Clamp(**output.unstructured["chosen"]))
        true.append(1 - ((0.8, 0.75), (0.7, 0.65))[chosen][sae])
        outputs.append([m for m in output.measurements if m.metric == metric])
    return SimulatedRun((outputs[0], outputs[1]), (true[0], true[1]))


def absorption_run(rng: Rng, metric: str, *, letters: int = 20, most_words: int = 40) -> SimulatedRun:
    """Letters of 5 to `most_words` test words, a third of which are absorbed, more under some letters than others."""
    sizes = np.linspace(5, most_words, letters).astype(int)
    test_letters = np.repeat(np.arange(letters), sizes)
    levels = np.linspace(0.1, 0.5, letters)
    words = np.split(np.arange(len(test_letters)), np.cumsum(sizes)[:-1])
    known = KnownLetters((1.0,) * letters, n_left_out=0, min_f1=0.6, min_letters=1)
    common = rng.random(len(test_letters))
    outputs = []
    for factor in (1.0, 1.1):
        noise = np.where(rng.random(len(common)) < _ALIKE, common, rng.random(len(common)))
        absorbed = noise < factor * levels[test_letters]
        results = [
            LetterResult(LETTERS[i], at, absorbed[at].astype(float), absorbed[at], (i,), (0.9,), test_letters == i)
            for i, at in enumerate(words)
        ]
        outputs.append(absorption_output(known, SaeGate(0.6, 1), test_letters, results).measurements)
    return SimulatedRun((outputs[0], outputs[1]), (float(levels.mean()), float(1.1 * levels.mean())))
