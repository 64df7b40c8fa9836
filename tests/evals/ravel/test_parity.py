"""RAVEL's masks and scores beside the real sae_bench 0.6.0, on the same pairs in the same order."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from support.outcomes import MakeSae
from support.ravel import SETTINGS

from sae_research.evals.base import EvalContext
from sae_research.evals.ravel.candidates import Candidate
from sae_research.evals.ravel.entities import EntityPrompt
from sae_research.evals.ravel.pairs import draw_pairs
from sae_research.evals.ravel.prompts import Checker, known_prompts, tokenize_prompts
from sae_research.evals.ravel.represented import represent
from sae_research.evals.ravel.shared_runs import SharedRuns
from sae_research.evals.ravel.swaps import MaskSwap
from sae_research.evals.ravel.training import AttributeRun
from sae_research.evals.shared.attempts import Attempt
from sae_research.lm.site import Site
from sae_research.reference.ravel import SaeBenchRavel


@pytest.mark.parametrize(("architecture", "hyper"), [("relu", {}), ("topk", {"k": 5})])
def test_masks_and_scores_are_sae_benchs(
    context: EvalContext, site: Site, make_sae: MakeSae, items: list[EntityPrompt], tmp_path: Path,
    architecture: str, hyper: dict[str, Any],
) -> None:  # fmt: skip
    """On the same pairs in the same order: the same mask after training, and the same scores."""
    lm, sae = context.lm, make_sae(architecture, **hyper)
    settings = dataclasses.replace(
        SETTINGS, split="sae_bench", answer="generation", n_generated_tokens=2, learning_rate=0.01, baselines=()
    )
    lm.tokenizer.save_pretrained(tmp_path)
    asked, checker = tokenize_prompts(lm, items), Checker(lm, settings.n_generated_tokens)
    known = known_prompts(context, site, asked, checker, n_entities=500)
    split = draw_pairs(known, "Country", ["Language"], settings, ("parity",))
    theirs = SaeBenchRavel(lm, tmp_path, settings).train_and_score(sae, known, split)
    (features,) = represent(context, known, {site: [Attempt(sae)]}, split)[site].latents.values()
    swap = MaskSwap(features)
    run = AttributeRun(context, site, known, checker, settings, [Candidate(swap, name="mask")],
                       runs=SharedRuns.of(context))  # fmt: skip
    (ours,) = run.run(split).values()
    torch.testing.assert_close(swap.mask.detach(), theirs.mask, atol=2e-3, rtol=0)
    assert ((swap.mask > 0) == (theirs.mask > 0)).float().mean() > 0.95
    is_cause = split.test.is_cause.numpy()
    hits = ours.hits[""]
    assert hits[is_cause].mean() == pytest.approx(theirs.scores.cause, abs=0.11)
    assert hits[~is_cause].mean() == pytest.approx(theirs.scores.isolation, abs=0.11)
