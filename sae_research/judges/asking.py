"""Puts requests to a judge: what is in the store is not asked again, and every answer goes there at once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

from sae_research.judges.ledger import Ledger
from sae_research.judges.records import Answer, Message, Outcome, Request, Unanswered
from sae_research.judges.replies import Unreadable
from sae_research.judges.store import AnswerStore
from sae_research.progress import Progress

log = logging.getLogger(__name__)

Value = TypeVar("Value")

_WITHHELD = {
    "length": "the answer was cut at its token limit",
    "content_filter": "the server's content filter withheld the answer",
}


class Judge(Protocol):
    """Who answers; what each module of `judges/providers/` makes."""

    identity: Mapping[str, Any]
    """All that its answers depend on beside the request: provider, model, revision, server."""
    batches_at_once: int
    """How many batches are under way together."""
    keeps_answers: bool
    """Whether its answers go to disk and into results: they took time or money, or may come out otherwise next time."""

    @property
    def host(self) -> str | None:
        """The machine that prompts are sent to; None: none."""
        ...

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        """The requests in batches, by their numbers."""
        ...

    def answer(self, requests: Sequence[Request]) -> list[Outcome]:
        """The outcomes of one batch, in its order. Never raises for what a server does."""
        ...


@dataclass(frozen=True)
class Asked:
    """The outcomes in the order of the requests, and the digest of each request."""

    outcomes: tuple[Outcome, ...]
    digests: tuple[str, ...]
    n_stored: int
    """Requests, equal ones counted once, whose answer was known."""


def ask(judge: Judge, requests: Sequence[Request], store: AnswerStore, ledger: Ledger, progress: Progress) -> Asked:
    """The outcome of every request; equal ones are asked once."""
    digests = tuple(request.digest(judge.identity) for request in requests)
    outcomes: dict[str, Outcome] = {}
    missing: dict[str, Request] = {}
    for digest, request in zip(digests, requests, strict=True):
        if digest not in outcomes and digest not in missing:
            answer = store.get(digest)
            if answer is None:
                missing[digest] = request
            else:
                outcomes[digest] = answer
    n_stored = len(outcomes)
    if missing and judge.keeps_answers:
        log.info("%s", _announcement(judge, list(missing.values()), ledger, n_stored))
    outcomes |= _Round(judge, missing, store, ledger, progress).run()
    return Asked(tuple(outcomes[digest] for digest in digests), digests, n_stored)


def _announcement(judge: Judge, requests: Sequence[Request], ledger: Ledger, n_stored: int) -> str:
    """What is about to be asked, where it goes, and what it can cost."""
    tokens = sum(request.most_input_tokens + request.max_tokens for request in requests)
    parts = [f"{len(requests):,} requests", f"{n_stored:,} answers stored", f"at most {tokens:,} tokens"]
    if ledger.judging.has_prices:
        parts.append(f"{sum(map(ledger.most, requests)):.4f} dollars")
    if judge.host is not None:
        characters = sum(len(message.text) for request in requests for message in request.messages)
        parts.append(f"{characters:,} characters of text go to {judge.host}")
    identity = judge.identity
    return f"judge {identity['provider']}:{identity['model'] or identity['revision']}: {', '.join(parts)}"


class _Round:
    """Requests without an answer, on their way."""

    def __init__(
        self, judge: Judge, missing: Mapping[str, Request], store: AnswerStore, ledger: Ledger, progress: Progress
    ) -> None:
        self._judge, self._store, self._ledger, self._progress = judge, store, ledger, progress
        self._digests, self._requests = list(missing), list(missing.values())
        self._outcomes: dict[str, Outcome] = {}
        self._failed = 0
        self._lock = threading.Lock()

    def run(self) -> dict[str, Outcome]:
        """The outcome of each, by digest."""
        self._progress.expect(len(self._requests))
        pool = ThreadPoolExecutor(self._judge.batches_at_once)
        try:
            # A batch's own error, ours and not the server's, is raised here.
            list(pool.map(self._answer, self._judge.batches(self._requests)))
        finally:
            # Not waited for: after an interruption a request may take a minute.
            pool.shutdown(wait=False, cancel_futures=True)
        return self._outcomes

    def _answer(self, batch: Sequence[int]) -> None:
        sent: list[int] = []
        for i in batch:
            refused = self._ledger.end or self._refusal(self._requests[i])
            if refused is None:
                sent.append(i)
            else:
                self._enter(i, refused)
        if sent:
            outcomes = self._judge.answer([self._requests[i] for i in sent])
            for i, outcome in zip(sent, outcomes, strict=True):
                self._ledger.book(self._requests[i], outcome if isinstance(outcome, Answer) else None)
                self._enter(i, outcome)

    def _refusal(self, request: Request) -> Unanswered | None:
        reason = self._ledger.reserve(request)
        return None if reason is None else Unanswered(reason, is_transport=True, ends_all=True)

    def _enter(self, i: int, outcome: Outcome) -> None:
        if isinstance(outcome, Answer):
            self._store.put(self._digests[i], outcome)
        with self._lock:
            self._outcomes[self._digests[i]] = outcome
            if isinstance(outcome, Unanswered):
                self._failed += 1
                if outcome.ends_all and self._ledger.end is None:
                    self._ledger.end = outcome
            self._progress.advance(doing=f"{self._failed} failed; {self._ledger.summary()}")


@dataclass(frozen=True)
class Reply(Generic[Value]):
    """What became of one request."""

    value: Value | Unanswered
    tries: Mapping[str, Outcome]
    """By digest what was asked for it: once, or twice where the first answer could not be read."""


def ask_until_readable(
    put: Callable[[Sequence[Request]], Asked],
    requests: Sequence[Request],
    read: Callable[[str], Value],
    *,
    reminder: str,
) -> list[Reply[Value]]:
    """What `read` makes of each answer. One that it cannot read is asked for again, once, after `reminder`."""
    first = put(requests)
    tries = [{digest: outcome} for digest, outcome in zip(first.digests, first.outcomes, strict=True)]
    values = [_read(outcome, read) for outcome in first.outcomes]
    again = [i for i, value in enumerate(values) if isinstance(value, Unanswered) and not value.is_transport]
    if again:
        repeated = [
            replace(requests[i], messages=(*requests[i].messages, Message("user", reminder)), attempt=1) for i in again
        ]
        second = put(repeated)
        for i, digest, outcome in zip(again, second.digests, second.outcomes, strict=True):
            values[i] = _read(outcome, read)
            tries[i][digest] = outcome
    return [Reply(value, of_request) for value, of_request in zip(values, tries, strict=True)]


def _read(outcome: Outcome, read: Callable[[str], Value]) -> Value | Unanswered:
    if isinstance(outcome, Unanswered):
        return outcome
    if outcome.finish in _WITHHELD:
        return Unanswered(_WITHHELD[outcome.finish], is_transport=False)
    try:
        return read(outcome.text)
    except Unreadable as error:
        return Unanswered(str(error), is_transport=False)
