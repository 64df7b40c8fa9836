"""Threads that compute side by side, each for itself: less is wasted than where each operation is divided over them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

import torch

Item = TypeVar("Item")
Value = TypeVar("Value")


def side_by_side(function: Callable[[Item], Value], items: Iterable[Item], device: torch.device) -> list[Value]:
    """`function` of every item, in their order; the first error ends it.

    On the CPU as many items at a time as torch has threads, each by a single thread, even where there is only one item:
    so no bit depends on how many threads or items there are. On other devices, and on a thread that is already one of
    several, one after the other.
    """
    if device.type != "cpu" or torch.get_num_threads() == 1:
        return [function(item) for item in items]
    graded = torch.is_grad_enabled()

    def compute(item: Item) -> Value:
        with torch.set_grad_enabled(graded):
            return function(item)

    return list(_lasting_workers(torch.get_num_threads()).map(compute, items))


@contextmanager
def workers(n: int) -> Iterator[ThreadPoolExecutor]:
    """`n` threads whose tensor operations use no further thread; those of the block use none either.

    Sums are then ordered by how the work was divided: the same division gives the same bits on any number of cores.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    pool = _workers(n)
    try:
        yield pool
    finally:
        # Not waited for: after an interruption they may never end.
        pool.shutdown(wait=False, cancel_futures=True)
        torch.set_num_threads(before)


@cache
def _lasting_workers(n: int) -> ThreadPoolExecutor:
    """Kept until the process ends, with what a thread has made for itself."""
    return _workers(n)


def _workers(n: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n, initializer=torch.set_num_threads, initargs=(1,))
