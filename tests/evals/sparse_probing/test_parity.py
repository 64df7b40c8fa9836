"""Sparse probing beside the real sae_bench 0.6.0, on a random model and small SAEs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.outcomes import MakeSae

from sae_research.data.labelled import LabelledSet
from sae_research.evals.base import EvalContext
from sae_research.evals.shared.attempts import Attempt
from sae_research.evals.shared.pooling import pool_texts
from sae_research.evals.sparse_probing.measure import measure_probing
from sae_research.evals.sparse_probing.settings import SparseProbingSettings
from sae_research.probes.tasks import make_tasks, rank_features, score_top_k
from sae_research.reference import sparse_probing as sae_bench_probing
from sae_research.reference.sparse_probing import SaeBenchProbingPlan


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """20 texts of class a, 20 of b, then 10 and 10 for the test; a has more of the low words."""
    rng = np.random.default_rng(0)
    made = []
    for low in (True, False, True, False):
        n = 20 if len(made) < 40 else 10
        made += [
            " ".join(f"w{rng.integers(3, 40 if low else 58)}" for _ in range(rng.integers(3, 15))) for _ in range(n)
        ]
    return made


def test_pooled_activations_and_codes_are_sae_benchs(
    lens: Any, context: EvalContext, make_sae: MakeSae, texts: list[str]
) -> None:
    sae = make_sae("relu")
    theirs = sae_bench_probing.pool(lens, sae, texts, context_size=12)
    attempt = Attempt(sae)
    channels, codes = pool_texts(context, [attempt], texts, site=sae.card.site, context_size=12)
    torch.testing.assert_close(channels, theirs.channels, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(codes[attempt], theirs.codes, rtol=1e-4, atol=1e-5)


def test_chosen_latents_and_accuracies_are_sae_benchs(
    context: EvalContext, make_sae: MakeSae, texts: list[str]
) -> None:
    sae = make_sae("relu")
    attempt = Attempt(sae)
    pooled = pool_texts(context, [attempt], texts, site=sae.card.site, context_size=12)[1][attempt]
    assert isinstance(pooled, torch.Tensor)
    train, test = pooled[:40], pooled[40:]
    tasks = make_tasks({"a": 20, "b": 20}, {"a": 10, "b": 10}, key=("parity",))
    scores = score_top_k(train, test, tasks, (1, 2, 5, 20))
    for i, name in enumerate(tasks.classes):
        seen, asked = (
            (train[tasks.train.rows[i]], tasks.train.positive[i]),
            (test[tasks.test.rows[i]], tasks.test.positive[i]),
        )
        for k, found in scores.items():
            best = sae_bench_probing.best_features(*seen, k)
            assert best.tolist() == sorted(rank_features(train, tasks.train, k)[i].tolist())
            accuracy = sae_bench_probing.probe_accuracy((seen[0][:, best], seen[1]), (asked[0][:, best], asked[1]))
            assert found[name].accuracy == pytest.approx(accuracy, abs=0.051)  # One of 20 examples.


def test_whole_runs_with_sae_benchs_draws(
    lens: Any, context: EvalContext, make_sae: MakeSae, texts: list[str], tmp_path: Path
) -> None:
    """Whole runs: SAEBench's own draws, its latents, and its accuracies to within one test example."""
    sets = [
        LabelledSet(
            name, "none",
            train={"a": cut[:15], "b": cut[20:35], "c": cut[5:20]},
            test={"a": cut[40:48], "b": cut[50:58], "c": cut[42:50]}, codes={},
        )
        for name, cut in (("one", texts), ("two", texts[::-1][20:] + texts[::-1][:20]))
    ]  # fmt: skip
    plan = SaeBenchProbingPlan(k_values=(1, 5, 20), seed=3, context_size=12, lower_vram_usage=True)
    settings = SparseProbingSettings(
        dataset_names=("one", "two"), train_size=30, test_size=16, context_size=12, k_values=(1, 5, 20),
        sampling="sae_bench",
    )  # fmt: skip
    for sae in (make_sae("relu"), make_sae("topk", k=5)):
        for _ in range(2):  # The first run fills the cache; the second is warm.
            theirs = sae_bench_probing.run_sparse_probing(lens, sae, sets, plan, artifacts=tmp_path)
        (outcome,) = measure_probing(context, [sae], {3: sets}, settings)
        assert outcome.output is not None
        for name in ("one", "two"):
            for k in (1, 5, 20):
                key = f"sae_top_{k}_test_accuracy"
                ours = outcome.output.unstructured[f"{name}_results"][key]
                expected = theirs.per_class[name][key]
                assert ours == pytest.approx(expected, abs=1 / 16 + 1e-6), (sae.card.name, name, k)
