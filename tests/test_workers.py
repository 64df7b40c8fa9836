"""Work side by side: order, errors, gradients, and one thread for each item."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from support.threads import torch_threads

from sae_research.workers import side_by_side, workers

CPU = torch.device("cpu")


def test_values_come_in_the_order_of_their_items() -> None:
    gates = [threading.Event() for _ in range(2)]

    def second_first(i: int) -> int:
        if i == 0:
            assert gates[1].wait(20)
        gates[i].set()
        return 10 * i

    with torch_threads(2):
        assert side_by_side(second_first, range(2), CPU) == [0, 10]


def test_each_item_has_one_thread_and_the_caller_keeps_its_own() -> None:
    with torch_threads(3):
        seen = side_by_side(lambda _: (torch.get_num_threads(), threading.get_ident()), range(30), CPU)
        assert torch.get_num_threads() == 3
    assert {threads for threads, _ in seen} == {1}
    assert threading.get_ident() not in {ident for _, ident in seen}


@pytest.mark.parametrize("graded", [True, False])
def test_gradients_are_recorded_where_the_caller_records_them(graded: bool) -> None:
    x = torch.ones(2, requires_grad=True)
    with torch.set_grad_enabled(graded):
        assert [y.requires_grad for y in side_by_side(lambda i: i * x, range(2), CPU)] == [graded, graded]


def test_an_error_reaches_the_caller() -> None:
    def fail(i: int) -> int:
        raise ValueError(f"item {i}")

    with pytest.raises(ValueError, match="item 0"):
        side_by_side(fail, range(3), CPU)


def test_on_other_devices_the_caller_computes_by_itself() -> None:
    own = threading.get_ident()
    assert side_by_side(lambda _: threading.get_ident(), range(3), torch.device("meta")) == [own] * 3


def test_workers_leave_the_number_of_threads_as_it_was() -> None:
    with torch_threads(3):
        with workers(2) as pool:
            assert isinstance(pool, ThreadPoolExecutor)
            assert torch.get_num_threads() == 1
            assert list(pool.map(lambda _: torch.get_num_threads(), range(4))) == [1] * 4
        assert torch.get_num_threads() == 3
