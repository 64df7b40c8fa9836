"""Threads that work on separate items, which wastes less time than dividing each operation among them."""

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

    On the CPU, as many items at a time as torch has threads, and a single thread for each, even if there is only one
    item: so no bit depends on how many threads or items there are. On other devices, and on a thread that is itself one
    of several, one item after the other.
    """
    if device.type != "cpu" or torch.get_num_threads() == 1:
        return [function(item) for item in items]
    with_gradients = torch.is_grad_enabled()

    def compute(item: Item) -> Value:
        with torch.set_grad_enabled(with_gradients):
            return function(item)

    return list(_lasting_workers(torch.get_num_threads()).map(compute, items))


@contextmanager
def workers(n: int) -> Iterator[ThreadPoolExecutor]:
    """`n` threads whose tensor operations use a single thread each; within the block, so do the caller's.

    The order of sums then depends only on how the work was divided: the same division gives the same bits on any number
    of cores.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    pool = _workers(n)
    try:
        yield pool
    finally:
        # Not waited for, because after an interruption they may never end.
        pool.shutdown(wait=False, cancel_futures=True)
        torch.set_num_threads(before)


@cache
def _lasting_workers(n: int) -> ThreadPoolExecutor:
    """The same threads until the process ends, because each holds modules of its own (`LanguageModel`)."""
    return _workers(n)


def _workers(n: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n, initializer=torch.set_num_threads, initargs=(1,))
