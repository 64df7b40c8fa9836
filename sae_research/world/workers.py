"""Threads that compute side by side, each for itself."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch


@contextmanager
def workers(n: int) -> Iterator[ThreadPoolExecutor]:
    """`n` threads whose tensor operations use no further thread.

    Sums are then ordered by how the work was divided, so the same division gives the same bits on any number of cores;
    and n threads of their own waste less than one operation after another over n threads.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(n, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)
