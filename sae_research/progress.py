"""The progress of a stage: a bar on a terminal, elsewhere a line a minute."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType

from tqdm import tqdm

log = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 60.0


class Progress:
    """How far the outermost loop of a stage is, what it is at, and how long it will take.

    On a terminal this is a bar. Where stderr is a file or a pipe (`nohup`, Slurm, CI) a line is logged at most once in
    `seconds_between_lines`, so that a log shows signs of life. `shown=False`: neither.
    """

    def __init__(
        self,
        title: str,
        unit: str = "step",
        *,
        shown: bool | None = None,
        seconds_between_lines: float = _SECONDS_BETWEEN_LINES,
    ) -> None:
        on_terminal = sys.stderr.isatty()
        off = not (on_terminal if shown is None else shown)
        self._bar = tqdm(desc=title, unit=f" {unit}", disable=off, total=0, dynamic_ncols=True, leave=False)
        self._shown = shown
        self._logs = shown is None and not on_terminal
        self._title, self._unit, self._doing = title, unit, ""
        self._between = seconds_between_lines
        self._started = self._last_line = time.monotonic()
        self._expected = 0
        self._first: tuple[float, int] | None = None
        self.done = 0

    def another(self, title: str, unit: str) -> Progress:
        """Progress of what is counted in other units, shown where this one is."""
        return Progress(title, unit, shown=self._shown, seconds_between_lines=self._between)

    def expect(self, steps: int) -> None:
        """Add `steps` to the total, so that the time left is known."""
        self._expected += steps
        self._bar.total = (self._bar.total or 0) + steps
        self._bar.refresh()

    def advance(self, steps: int = 1, *, doing: str | None = None) -> None:
        """Count `steps` as done; `doing` names the current SAE, eval or data set."""
        self.done += steps
        if doing is not None:
            self._doing = doing
            self._bar.set_postfix_str(doing, refresh=False)
        self._bar.update(steps)
        now = time.monotonic()
        self._first = self._first or (now, self.done)
        if self._logs and now - self._last_line >= self._between:
            self._last_line = now
            log.info("%s", self._line(now))

    def _line(self, now: float) -> str:
        """`core: 320 of 800 steps (40 %), 2 min 5 s, 3 min 8 s left; 6 SAEs at blocks.9.hook_resid_post`."""
        share, left = "", ""
        if self._expected > 0 and self.done > 0:
            share = f" of {self._expected:,} {self._unit}s ({self.done / self._expected:.0%})".replace("%", " %")
            left = self._left(now)
        doing = f"; {self._doing}" if self._doing else ""
        return f"{self._title}: {self.done:,}{share}, {duration(now - self._started)}{left}{doing}"

    def _left(self, now: float) -> str:
        """The time left at the pace since the first step, which waits for what is done once (buffers, kernels)."""
        if self._first is None or self.done == self._first[1]:
            return ""
        since, begun = self._first
        seconds = (now - since) / (self.done - begun) * max(self._expected - self.done, 0)
        return f", about {duration(seconds)} left"

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()


def duration(seconds: float) -> str:
    """Hours and minutes, or minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_of_hour = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes_of_hour} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
