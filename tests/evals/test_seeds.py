"""`seeds`: draws of texts and probes repeated, through `run_eval`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest
from support.outcomes import MakeSae
from support.tiny_data import write_bios, write_news

from sae_research.errors import UserError
from sae_research.evals.base import Eval, EvalContext
from sae_research.evals.run import run_eval
from sae_research.evals.scr.eval import SCR
from sae_research.evals.scr.settings import ScrSettings
from sae_research.evals.sparse_probing.eval import SPARSE_PROBING
from sae_research.evals.sparse_probing.settings import SparseProbingSettings
from sae_research.evals.tpp.eval import TPP
from sae_research.evals.tpp.settings import TppSettings
from sae_research.measurements import Measurement

CASES = [
    (SPARSE_PROBING, SparseProbingSettings(("embedded/news",), 20, 10, 12, (1, 2)), "sae_top_k_test_accuracy"),
    (SCR, ScrSettings(("embedded/bios",), 40, 32, 12, (2, 5)), "scr_dir1"),
    (TPP, TppSettings(("embedded/bios",), 32, 16, 12, (2, 5)), "tpp_total_metric"),
]


@pytest.fixture
def filled(context: EvalContext) -> EvalContext:
    """The context with labelled data sets in its world, from which seeds draw different texts."""
    write_news(context.hub.world)
    write_bios(context.hub.world)
    return context


def _measurements(
    context: EvalContext, evaluated: Eval, settings: Any, make_sae: MakeSae, seeds: Sequence[int] = ()
) -> Sequence[Measurement]:
    settings = dataclasses.replace(settings, seeds=tuple(seeds))
    (measured,) = run_eval(context, evaluated, settings, [make_sae("topk", k=4)], parts=lambda _: {})
    if measured.result is None:
        raise measured.error or AssertionError
    return measured.result.output.measurements


def _of(measurements: Sequence[Measurement], metric: str, **at: Any) -> Measurement:
    return next(m for m in measurements if m.metric == metric and dict(m.at) == at)


@pytest.mark.parametrize(("evaluated", "settings", "metric"), CASES, ids=lambda case: getattr(case, "name", ""))
def test_numbers_are_means_over_what_each_seed_alone_gives(
    filled: EvalContext, make_sae: MakeSae, evaluated: Eval, settings: Any, metric: str
) -> None:
    together = _measurements(filled, evaluated, settings, make_sae, [7, 8, 9])
    place = next(dict(m.at) for m in together if m.metric == metric and m.value is not None)
    alone = {
        seed: _of(_measurements(dataclasses.replace(filled, seed=seed), evaluated, settings, make_sae), metric, **place)
        for seed in (0, 7, 8, 9)
    }
    values = {seed: m.value for seed, m in alone.items()}
    assert len(set(values.values())) > 1, "the seeds draw different texts"
    assert {seed: _of(together, metric, **place, seed=seed).value for seed in values} == pytest.approx(values)
    assert _of(together, metric, **place).value == pytest.approx(sum(values.values()) / 4)  # type: ignore[arg-type]


@pytest.mark.parametrize(("evaluated", "settings", "metric"), CASES, ids=lambda case: getattr(case, "name", ""))
def test_the_runs_own_seed_is_no_further_one(
    filled: EvalContext, make_sae: MakeSae, evaluated: Eval, settings: Any, metric: str
) -> None:
    with pytest.raises(UserError, match=rf"{evaluated.section}.seeds holds 0, which is random_seed"):
        _measurements(filled, evaluated, settings, make_sae, [3, 0])
