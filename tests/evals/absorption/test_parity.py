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
from sae_research.reference.absorption import SaeBenchAbsorptionPlan, run_absorption


def test_planted_absorption_is_seen_alike(lm: LanguageModel, lens: Any, context: EvalContext, tmp_path: Path) -> None:
    """Whole runs of both: words, prompts, probes and draws differ, what is planted is seen alike."""
    sae = absorbing_sae(lm, "abcd")
    (outcome,) = ABSORPTION.run(context, [sae], SAE_BENCHS)
    means = {m.metric: m.value for m in output_of(outcome).measurements if not m.at}
    plan = SaeBenchAbsorptionPlan(SAE_BENCHS, seed=0, precalculated=True)
    theirs = run_absorption(lens, sae, plan, artifacts=tmp_path / "artifacts")
    assert theirs is not None
    for key in ("mean_absorption_fraction_score", "mean_full_absorption_score"):
        assert means[key] == pytest.approx(theirs.means[key], abs=0.1)
    # SAEBench draws words from a vocabulary in the order of a hash, another one in each process: rates differ.
    ours = {row["first_letter"]: row for row in output_of(outcome).details}
    for rows in (ours, theirs.letters):
        rates = {letter: row["full_absorption_rate"] for letter, row in rows.items()}
        assert min(rates[letter] for letter in "abcd") > max(rate for letter, rate in rates.items() if letter > "d")
