"""Swaps that share runs of the model learn and answer what each does alone, and fail alone."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from support.outcomes import MakeSae
from support.ravel import SETTINGS
from support.simulated_gpu import simulated_gpu
from support.threads import torch_threads
from torch import Tensor

from sae_research.evals.base import EvalContext
from sae_research.evals.ravel.candidates import Batch, Candidate, Case
from sae_research.evals.ravel.pairs import PairSplit, draw_pairs
from sae_research.evals.ravel.prompts import Checker, Prompts
from sae_research.evals.ravel.represented import Represented, represent
from sae_research.evals.ravel.shared_runs import SharedRuns
from sae_research.evals.ravel.swaps import (
    HARD,
    Axes,
    MaskMode,
    MaskSwap,
    RotationSwap,
    Swap,
    WholeSwap,
    principal_axes,
    random_rotation,
)
from sae_research.evals.ravel.training import AttributeRun, SwapHits
from sae_research.evals.shared.attempts import Attempt
from sae_research.lm.model import LanguageModel
from sae_research.lm.site import Site
from sae_research.lm.structure import take_apart
from sae_research.saes.base import Sae

CPU = torch.device("cpu")
WIDTH = 16


class Failing(Swap):
    """Raises an error after some steps."""

    def __init__(self, after: int) -> None:
        self._left = after
        self._weight = torch.zeros(WIDTH).requires_grad_()

    @property
    def parameters(self) -> list[Tensor]:
        return [self._weight]

    def mixed(self, base: Tensor, source: Tensor, modes: Sequence[MaskMode]) -> list[Tensor]:
        if self._left == 0:
            raise ArithmeticError("cannot be mixed")
        self._left -= 1
        return [self._weight.expand(len(base), -1) for _ in modes]


class World(NamedTuple):
    """What swaps are tried on."""

    split: PairSplit
    represented: Represented
    run: Callable[[Sequence[Candidate], SharedRuns], dict[Candidate, SwapHits]]


@pytest.fixture(scope="module")
def saes(make_sae: MakeSae) -> list[Sae]:
    return [make_sae("relu"), make_sae("topk", k=5)]


@pytest.fixture(scope="module")
def world(context: EvalContext, site: Site, prompts: Prompts, checker: Checker, saes: list[Sae]) -> World:
    split = draw_pairs(prompts, "Country", ["Language"], SETTINGS, ("shared",))
    # Half of the batches have no pair for cause: one of the swaps learns nothing from them.
    order = split.train.is_cause.int().argsort()
    split = split._replace(train=split.train.take(order))

    @torch.no_grad()
    def run(candidates: Sequence[Candidate], runs: SharedRuns) -> dict[Candidate, SwapHits]:
        return AttributeRun(context, site, prompts, checker, SETTINGS, candidates, runs=runs).run(split)

    with torch.no_grad():
        represented = represent(context, prompts, {site: [Attempt(sae) for sae in saes]}, split)[site]
    return World(split, represented, run)


def _candidates(world: World) -> list[Candidate]:
    """Masks of two SAEs and a baseline, both kinds of rotations, and a swap that learns nothing.

    Rotations do not start where they do else: some of their gradients are 0 there but for rounding, of which Adam makes
    steps of full length.
    """
    x, latents = world.represented
    draws, rotation = torch.Generator().manual_seed(0), random_rotation(WIDTH, ("shared",))
    das, mdas = RotationSwap(x, rotation, 4), RotationSwap(x, rotation, None)
    with torch.no_grad():
        for parameter in (das.skew, mdas.skew, mdas.mask):
            parameter.copy_(torch.randn(parameter.shape, generator=draws) / 2)
    swaps = {"pca": MaskSwap(Axes(x, principal_axes(x))), "das": das, "mdas": mdas,
             "full_swap": WholeSwap(x, of_source=True)}  # fmt: skip
    return [
        *(Candidate(MaskSwap(features), attempt=Attempt(of.sae)) for of, features in latents.items()),
        *(Candidate(swap, name=name) for name, swap in swaps.items()),
    ]


def _assert_alike(tried: dict[Candidate, SwapHits], alone: dict[Candidate, SwapHits]) -> None:
    """Parameters agree but for rounding, and answers but for few."""
    for (candidate, swap_hits), (other, expected_hits) in zip(tried.items(), alone.items(), strict=True):
        assert candidate.name == other.name
        for parameter, expected in zip(candidate.swap.parameters, other.swap.parameters, strict=True):
            torch.testing.assert_close(parameter, expected, atol=2e-3, rtol=0)
        assert swap_hits.hits.keys() == expected_hits.hits.keys()
        for variant, right in swap_hits.hits.items():
            assert np.mean(right == expected_hits.hits[variant]) > 0.9, (candidate.name, variant)


@pytest.fixture(scope="module")
def alone(world: World) -> dict[Candidate, SwapHits]:
    """Each in runs of its own, as on a CPU."""
    return world.run(_candidates(world), SharedRuns(CPU, 0))


@pytest.mark.parametrize("most_rows", [8, 12, 1000])
def test_swaps_in_shared_runs_learn_and_answer_what_each_does_alone(
    world: World, alone: dict[Candidate, SwapHits], most_rows: int
) -> None:
    """Two and three to a run of 4 pairs, and all of them."""
    _assert_alike(world.run(_candidates(world), SharedRuns(CPU, most_rows)), alone)
    assert next(iter(alone)).swap.parameters[0].detach().abs().max() > 0.1, "nothing was learnt"


def test_a_failing_swap_leaves_its_company_alone(
    world: World, alone: dict[Candidate, SwapHits], saes: list[Sae]
) -> None:
    """One raises an error in its third step, one has no number for a loss."""
    x = world.represented.x
    broken = Candidate(Failing(after=2), attempt=Attempt(saes[0]))
    endless = Candidate(MaskSwap(Axes(x, torch.full((WIDTH, WIDTH), torch.inf))), attempt=Attempt(saes[1]))
    first, *others = _candidates(world)
    tried = world.run([broken, first, endless, *others], SharedRuns(CPU, 1000))
    assert broken.attempt is not None and isinstance(broken.attempt.error, ArithmeticError)
    assert endless.attempt is not None and isinstance(endless.attempt.error, FloatingPointError)
    _assert_alike(tried, alone)
    with pytest.raises(ArithmeticError, match="cannot be mixed"):
        world.run([first, Candidate(Failing(after=2), name="broken")], SharedRuns(CPU, 1000))


def test_a_shared_run_takes_the_place_of_many(world: World, context: EvalContext) -> None:
    """From the site on, the model runs once a step and once for all tests of a length."""
    passes = 0

    def count(*_: Any) -> None:
        nonlocal passes
        passes += 1

    def passes_of(runs: SharedRuns) -> int:
        nonlocal passes
        passes = 0
        world.run(_candidates(world), runs)
        return passes

    handle = context.lm.layers[-1].register_forward_hook(count)
    try:
        with torch_threads(1):  # The work is then done on this thread, by the layers that the hook is on.
            apart, shared = passes_of(SharedRuns(CPU, 0)), passes_of(SharedRuns(CPU, 1000))
    finally:
        handle.remove()
    # 28 steps, 14 without a pair for cause; two lengths, on which SAEs have 4 variants and baselines 2.
    assert apart == 28 * 4 + 14 + 2 * (2 * 4 + 4 * 2)
    assert shared == 28 + 2


def _cases(world: World, n: int, *, modes: Sequence[MaskMode] = (HARD,)) -> list[Case]:
    """Of four pairs each, of SAEs."""
    pairs, x = world.split.train, world.represented.x
    rows = torch.zeros(4, dtype=torch.long)
    batch = Batch(pairs.base[:4], pairs.source[:4], rows[:, None], x[:4, None], rows, rows, rows)
    return [Case(Candidate(WholeSwap(x, of_source=True), attempt=Attempt(next(iter(world.represented.latents)).sae)),
                 batch, modes) for _ in range(n)]  # fmt: skip


def test_out_of_memory_makes_runs_smaller(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody fails, and the next runs are small from the start; who has no room alone fails."""
    runs, rows = SharedRuns(CPU, 1000), []

    def run(cases: Sequence[Case], batch: Batch, x: Tensor) -> list[int | Exception]:
        rows.append(len(x))
        if len(x) > limit:
            raise torch.OutOfMemoryError("no memory for so many rows")
        return [cases.index(case) for case in cases]

    limit = 10
    with torch_threads(1):
        cases = _cases(world, 7)
        assert [case for case, _ in runs.each(cases, run)] == cases
        assert rows == [28, 16, 8, 8, 8, 4] and "out of memory" in caplog.text
        rows.clear()
        assert len(runs.each(cases, run)) == 7 and rows == [8, 8, 8, 4]
        rows.clear()
        soft = MaskMode(1.0)
        [(_, values)] = SharedRuns(CPU, 16).each(_cases(world, 1, modes=[HARD, soft, HARD, soft]), run)
        assert len(values) == 4 and rows == [16, 8, 8]
        limit = 3
        cases = _cases(world, 2)
        assert runs.each(cases, run) == []
        assert all(isinstance(case.candidate.attempt.error, torch.OutOfMemoryError) for case in cases)  # type: ignore[union-attr]


def test_an_error_of_a_run_is_that_of_the_swap_that_causes_it(world: World) -> None:
    cases = _cases(world, 5)

    def run(together: Sequence[Case], batch: Batch, x: Tensor) -> list[int | Exception]:
        if any(case is cases[3] for case in together):
            raise ValueError("not with this one")
        return [len(together)] * len(together)

    values = SharedRuns(CPU, 1000).each(cases, run)
    assert [case for case, _ in values] == [*cases[:3], cases[4]]
    assert [case.candidate.failed for case in cases] == [False, False, False, True, False]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, which needs no stand-in")
def test_runs_are_shared_on_other_devices_than_a_cpu(context: EvalContext, lm: LanguageModel) -> None:
    """On a CPU no bit may depend on the company."""
    assert SharedRuns.of(context).n_at_once(1) == 1 and not SharedRuns.of(context).are_shared
    with simulated_gpu() as device:
        model: Any = copy.deepcopy(lm.plain_model).to(device)
        elsewhere = LanguageModel(take_apart(model, lm.n_layers), lm.tokenizer, name=lm.name, revision=lm.revision)
        runs = SharedRuns.of(replace(context, lm=elsewhere))
    assert runs.n_at_once(4) == context.batch_size and runs.are_shared
