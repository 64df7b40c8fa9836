"""Absorption beside the real sae_bench 0.6.0."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.letters import SAE_BENCHS, absorbing_sae
from support.outcomes import output_of

from sae_research.evals.absorption.eval import ABSORPTION
from sae_research.evals.base import EvalContext
from sae_research.lm.model import LanguageModel
from sae_research.reference.absorption import SaeBenchAbsorption, SaeBenchAbsorptionPlan, run_absorption
from sae_research.saes.base import Sae

PLAN = SaeBenchAbsorptionPlan(SAE_BENCHS, seed=0, precalculated=True)


@pytest.fixture(scope="module")
def sae(lm: LanguageModel) -> Sae:
    return absorbing_sae(lm, "abcd")


@pytest.fixture(scope="module")
def theirs(lens: Any, sae: Sae, tmp_path_factory: pytest.TempPathFactory) -> SaeBenchAbsorption | None:
    return run_absorption(lens, sae, PLAN, artifacts=tmp_path_factory.mktemp("artifacts"))


def test_planted_absorption_is_seen_alike(context: EvalContext, sae: Sae, theirs: SaeBenchAbsorption | None) -> None:
    """Whole runs of both: words, prompts, probes and draws differ, what is planted is seen alike."""
    (outcome,) = ABSORPTION.run(context, [sae], SAE_BENCHS)
    means = {m.metric: m.value for m in output_of(outcome).measurements if not m.at}
    assert theirs is not None
    for key in ("mean_absorption_fraction_score", "mean_full_absorption_score"):
        assert means[key] == pytest.approx(theirs.means[key], abs=0.1)
    ours = {row["first_letter"]: row for row in output_of(outcome).details}
    for rows in (ours, theirs.letters):
        rates = {letter: row["full_absorption_rate"] for letter, row in rows.items()}
        assert min(rates[letter] for letter in "abcd") > max(rate for letter, rate in rates.items() if letter > "d")


def test_the_reference_gives_the_same_numbers_each_time(
    lens: Any, sae: Sae, theirs: SaeBenchAbsorption | None, tmp_path: Path
) -> None:
    """SAEBench takes words in the order of a hash table, another one at each call, whatever PYTHONHASHSEED is."""
    assert theirs is not None
    assert run_absorption(lens, sae, PLAN, artifacts=tmp_path) == theirs
