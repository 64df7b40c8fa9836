"""TPP beside the real sae_bench 0.6.0: whole runs with its draws, its probes and its rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.ablations import N_VALUES, RECIPE, SAES, SEED, check_same, draw_texts, run_warm
from support.outcomes import MakeSae, output_of

from sae_research.data.labelled import LabelledSet
from sae_research.evals.base import EvalContext
from sae_research.evals.tpp.measure import measure_tpp
from sae_research.evals.tpp.settings import TppSettings
from sae_research.reference.scr_and_tpp import SaeBenchAblationPlan, run_tpp


@pytest.fixture(scope="module")
def sets() -> list[LabelledSet]:
    rng = np.random.default_rng(1)
    return [
        LabelledSet(
            name, "none", codes={},
            train={label: draw_texts(rng, 32, 5 + i, 20 + i) for i, label in enumerate(classes)},
            test={label: draw_texts(rng, 20, 5 + i, 20 + i) for i, label in enumerate(classes)},
        )
        for name, classes in (("one", "abc"), ("two", "abcd"))
    ]  # fmt: skip


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SAEBench's folder of activations and probes."""
    return tmp_path_factory.mktemp("artifacts") / "tpp"


@pytest.mark.parametrize(("architecture", "hyper"), SAES)
def test_every_number_is_sae_benchs(
    lens: Any, context: EvalContext, make_sae: MakeSae, sets: list[LabelledSet], artifacts: Path,
    architecture: str, hyper: dict[str, Any],
) -> None:  # fmt: skip
    sae = make_sae(architecture, **hyper)
    plan = SaeBenchAblationPlan(64, 40, N_VALUES, SEED, context_size=12, recipe=RECIPE)
    theirs = run_warm(run_tpp, lens, sae, sets, plan, artifacts)
    settings = TppSettings(
        ("one", "two"), train_size=64, test_size=40, context_size=12, n_values=N_VALUES, sampling="sae_bench",
        rules="sae_bench",
    )  # fmt: skip
    (outcome,) = measure_tpp(context, [sae], {SEED: sets}, settings, RECIPE)
    kinds = ("total_metric", "intended_diff_only", "unintended_diff_only")
    check_same(output_of(outcome), theirs, {f"tpp_{kind}": f"tpp_threshold_{{n}}_{kind}" for kind in kinds})
