"""Trains and tests the swaps of one attribute: a batch is captured once, then every SAE and baseline resumes there."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Concatenate, NamedTuple, ParamSpec, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from sae_research.evals.base import EvalContext
from sae_research.evals.ravel.pairs import Pairs, PairSplit
from sae_research.evals.ravel.prompts import Checker, Prompts, equal_lengths, rows_at_once
from sae_research.evals.ravel.settings import RavelSettings
from sae_research.evals.ravel.specs import (
    BASELINE_VARIANTS,
    SOFT,
    SOFT_WITH_ERROR,
    VARIANTS,
    WITH_ERROR,
)
from sae_research.evals.ravel.swaps import HARD, MaskMode, MaskSwap, RotationSwap, Swap
from sae_research.evals.shared.attempts import Attempt
from sae_research.lm.site import Site
from sae_research.workers import side_by_side

Arguments = ParamSpec("Arguments")
Value = TypeVar("Value")


@dataclass(eq=False)
class Candidate:
    """The swap of one SAE or baseline for one attribute."""

    swap: Swap
    attempt: Attempt | None = None
    """The SAE's; None for a baseline, whose failure ends the run."""
    name: str = ""
    """The baseline's."""
    optimizer: torch.optim.Optimizer | None = field(default=None, init=False)

    @property
    def failed(self) -> bool:
        return self.attempt is not None and self.attempt.error is not None

    def variants(self, coldest: float) -> dict[str, MaskMode]:
        """The ways in which it is tested, by the prefix of their metrics."""
        modes = {
            "": HARD,
            SOFT: MaskMode(coldest),
            WITH_ERROR: MaskMode(with_error=True),
            SOFT_WITH_ERROR: MaskMode(coldest, with_error=True),
        }
        return {prefix: modes[prefix] for prefix in (BASELINE_VARIANTS if self.attempt is None else VARIANTS)}


class SwapHits(NamedTuple):
    """How one swap did on the test pairs of one attribute."""

    pairs: Pairs
    hits: dict[str, np.ndarray]
    """By variant: for each pair, whether the model gave the wanted answer."""
    n_swapped: int | None
    """Features in the hard mask; None where there is none."""
    n_steps: int
    """Batches of pairs that masks were trained on."""


class _Batch(NamedTuple):
    """Pairs, with the activations of their base prompts at the site."""

    pairs: Pairs
    tokens: Int[Tensor, "pair position"]
    x: Float[Tensor, "pair position d"]
    entity: Int[Tensor, " pair"]
    last: Int[Tensor, " pair"]
    target: Int[Tensor, " pair"]
    """The first token of the wanted answer."""

    def take(self, rows: Tensor) -> _Batch:
        pairs, *tensors = self
        return _Batch(pairs.take(rows), *(tensor[rows] for tensor in tensors))

    def with_entity(self, x_entity: Tensor) -> Tensor:
        """The activations with `x_entity` at the entities."""
        rows = torch.arange(len(self.x), device=self.x.device)
        return self.x.index_put((rows, self.entity), x_entity.to(self.x.dtype))


