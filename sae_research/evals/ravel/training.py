"""Trains swaps on pairs and tests them: every batch is captured once, then each SAE and baseline goes on from there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Concatenate, NamedTuple, ParamSpec, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from sae_research.evals.base import EvalContext
from sae_research.evals.ravel.pairs import Pairs, Split
from sae_research.evals.ravel.prompts import Checker, Prompts, equal_lengths, rows_at_once
from sae_research.evals.ravel.settings import RavelSettings
from sae_research.evals.ravel.swaps import HARD, How, MaskSwap, RotationSwap, Swap
from sae_research.evals.shared.attempts import Attempt
from sae_research.lm.site import Site
from sae_research.workers import side_by_side

Arguments = ParamSpec("Arguments")
Value = TypeVar("Value")

# SAEBench's schedule of temperatures: spaced evenly in their logarithm over all steps.
_HOTTEST, _COLDEST = 1.0, 1e-4
_SAE_VARIANTS = {"": HARD, "soft_": How(_COLDEST), "with_error_": How(with_error=True)}
_BASELINE_VARIANTS = {"": HARD}


@dataclass(eq=False)
class Contender:
    """One SAE's or baseline's swap for one attribute."""

    swap: Swap
    attempt: Attempt | None = None
    """The SAE's; None for a baseline, whose failure is the run's."""
    name: str = ""
    """The baseline's."""
    optimizer: torch.optim.Optimizer | None = field(default=None, init=False)

    @property
    def lives(self) -> bool:
        return self.attempt is None or self.attempt.error is None


class Achieved(NamedTuple):
    """What one swap did on the test pairs of one attribute."""

    pairs: Pairs
    hits: dict[str, np.ndarray]
    """By variant, whether the wanted answer came, for each pair."""
    n_swapped: int | None
    """Features in the hard mask; None where there is none."""


class _Batch(NamedTuple):
    """Base prompts as the model reads them up to the site, and the pairs they belong to."""

    pairs: Pairs
    tokens: Int[Tensor, "pair position"]
    x: Float[Tensor, "pair position d"]
    entity: Int[Tensor, " pair"]
    last: Int[Tensor, " pair"]
    target: Int[Tensor, " pair"]

    def take(self, rows: Tensor) -> _Batch:
        return _Batch(
            self.pairs.take(rows),
            self.tokens[rows],
            self.x[rows],
            self.entity[rows],
            self.last[rows],
            self.target[rows],
        )

    def with_mixed(self, mixed: Tensor) -> Tensor:
        """The activations with `mixed` at the entities."""
        rows = torch.arange(len(self.x), device=self.x.device)
        return self.x.index_put((rows, self.entity), mixed.to(self.x.dtype))


