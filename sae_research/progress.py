"""One progress bar per stage, on a terminal only."""

from __future__ import annotations

import sys
from types import TracebackType

from tqdm import tqdm


class Progress:
    """A bar at the outermost loop of a stage: what is being measured, how far, time left.

    The bar stays off if stderr is not a terminal.
    """

    def __init__(self, title: str, unit: str = "step", *, shown: bool | None = None) -> None:
        off = not sys.stderr.isatty() if shown is None else not shown
        self._bar = tqdm(desc=title, unit=f" {unit}", disable=off, total=0, dynamic_ncols=True, leave=False)
        self.done = 0

    def expect(self, steps: int) -> None:
        """Add `steps` to the total, so that the time left is known."""
        self._bar.total = (self._bar.total or 0) + steps
        self._bar.refresh()

    def advance(self, steps: int = 1, *, doing: str | None = None) -> None:
        """Count `steps` as done; `doing` names the current SAE, eval or data set."""
        self.done += steps
        if doing is not None:
            self._bar.set_postfix_str(doing, refresh=False)
        self._bar.update(steps)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