class AttributeRun:
    """All candidates for one attribute."""

    def __init__(
        self, context: EvalContext, site: Site, prompts: Prompts, checker: Checker, settings: RavelSettings,
        candidates: Sequence[Candidate],
    ) -> None:  # fmt: skip
        self._context, self._lm, self._site = context, context.lm, site
        self._prompts, self._checker, self._candidates = prompts, checker, candidates
        self._settings = settings
        self._variants = {candidate: candidate.variants(settings.coldest) for candidate in candidates}
        self._n_steps = 0
        for candidate in candidates:
            is_rotation = isinstance(candidate.swap, RotationSwap)
            rate = settings.rotation_learning_rate if is_rotation else settings.learning_rate
            if candidate.swap.parameters:
                candidate.optimizer = torch.optim.Adam(candidate.swap.parameters, lr=rate)

    def run(self, split: PairSplit) -> dict[Candidate, SwapHits]:
        """Trains on one part of the pairs, tests on the other."""
        if len(split.train) and len(split.test):
            self._train(split.train)
        return self._test(split.test)

    def _train(self, pairs: Pairs) -> None:
        settings = self._settings
        parts = torch.arange(len(pairs)).split(settings.batch_size)
        self._n_steps = settings.num_epochs * len(parts)
        first, last = settings.hottest, settings.coldest
        if settings.cooling == "log":
            temperatures = torch.logspace(math.log10(first), math.log10(last), self._n_steps)
        else:
            temperatures = torch.linspace(first, last, self._n_steps)
        for step, temperature in enumerate(temperatures.tolist()):
            batch = self._capture(pairs, parts[step % len(parts)])
            trained = [candidate for candidate in self._candidates if candidate.optimizer is not None]
            self._each(trained, self._step, batch, MaskMode(temperature, settings.train_with_error))
            self._advance(len(batch.pairs))

    def _capture(self, pairs: Pairs, rows: Tensor) -> _Batch:
        device, prompts = self._lm.device, self._prompts
        pairs = pairs.take(rows)
        lengths = prompts.lengths[pairs.base]
        tokens = prompts.tokens[pairs.base][:, : int(lengths.max())].to(device)
        x = self._lm.capture(tokens, self._site)
        places = (prompts.entity[pairs.base], lengths - 1, prompts.first[pairs.wanted()])
        return _Batch(pairs.to(device), tokens, x, *(tensor.to(device) for tensor in places))

    def _step(self, candidate: Candidate, batch: _Batch, mode: MaskMode) -> None:
        if candidate.swap.cause_only:
            batch = batch.take(batch.pairs.is_cause.nonzero().squeeze(1))
        if not len(batch.pairs):
            return
        assert candidate.optimizer is not None
        parameters = candidate.swap.parameters
        with torch.enable_grad():
            swapped = candidate.swap.mixed(batch.pairs.base, batch.pairs.source, mode)
            hidden = self._lm.resume(self._site, batch.with_entity(swapped), batch.tokens)
            rows = torch.arange(len(batch.last), device=hidden.device)
            loss = cross_entropy(self._lm.unembed(hidden[rows, batch.last]).float(), batch.target)
            if not bool(loss.isfinite()):
                raise FloatingPointError("the loss of the mask is NaN or infinite")
        # Not `backward`, which would also leave gradients on the language model's own parameters.
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = gradient
        candidate.optimizer.step()

    def _test(self, pairs: Pairs) -> dict[Candidate, SwapHits]:
        hits = {
            c: {variant: np.zeros(len(pairs), dtype=bool) for variant in self._variants[c]} for c in self._candidates
        }
        for rows in equal_lengths(self._prompts.lengths[pairs.base], rows_at_once(self._context)):
            batch = self._capture(pairs, rows)
            for candidate, by_variant in self._each(self._candidates, self._answer, batch).items():
                for variant, right in by_variant.items():
                    hits[candidate][variant][rows.numpy()] = right
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

    def _answer(self, candidate: Candidate, batch: _Batch) -> dict[str, list[bool]]:
        """By variant: for each pair, whether the model gives the wanted answer."""
        all_items = self._prompts.items
        items = [all_items[i] for i in batch.pairs.base.tolist()]
        labels = [all_items[i].label for i in batch.pairs.wanted().tolist()]
        right = {}
        for variant, mode in self._variants[candidate].items():
            x = batch.with_entity(candidate.swap.mixed(batch.pairs.base, batch.pairs.source, mode))
            right[variant] = self._checker.answer(batch.tokens, self._site, x, items, labels).right
        return right

    def _each(
        self,
        candidates: Sequence[Candidate],
        work: Callable[Concatenate[Candidate, Arguments], Value],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> dict[Candidate, Value]:
        """The value of `work` for every candidate that has not failed, now or before; a baseline's error is raised."""

        def attempted(candidate: Candidate) -> Value | None:
            if candidate.attempt is None:
                return work(candidate, *args, **kwargs)
            return candidate.attempt.do(work, candidate, *args, **kwargs)

        running = [candidate for candidate in candidates if not candidate.failed]
        values = zip(running, side_by_side(attempted, running, self._lm.device), strict=True)
        return {candidate: value for candidate, value in values if not candidate.failed}  # type: ignore[misc]

    def _advance(self, pairs: int) -> None:
        self._context.progress.advance(pairs, doing=f"{len(self._candidates)} SAEs and baselines")
