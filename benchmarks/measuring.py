"""Wall time of parts, peak memory, and tables."""

from __future__ import annotations

import ctypes
import gc
import statistics
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, TypeVar
from unittest.mock import patch

import torch

from sae_research.errors import UserError
from sae_research.evals.base import Outcome
from sae_research.measurements import EvalOutput

Value = TypeVar("Value")
Label = str | Callable[..., str]
"""A part's name, or the name that follows from the keyword arguments of a call."""


class Stopwatch:
    """Seconds by part, one entry per run."""

    def __init__(self) -> None:
        self._runs: dict[str, list[float]] = defaultdict(list)

    def add(self, part: str, seconds: float) -> None:
        self._runs[part].append(seconds)

    def median(self, part: str) -> float:
        return statistics.median(self._runs[part])


class Inside:
    """Seconds spent inside functions while a block runs, by label; threads share the time that passes."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._was_called: dict[str, bool] = {}
        self._running: Counter[str] = Counter()
        self._last = 0.0
        self._lock = Lock()

    @contextmanager
    def watching(self, *functions: tuple[Any, str, Label]) -> Iterator[None]:
        """Within the block the functions (owner, attribute, label) are timed."""
        with ExitStack() as stack:
            for owner, name, label in functions:
                timed = self.timed(getattr(owner, name), label, name=f"{owner.__name__}.{name}")
                stack.enter_context(patch.object(owner, name, timed))
            yield

    def timed(self, function: Callable[..., Value], label: Label, *, name: str | None = None) -> Callable[..., Value]:
        """`function`, its time counted under `label`; `name` is what an error calls it."""
        name = name or function.__qualname__
        self._was_called.setdefault(name, False)

        def timed(*args: Any, **kwargs: Any) -> Value:
            of_call = label if isinstance(label, str) else label(**kwargs)
            self._was_called[name] = True
            self._change(of_call, 1)
            try:
                return function(*args, **kwargs)
            finally:
                self._change(of_call, -1)

        return timed

    def require(self, parts: Sequence[str]) -> None:
        """UserError if a function was never called or a part never ran: the table of times would show too little."""
        idle = [name for name, was_called in self._was_called.items() if not was_called]
        idle += [f"part {part!r}" for part in parts if part not in self.seconds]
        if idle:
            raise UserError(
                f"timed, but never called: {', '.join(idle)}. If the code no longer goes through it, name in "
                "benchmarks/*_case.py the function that it goes through now; otherwise these amounts are too small"
            )

    def _change(self, label: str, by: int) -> None:
        """Counts one call more or less under `label`; the time since the last change is shared by the running calls."""
        with self._lock:
            passed, self._last = now() - self._last, now()
            running = self._running.total()
            for running_label, calls in self._running.items():
                self.seconds[running_label] += passed * calls / max(1, running)
            self._running[label] += by


def now() -> float:
    """Seconds, after all work on the GPU has finished."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


class Measured(NamedTuple):
    """The result of a call, and its cost."""

    value: Any
    seconds: float
    cpu_seconds: float
    """Of all threads: what other processes do on the machine hardly changes them."""
    peak_bytes: int
    """Peak memory minus the memory in use before; of the GPU if there is one."""


def output_of(outcome: Outcome) -> EvalOutput:
    """The outcome's output; its error is raised."""
    if outcome.output is None:
        raise RuntimeError(f"{outcome.sae.card.name} failed") from outcome.error
    return outcome.output


def measure(work: Callable[[], Any]) -> Measured:
    """Runs `work` once."""
    gc.collect()
    before = _reset_peak()
    started, cpu_started = now(), time.process_time()
    value = work()
    seconds, cpu_seconds = now() - started, time.process_time() - cpu_started
    return Measured(value, seconds, cpu_seconds, max(0, _peak() - before))


def _reset_peak() -> int:
    """Bytes in use now; the peak counts from here."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    if sys.platform != "linux":
        return 0
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _peak() -> int:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return _status("VmHWM") if sys.platform == "linux" else 0


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A markdown table; floats with four significant digits."""
    cells = [list(header), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