class Contest:
    """All contenders for one attribute."""

    def __init__(
        self, context: EvalContext, site: Site, prompts: Prompts, settings: RavelSettings,
        contenders: Sequence[Contender],
    ) -> None:  # fmt: skip
        self._context, self._lm, self._site = context, context.lm, site
        self._prompts, self._settings, self._contenders = prompts, settings, contenders
        for contender in contenders:
            rate = settings.rotation_learning_rate if _is_rotation(contender) else settings.learning_rate
            if contender.swap.parameters:
                contender.optimizer = torch.optim.Adam(contender.swap.parameters, lr=rate)

    def run(self, split: Split) -> dict[Contender, Achieved]:
        """Trains on one half of the pairs, tests on the other."""
        if len(split.train) and len(split.test):
            self._train(split.train)
        return self._test(split.test)

    def _train(self, pairs: Pairs) -> None:
        parts = torch.arange(len(pairs)).split(self._settings.batch_size)
        temperatures = torch.logspace(
            float(np.log10(_HOTTEST)), float(np.log10(_COLDEST)), self._settings.num_epochs * len(parts)
        ).tolist()
        for step, temperature in enumerate(temperatures):
            batch = self._batch(pairs, parts[step % len(parts)])
            self._each([c for c in self._contenders if c.optimizer is not None], self._step, batch, How(temperature))
            self._advance(len(batch.pairs))

    def _batch(self, pairs: Pairs, rows: Tensor) -> _Batch:
        device, prompts = self._lm.device, self._prompts
        own = pairs.take(rows)
        lengths = prompts.lengths[own.base]
        tokens = prompts.tokens[own.base][:, : int(lengths.max())].to(device)
        x = self._lm.capture(tokens, self._site)
        rest = (prompts.entity[own.base], lengths - 1, prompts.first[own.wanted()])
        return _Batch(own.to(device), tokens, x, *(t.to(device) for t in rest))

    def _step(self, contender: Contender, batch: _Batch, how: How) -> None:
        if contender.swap.cause_only:
            batch = batch.take(batch.pairs.is_cause.nonzero().squeeze(1))
        if not len(batch.pairs):
            return
        assert contender.optimizer is not None
        contender.optimizer.zero_grad()
        with torch.enable_grad():
            mixed = contender.swap.mixed(batch.pairs.base, batch.pairs.source, how)
            hidden = self._lm.resume(self._site, batch.with_mixed(mixed), batch.tokens)
            rows = torch.arange(len(batch.last), device=hidden.device)
            loss = cross_entropy(self._lm.unembed(hidden[rows, batch.last]).float(), batch.target)
            if not bool(loss.isfinite()):
                raise FloatingPointError("the loss of the mask is NaN or infinite")
            loss.backward()
        contender.optimizer.step()

    def _test(self, pairs: Pairs) -> dict[Contender, Achieved]:
        checker = Checker(self._lm, self._settings)
        hits = {c: {variant: np.zeros(len(pairs), dtype=bool) for variant in _variants(c)} for c in self._contenders}
        for rows in equal_lengths(self._prompts.lengths[pairs.base], rows_at_once(self._context)):
            batch = self._batch(pairs, rows)
            for contender, found in self._each(self._contenders, self._answers, batch, checker).items():
                for variant, right in found.items():
                    hits[contender][variant][rows.numpy()] = right
            self._advance(len(rows))
        return {c: Achieved(pairs, hits[c], _n_swapped(c.swap)) for c in self._contenders if c.lives}

    def _answers(self, contender: Contender, batch: _Batch, checker: Checker) -> dict[str, list[bool]]:
        """By variant, whether the wanted answer comes for each pair."""
        return {name: self._answer(contender, batch, how, checker) for name, how in _variants(contender).items()}

    def _answer(self, contender: Contender, batch: _Batch, how: How, checker: Checker) -> list[bool]:
        x = batch.with_mixed(contender.swap.mixed(batch.pairs.base, batch.pairs.source, how))
        items = self._prompts.items
        asked = [items[i] for i in batch.pairs.base.tolist()]
        labels = [items[i].label for i in batch.pairs.wanted().tolist()]
        return checker.ask(batch.tokens, self._site, x, asked, labels).right

    def _each(
        self,
        contenders: Sequence[Contender],
        work: Callable[Concatenate[Contender, Arguments], Value],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> dict[Contender, Value]:
        """What `work` returns for those that live and go on living; a baseline's failure ends the run."""

        def shielded(contender: Contender) -> Value | None:
            if contender.attempt is None:
                return work(contender, *args, **kwargs)
            return contender.attempt.do(work, contender, *args, **kwargs)

        living = [contender for contender in contenders if contender.lives]
        found = dict(zip(living, side_by_side(shielded, living, self._lm.device), strict=True))
        return {own: value for own, value in found.items() if own.lives}  # type: ignore[misc]

    def _advance(self, pairs: int) -> None:
        self._context.progress.advance(pairs, doing=f"{len(self._contenders)} SAEs and baselines")


def _variants(contender: Contender) -> dict[str, How]:
    return _BASELINE_VARIANTS if contender.attempt is None else _SAE_VARIANTS


def _is_rotation(contender: Contender) -> bool:
    return isinstance(contender.swap, RotationSwap)


def _n_swapped(swap: Swap) -> int | None:
    return swap.n_swapped if isinstance(swap, MaskSwap) else None
