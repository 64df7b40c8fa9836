"""SCR and TPP beside SAEBench: texts that ablations change something about, and the comparison of whole runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sae_research.measurements import EvalOutput
from sae_research.probes.sae_bench import SaeBenchRecipe
from sae_research.reference.scr_and_tpp import SaeBenchAblationPlan, SaeBenchAblations
from sae_research.saes.base import Sae

N_VALUES = (2, 5, 10, 40)
SEED = 3
SAES: list[tuple[str, dict[str, Any]]] = [("relu", {}), ("mpsae", {"s": 4}), ("jumprelu", {})]
RECIPE = SaeBenchRecipe(epochs=5)


def draw_texts(rng: np.random.Generator, n: int, *words: int) -> list[str]:
    """Texts of 3 to 14 words, more than a third of them out of `words`."""
    return [
        " ".join(f"w{rng.choice(words) if rng.random() < 0.35 else rng.integers(0, 58)}" for _ in range(length))
        for length in rng.integers(3, 15, n)
    ]


def run_warm(
    run: Callable[..., SaeBenchAblations], lens: Any, sae: Sae, data: Any, plan: SaeBenchAblationPlan,
    artifacts: Path,
) -> SaeBenchAblations:  # fmt: skip
    """SAEBench's numbers with full caches; they hold nothing of any SAE."""
    if not artifacts.exists():
        run(lens, sae, data, plan, artifacts=artifacts)
    return run(lens, sae, data, plan, artifacts=artifacts)


def check_same(output: EvalOutput, theirs: SaeBenchAblations, keys: Mapping[str, str]) -> None:
    """Asserts that means and details are SAEBench's; `keys` are its keys by our metrics, with a place for n."""
    for metric, key in keys.items():
        means = {m.at["n"]: m.value for m in output.measurements if m.metric == metric and set(m.at) == {"n"}}
        assert means == pytest.approx({n: theirs.means.get(key.format(n=n)) for n in N_VALUES}, abs=1e-3), metric
    for detail, expected in zip(output.details, theirs.details.values(), strict=True):
        assert {k: v for k, v in detail.items() if k != "dataset_name"} == pytest.approx(dict(expected), abs=1e-3)
    assert any(abs(value) > 0.02 for value in theirs.means.values()), "nothing happened"
