"""How one run reaches its judges: the connection, the answers so far, the account, and the judges that are open."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sae_research.judges.asking import Judge
from sae_research.judges.ledger import Ledger
from sae_research.judges.names import JudgeName, find_provider
from sae_research.judges.settings import Judging
from sae_research.judges.store import AnswerStore

if TYPE_CHECKING:
    from sae_research.sources.hub import Hub

Caller = Callable[[list[dict[str, str]]], str]
"""A judge of the caller's own: from messages, each with `role` and `content`, to text."""


@dataclass(eq=False)
class JudgeAccess:
    """What all evals of one run share: the account holds for them together, and a judge is opened once."""

    judging: Judging = field(default_factory=Judging)
    answers: Path | None = None
    """The folder of the answers; None: they are kept in memory."""
    caller: Caller | None = None
    """Who the judge `caller` is."""

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.judging)
        self.store = AnswerStore(self.answers)
        self._free = Ledger(Judging())
        self._in_memory = AnswerStore(None)
        self._open: dict[object, Judge] = {}

    def open(self, wanted: Wanted) -> Judge:
        """The judge, ready to be asked; UserError where it cannot be reached or its settings do not do."""
        if wanted.named not in self._open:
            self._open[wanted.named] = find_provider(wanted.name).make(wanted, self)
        return self._open[wanted.named]

    def ledger_of(self, judge: Judge) -> Ledger:
        """The account of this run; a judge in this process costs nothing, and has one without limits or prices."""
        return self.ledger if judge.host is not None else self._free

    def store_of(self, judge: Judge) -> AnswerStore:
        """Where its answers go: to disk, unless to ask again costs nothing."""
        return self.store if judge.keeps_answers else self._in_memory


@dataclass(frozen=True)
class Wanted:
    """A judge, and what providers may need to make it."""

    name: JudgeName
    revision: str | None
    hub: Hub
    device: str
    """Where a model in this process runs."""
    batch_size: int
    """Requests that such a model answers together; changes no answer."""
    reading: Callable[[], Sequence[str]]
    """Documents that the rule judge reads beforehand."""
    reading_parts: Mapping[str, object]
    """What determines them."""

    @property
    def named(self) -> object:
        """What tells it from other judges of a run."""
        return self.name, self.revision, tuple(sorted(self.reading_parts.items()))
