"""SCR and TPP beside the real sae_bench 0.6.0: whole runs with its draws, its probes and its rules."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.outcomes import MakeSae

from sae_research.data.labelled import LabelledSet
from sae_research.data.paired import PairPool, cut_pair
from sae_research.evals.base import EvalContext
from sae_research.evals.scr.measure import measure_scr
from sae_research.evals.scr.settings import ScrSettings
from sae_research.evals.tpp.measure import measure_tpp
from sae_research.evals.tpp.settings import TppSettings
from sae_research.measurements import EvalOutput
from sae_research.probes.sae_bench import SaeBenchRecipe
from sae_research.reference.scr_and_tpp import SaeBenchAblationPlan, SaeBenchAblations, run_scr, run_tpp
from sae_research.saes.base import Sae

N_VALUES = (2, 5, 10, 40)
SEED = 3


def _texts(rng: np.random.Generator, n: int, *words: int) -> list[str]:
    """Texts of 3 to 14 words, more than a third of them out of `words`."""
    return [
        " ".join(f"w{rng.choice(words) if rng.random() < 0.35 else rng.integers(0, 58)}" for _ in range(length))
        for length in rng.integers(3, 15, n)
    ]


@pytest.fixture(scope="module")
def pools() -> list[PairPool]:
    """Two data sets; the groups are easier to tell than the classes."""
    rng = np.random.default_rng(0)
    made = []
    for name, classes in (("one", ("a", "b", "c")), ("two", ("d", "e"))):
        splits = [
            {
                label: {group: _texts(rng, n, 5 + i, *marks) for group, marks in (("m", (40, 41)), ("f", (50, 51)))}
                for i, label in enumerate(classes)
            }
            for n in (61, 25)
        ]
        pairs = (("a", "b"), ("c", "a")) if name == "one" else (("d", "e"),)
        made.append(PairPool(name, ("m", "f"), pairs, *splits))
    return made


@pytest.fixture(scope="module")
def sets() -> list[LabelledSet]:
    rng = np.random.default_rng(1)
    return [
        LabelledSet(
            name, "none", codes={},
            train={label: _texts(rng, 32, 5 + i, 20 + i) for i, label in enumerate(classes)},
            test={label: _texts(rng, 20, 5 + i, 20 + i) for i, label in enumerate(classes)},
        )
        for name, classes in (("one", "abc"), ("two", "abcd"))
    ]  # fmt: skip


SAES = [("relu", {}), ("mpsae", {"s": 4}), ("jumprelu", {})]
RECIPE = SaeBenchRecipe(epochs=5)


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SAEBench's caches: they hold nothing of any SAE."""
    return tmp_path_factory.mktemp("artifacts")


@pytest.mark.parametrize(("architecture", "hyper"), SAES)
def test_scr(
    lens: Any, context: EvalContext, make_sae: MakeSae, pools: list[PairPool], artifacts: Path,
    architecture: str, hyper: dict[str, Any],
) -> None:  # fmt: skip
    sae = make_sae(architecture, **hyper)
    plan = SaeBenchAblationPlan(120, 48, N_VALUES, SEED, context_size=12, recipe=RECIPE)
    sae_bench = _warm(run_scr, lens, sae, pools, plan, artifacts / "scr")
    settings = ScrSettings(
        ("one", "two"), train_size=120, test_size=48, context_size=12, n_values=N_VALUES, sampling="sae_bench",
        rules="sae_bench",
    )  # fmt: skip
    pairs = [
        cut_pair(pool, pair, train=30, test=12, seed=SEED, sampling="sae_bench")
        for pool in pools
        for pair in pool.pairs
    ]
    (outcome,) = measure_scr(dataclasses.replace(context, seed=SEED), [sae], pairs, settings, RECIPE)
    assert outcome.output is not None, outcome.error
    _compare(outcome.output, sae_bench, {m: f"{m}_threshold_{{n}}" for m in ("scr_metric", "scr_dir1", "scr_dir2")})


@pytest.mark.parametrize(("architecture", "hyper"), SAES)
def test_tpp(
    lens: Any, context: EvalContext, make_sae: MakeSae, sets: list[LabelledSet], artifacts: Path,
    architecture: str, hyper: dict[str, Any],
) -> None:  # fmt: skip
    sae = make_sae(architecture, **hyper)
    plan = SaeBenchAblationPlan(64, 40, N_VALUES, SEED, context_size=12, recipe=RECIPE)
    sae_bench = _warm(run_tpp, lens, sae, sets, plan, artifacts / "tpp")
    settings = TppSettings(
        ("one", "two"), train_size=64, test_size=40, context_size=12, n_values=N_VALUES, sampling="sae_bench",
        rules="sae_bench",
    )  # fmt: skip
    (outcome,) = measure_tpp(dataclasses.replace(context, seed=SEED), [sae], sets, settings, RECIPE)
    assert outcome.output is not None, outcome.error
    kinds = ("total_metric", "intended_diff_only", "unintended_diff_only")
    _compare(outcome.output, sae_bench, {f"tpp_{kind}": f"tpp_threshold_{{n}}_{kind}" for kind in kinds})


def _warm(
    run: Callable[..., SaeBenchAblations], lens: Any, sae: Sae, data: Any, plan: SaeBenchAblationPlan,
    artifacts: Path,
) -> SaeBenchAblations:  # fmt: skip
    """SAEBench's numbers with full caches."""
    if not artifacts.exists():
        run(lens, sae, data, plan, artifacts=artifacts)
    return run(lens, sae, data, plan, artifacts=artifacts)


def _compare(output: EvalOutput, sae_bench: SaeBenchAblations, keys: dict[str, str]) -> None:
    for metric, key in keys.items():
        ours = {m.at["n"]: m.value for m in output.measurements if m.metric == metric and set(m.at) == {"n"}}
        theirs = {n: sae_bench.means.get(key.format(n=n)) for n in N_VALUES}
        assert ours == pytest.approx(theirs, abs=1e-3), metric
    for ours, theirs in zip(output.details, sae_bench.details.values(), strict=True):
        assert {k: v for k, v in ours.items() if k != "dataset_name"} == pytest.approx(dict(theirs), abs=1e-3)
    assert any(abs(value) > 0.02 for value in sae_bench.means.values()), "nothing happened"
