"""Runs of the model that several swaps share, so that a GPU does much in few calls; an error is one swap's alone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from typing import TypeVar

import torch
from torch import Tensor

from sae_research.evals.base import EvalContext
from sae_research.evals.ravel.candidates import Batch, Case, joined
from sae_research.evals.ravel.prompts import rows_at_once
from sae_research.workers import side_by_side

Value = TypeVar("Value")
Run = Callable[[Sequence[Case], Batch, Tensor], Sequence[Value | Exception]]
"""Runs the model on the pairs of some cases, with these activations at the site: a value or an error for each case. A
case is there once for each mode that takes part."""

_OUT_OF_MEMORY = (torch.OutOfMemoryError, MemoryError)

log = logging.getLogger(__name__)


class SharedRuns:
    """Tries swaps, as many in one run of the model as have `most_rows` pairs together; with 0, each in its own.

    Which swaps share a run shows in the last digits of numbers at most, because kernels are chosen by shape.
    """

    def __init__(self, device: torch.device, most_rows: int) -> None:
        self._device, self._most_rows = device, most_rows
        self.are_shared = most_rows > 0

    @classmethod
    def of(cls, context: EvalContext) -> SharedRuns:
        """On a CPU each swap has a run of its own, and its bits; elsewhere a run has as many rows as one of prompts."""
        device = context.lm.device
        return cls(device, 0 if device.type == "cpu" else rows_at_once(context))

    def n_at_once(self, rows: int) -> int:
        """How many times so many rows share a run."""
        return max(1, self._most_rows // rows)

    def each(self, cases: Sequence[Case], run: Run[Value]) -> list[tuple[Case, list[Value]]]:
        """By mode, the values of each case whose candidate has not failed; a baseline's error is raised."""
        running = [case for case in cases if not case.candidate.failed and case.batch.n_pairs]
        if not running:
            return []
        groups = _filled(running, self.n_at_once(_most_pairs(running)))
        results = chain.from_iterable(side_by_side(partial(self._tried, run), groups, self._device))
        values: list[tuple[Case, list[Value]]] = []
        for case, result in zip(running, results, strict=True):
            if isinstance(result, Exception):
                case.candidate.fail(result)
            else:
                values.append((case, result))
        return values

    def _tried(self, run: Run[Value], group: Sequence[Case]) -> list[list[Value] | Exception]:
        """Values or an error for each case; what raises an error is tried again with fewer cases, down to one."""
        pairs = _most_pairs(group)
        n = min(self.n_at_once(pairs), sum(len(case.modes) for case in group))
        try:
            return self._values(run, group, n)
        except Exception as error:
            is_short = n > 1 and isinstance(error, _OUT_OF_MEMORY)
            if len(group) == 1 and not is_short:
                return [error]
            if is_short:
                self._most_rows = (n + 1) // 2 * pairs
                log.warning(
                    "out of memory in a run of the model for %d swaps; from now on for %d: %s", n, (n + 1) // 2, error
                )
        # Not within `except`, where the error still holds memory.
        middle = (len(group) + 1) // 2
        halves = [half for half in (group[:middle], group[middle:]) if half]
        return [value for half in halves for value in self._tried(run, half)]

    def _values(self, run: Run[Value], group: Sequence[Case], n: int) -> list[list[Value] | Exception]:
        """Values or an error for each case, of runs for `n` swaps; those that cannot be mixed take no part."""
        mixed = [_mixed(case) for case in group]
        trials = [(case, x) for case, xs in zip(group, mixed, strict=True) if isinstance(xs, list) for x in xs]
        values: list[Value | Exception] = []
        for start in range(0, len(trials), n):
            cases, x_entity = zip(*trials[start : start + n], strict=True)
            batch = joined([case.batch for case in cases])
            values += run(cases, batch, batch.with_entity(torch.cat(x_entity)))
        ordered = iter(values)
        return [_all_or_error([next(ordered) for _ in xs]) if isinstance(xs, list) else xs for xs in mixed]


def _mixed(case: Case) -> list[Tensor] | Exception:
    try:
        return case.mixed()
    except _OUT_OF_MEMORY:
        # With fewer beside it there may be enough.
        raise
    except Exception as error:
        return error


def _all_or_error(values: list[Value | Exception]) -> list[Value] | Exception:
    """The values, or the first error among them."""
    errors = [value for value in values if isinstance(value, Exception)]
    return errors[0] if errors else values  # type: ignore[return-value]


def _most_pairs(cases: Sequence[Case]) -> int:
    return max(case.batch.n_pairs for case in cases)


def _filled(cases: Sequence[Case], n: int) -> list[list[Case]]:
    """The cases in groups that fill a run for `n` swaps, or of one case that has more modes."""
    groups: list[list[Case]] = []
    room = 0
    for case in cases:
        if len(case.modes) > room:
            groups.append([])
            room = n
        groups[-1].append(case)
        room -= len(case.modes)
    return groups
