"""Trains and tests the swaps of one attribute: a batch is captured once, then SAEs and baselines resume there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim import Adam, Optimizer

from sae_research.evals.base import EvalContext
from sae_research.evals.ravel.candidates import Batch, Candidate, Case
from sae_research.evals.ravel.pairs import Pairs, PairSplit
from sae_research.evals.ravel.prompts import Checker, Prompts, equal_lengths, rows_at_once
from sae_research.evals.ravel.settings import RavelSettings
from sae_research.evals.ravel.shared_runs import Run, SharedRuns
from sae_research.evals.ravel.swaps import MaskMode, MaskSwap, RotationSwap
from sae_research.lm.site import Site
from sae_research.workers import side_by_side


class SwapHits(NamedTuple):
    """How one swap did on the test pairs of one attribute."""

    pairs: Pairs
    hits: dict[str, np.ndarray]
    """By variant: for each pair, whether the model gave the wanted answer."""
    n_swapped: int | None
    """Features in the hard mask; None where there is none."""
    n_steps: int
    """Batches of pairs that masks were trained on."""


class AttributeRun:
    """All candidates for one attribute."""

    def __init__(
        self, context: EvalContext, site: Site, prompts: Prompts, checker: Checker, settings: RavelSettings,
        candidates: Sequence[Candidate], *, runs: SharedRuns,
    ) -> None:  # fmt: skip
        self._context, self._lm, self._site = context, context.lm, site
        self._prompts, self._checker, self._candidates = prompts, checker, candidates
        self._settings, self._runs = settings, runs
        self._n_steps = 0
        self._optimizers = _optimizers(candidates, settings, shared=runs.are_shared)

    def run(self, split: PairSplit) -> dict[Candidate, SwapHits]:
        """Trains on one part of the pairs, tests on the other."""
        if len(split.train) and len(split.test):
            self._train(split.train)
        return self._test(split.test)

    def _train(self, pairs: Pairs) -> None:
        settings = self._settings
        self._n_steps = settings.num_epochs * math.ceil(len(pairs) / settings.batch_size)
        first, last = settings.hottest, settings.coldest
        if settings.cooling == "log":
            temperatures = torch.logspace(math.log10(first), math.log10(last), self._n_steps)
        else:
            temperatures = torch.linspace(first, last, self._n_steps)
        for (part, batch), temperature in zip(self._batches(pairs), temperatures.tolist(), strict=True):
            self._step(part, batch, MaskMode(temperature, settings.train_with_error))
            self._advance(len(part))

    def _batches(self, pairs: Pairs) -> Iterator[tuple[Pairs, Batch]]:
        """The batch of each step; where runs are shared, one captures several batches."""
        size = self._settings.batch_size
        chunks = torch.arange(len(pairs)).split(size * self._runs.n_at_once(size))
        captured: Batch | None = None
        for chunk in chunks * self._settings.num_epochs:
            if captured is None or len(chunks) > 1:
                captured = self._capture(pairs.take(chunk))
            for i, rows in enumerate(chunk.split(size)):
                part = pairs.take(rows)
                longest = int(self._prompts.lengths[part.base].max())
                yield part, captured.between(i * size, i * size + len(rows), longest=longest)

    def _capture(self, pairs: Pairs) -> Batch:
        device, prompts = self._lm.device, self._prompts
        lengths = prompts.lengths[pairs.base]
        tokens = prompts.tokens[pairs.base][:, : int(lengths.max())].to(device)
        x = self._lm.capture(tokens, self._site)
        places = (prompts.entity[pairs.base], lengths - 1, prompts.first[pairs.wanted()])
        return Batch(pairs.base.to(device), pairs.source.to(device), tokens, x, *(place.to(device) for place in places))

    def _step(self, pairs: Pairs, batch: Batch, mode: MaskMode) -> None:
        """One step of every mask and rotation."""
        batches = {False: batch}
        if any(candidate.swap.cause_only for candidate in self._optimizers):
            batches[True] = batch.take(pairs.is_cause.nonzero().squeeze(1).to(self._lm.device))
        cases = [Case(candidate, batches[candidate.swap.cause_only], [mode]) for candidate in self._optimizers]
        with torch.enable_grad():
            of_cases = self._runs.each(cases, self._gradients)
        for case, [gradients] in of_cases:
            for parameter, gradient in zip(case.candidate.swap.parameters, gradients, strict=True):
                # As all parameters are; see `RotationSwap`.
                parameter.grad = gradient.contiguous()
        optimizers = dict.fromkeys(self._optimizers[case.candidate] for case, _ in of_cases)
        side_by_side(_use_gradients, optimizers, self._lm.device)

    def _gradients(self, cases: Sequence[Case], batch: Batch, x: Tensor) -> list[list[Tensor] | Exception]:
        """The gradients of each case's mean loss over its pairs; an error where that loss is no number."""
        hidden = self._lm.resume(self._site, x, batch.tokens)
        rows = torch.arange(batch.n_pairs, device=hidden.device)
        losses = cross_entropy(self._lm.unembed(hidden[rows, batch.last]).float(), batch.target, reduction="none")
        sizes = [case.batch.n_pairs for case in cases]
        shares = losses.new_tensor([1 / size for size in sizes for _ in range(size)])
        # No row reads another's, so a sum over the rows of all cases has the gradients of each. Not `backward`, which
        # would also leave gradients on the language model's own parameters.
        parameters = [parameter for case in cases for parameter in case.candidate.swap.parameters]
        gradients = iter(torch.autograd.grad(losses, parameters, shares))
        is_finite = losses.isfinite().tolist()
        values: list[list[Tensor] | Exception] = []
        for case, end in zip(cases, accumulate(sizes), strict=True):
            of_case = [next(gradients) for _ in case.candidate.swap.parameters]
            is_number = all(is_finite[end - case.batch.n_pairs : end])
            values.append(of_case if is_number else FloatingPointError("the loss of the mask is NaN or infinite"))
        return values

    def _test(self, pairs: Pairs) -> dict[Candidate, SwapHits]:
        variants = {candidate: candidate.variants(self._settings.coldest) for candidate in self._candidates}
        hits = {c: {variant: np.zeros(len(pairs), dtype=bool) for variant in variants[c]} for c in self._candidates}
        for rows in equal_lengths(self._prompts.lengths[pairs.base], rows_at_once(self._context)):
            part = pairs.take(rows)
            batch = self._capture(part)
            cases = [Case(candidate, batch, list(modes.values())) for candidate, modes in variants.items()]
            for case, by_mode in self._runs.each(cases, self._answers(part)):
                for of_variant, right in zip(hits[case.candidate].values(), by_mode, strict=True):
                    of_variant[rows.numpy()] = right
            self._advance(len(rows))
        return {
            candidate: SwapHits(
                pairs,
                hits[candidate],
                candidate.swap.n_swapped if isinstance(candidate.swap, MaskSwap) else None,
                self._n_steps,
            )
            for candidate in self._candidates
            if not candidate.failed
        }

    def _answers(self, pairs: Pairs) -> Run[list[bool]]:
        """A run that says of each case, for each of `pairs`, whether the model gives the wanted answer."""
        items = [self._prompts.items[i] for i in pairs.base.tolist()]
        labels = [self._prompts.items[i].label for i in pairs.wanted().tolist()]

        def run(cases: Sequence[Case], batch: Batch, x: Tensor) -> list[list[bool] | Exception]:
            n = len(cases)
            right = self._checker.answer(batch.tokens, self._site, x, items * n, labels * n).right
            return [right[start : start + len(items)] for start in range(0, len(right), len(items))]

        return run

    def _advance(self, pairs: int) -> None:
        self._context.progress.advance(pairs, doing=f"{len(self._candidates)} SAEs and baselines")


def _optimizers(
    candidates: Sequence[Candidate], settings: RavelSettings, *, shared: bool
) -> dict[Candidate, Optimizer]:
    """Adam for every candidate that learns: one of its own, or one in few calls for all, whose states stay apart."""
    rates = {
        candidate: settings.rotation_learning_rate
        if isinstance(candidate.swap, RotationSwap)
        else settings.learning_rate
        for candidate in candidates
        if candidate.swap.parameters
    }
    if not shared:
        return {candidate: Adam(candidate.swap.parameters, lr=rate) for candidate, rate in rates.items()}
    groups = [
        {"params": [p for c in rates if rates[c] == rate for p in c.swap.parameters], "lr": rate}
        for rate in dict.fromkeys(rates.values())
    ]
    return dict.fromkeys(rates, Adam(groups, fused=True)) if groups else {}


def _use_gradients(optimizer: Optimizer) -> None:
    """A step of the parameters that have gradients, and an end to these."""
    optimizer.step()
    optimizer.zero_grad()
