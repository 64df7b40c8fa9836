"""The core eval beside the real sae_bench 0.6.0, on a random model and small SAEs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support.outcomes import MakeSae, output_of

from sae_research.evals.base import EvalContext
from sae_research.evals.core.measure import CorePlan, measure_core
from sae_research.evals.core.rows import CoreRows, documents_of
from sae_research.reference.core import run_core

BATCH = 4
OTHER_FORMULA = ("mse", "explained_variance", "relative_reconstruction_bias", "l1")


@pytest.mark.parametrize("keep_special", [True, False])
@pytest.mark.parametrize(
    ("architecture", "hyper"), [("relu", {}), ("topk", {"k": 5}), ("batchtopk", {}), ("mpsae", {"s": 4})]
)
def test_every_number_is_sae_benchs(
    lens: Any, context: EvalContext, make_sae: MakeSae, rows: torch.Tensor,
    architecture: str, hyper: dict[str, Any], keep_special: bool,
) -> None:  # fmt: skip
    sae = make_sae(architecture, **hyper)
    theirs = run_core(lens, sae, rows, batch_size=BATCH, n_reconstruction=2, keep_special=keep_special)
    plan = CorePlan(batch_size=BATCH, n_reconstruction=2 * BATCH, keep_special=keep_special)
    (outcome,) = measure_core(context, [sae], CoreRows(rows, documents_of(rows, context.lm.special_ids)), plan)
    output = output_of(outcome)
    ours = {m.metric: m.value for m in output.measurements}
    for name, expected in theirs.scalars.items():
        same = f"{name}_sae_bench" if f"{name}_sae_bench" in ours else name
        assert ours[same] == pytest.approx(expected, rel=1e-4, abs=1e-6), name
    for name in OTHER_FORMULA:
        assert f"{name}_sae_bench" in ours
    for name, column in theirs.latents.items():
        latents = output.tables["latents"].columns
        values = latents.get(f"{name}_sae_bench", latents[name])
        finite = np.isfinite(values) & np.isfinite(column)
        assert values[finite] == pytest.approx(np.asarray(column)[finite], rel=1e-4, abs=1e-6), name
