"""SCR beside the real sae_bench 0.6.0: whole runs with its draws, its probes and its rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.ablations import N_VALUES, RECIPE, SAES, SEED, check_same, draw_texts, run_warm
from support.outcomes import MakeSae, output_of

from sae_research.data.paired import PairPool, cut_pair
from sae_research.evals.base import EvalContext
from sae_research.evals.scr.measure import measure_scr
from sae_research.evals.scr.settings import ScrSettings
from sae_research.reference.scr_and_tpp import SaeBenchAblationPlan, run_scr


@pytest.fixture(scope="module")
def pools() -> list[PairPool]:
    """Two data sets; the groups are easier to tell than the classes."""
    rng = np.random.default_rng(0)
    made = []
    for name, classes in (("one", ("a", "b", "c")), ("two", ("d", "e"))):
        splits = [
            {
                label: {group: draw_texts(rng, n, 5 + i, *marks) for group, marks in (("m", (40, 41)), ("f", (50, 51)))}
                for i, label in enumerate(classes)
            }
            for n in (61, 25)
        ]
        pairs = (("a", "b"), ("c", "a")) if name == "one" else (("d", "e"),)
        made.append(PairPool(name, ("m", "f"), pairs, *splits))
    return made


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SAEBench's folder of activations and probes."""
    return tmp_path_factory.mktemp("artifacts") / "scr"


@pytest.mark.parametrize(("architecture", "hyper"), SAES)
def test_every_number_is_sae_benchs(
    lens: Any, context: EvalContext, make_sae: MakeSae, pools: list[PairPool], artifacts: Path,
    architecture: str, hyper: dict[str, Any],
) -> None:  # fmt: skip
    sae = make_sae(architecture, **hyper)
    plan = SaeBenchAblationPlan(120, 48, N_VALUES, SEED, context_size=12, recipe=RECIPE)
    theirs = run_warm(run_scr, lens, sae, pools, plan, artifacts)
    settings = ScrSettings(
        ("one", "two"), train_size=120, test_size=48, context_size=12, n_values=N_VALUES, sampling="sae_bench",
        rules="sae_bench",
    )  # fmt: skip
    pairs = [
        cut_pair(pool, pair, train=30, test=12, seed=SEED, sampling="sae_bench")
        for pool in pools
        for pair in pool.pairs
    ]
    (outcome,) = measure_scr(context, [sae], {SEED: pairs}, settings, RECIPE)
    check_same(output_of(outcome), theirs, {m: f"{m}_threshold_{{n}}" for m in ("scr_metric", "scr_dir1", "scr_dir2")})
