"""The judge that an eval's settings name: asks it for all SAEs together, and says of each what was asked and answered.

A judge that is not reached fails the SAEs whose requests stayed open, and keeps all answers for the next run. An answer
that cannot be read is asked for once more, and then is an `Unanswered` in its place.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from sae_research.errors import UserError
from sae_research.evals.base import EvalContext
from sae_research.evals.judged.settings import JudgedSettings, read_documents, reading_parts
from sae_research.evals.shared.attempts import Attempt
from sae_research.judges.access import JudgeAccess, Wanted
from sae_research.judges.asking import Asked, Judge, Reply, ask, ask_until_readable
from sae_research.judges.records import Answer, Outcome, Request, Unanswered
from sae_research.progress import Progress

log = logging.getLogger(__name__)

Value = TypeVar("Value")


def open_panel(context: EvalContext, settings: JudgedSettings) -> Panel:
    """The judge of these settings; UserError where it cannot be had."""
    access = context.judges or JudgeAccess()

    def documents() -> list[str]:
        assert settings.reading is not None  # The settings' own check.
        return read_documents(context.hub, settings.reading)

    wanted = Wanted(
        name=settings.judge_name, revision=settings.judge_revision, hub=context.hub, device=str(context.lm.device),
        batch_size=context.batch_size, reading=documents, reading_parts=reading_parts(settings.reading),
    )  # fmt: skip
    return Panel(access.open(wanted), access, title=settings.judge, seed=context.seed, progress=context.progress)


class Panel:
    """An open judge, and what it was asked for each SAE."""

    def __init__(self, judge: Judge, access: JudgeAccess, *, title: str, seed: int, progress: Progress) -> None:
        self._judge, self._access, self._title, self._seed = judge, access, title, seed
        self._store = access.store_of(judge)
        self._outer_progress = progress
        self._tries: dict[Attempt, dict[str, Outcome]] = defaultdict(dict)
        self._unanswered: dict[Attempt, Counter[str]] = defaultdict(Counter)

    def ask(
        self, requests: Mapping[Attempt, Sequence[Request]], read: Callable[[str], Value], *, reminder: str
    ) -> dict[Attempt, list[Value | Unanswered]]:
        """By SAE what `read` (of `judges.replies`) makes of the answers, in order; all go out together, equal ones
        once.

        `reminder` is what is added where an answer could not be read. SAEs that have failed, now or before, are left
        out.
        """
        asking = {attempt: list(of_sae) for attempt, of_sae in requests.items() if attempt.error is None}
        replies = iter(self._ask([r for of_sae in asking.values() for r in of_sae], read, reminder))
        values: dict[Attempt, list[Value | Unanswered]] = {}
        for attempt, of_sae in asking.items():
            own = [next(replies) for _ in of_sae]
            self._enter(attempt, own)
            if attempt.error is None:
                values[attempt] = [reply.value for reply in own]
        return values

    def ask_for_all(
        self, attempts: Iterable[Attempt], requests: Sequence[Request], read: Callable[[str], Value], *, reminder: str
    ) -> list[Value | Unanswered]:
        """The same of requests that concern all SAEs: how fit the judge is. They fail together."""
        replies = self._ask(requests, read, reminder)
        for attempt in attempts:
            self._enter(attempt, replies)
        return [reply.value for reply in replies]

    def digest(self, request: Request) -> str:
        """The name of the answer to `request`."""
        return request.seeded(self._seed).digest(self._judge.identity)

    def record(self, attempt: Attempt) -> Mapping[str, Any]:
        """Who judged an SAE, at what effort, and the answers by digest: `EvalOutput.judge`.

        It depends on the answers alone, and not on which of them were known before.
        """
        outcomes = self._tries[attempt]
        answers = {digest: outcome for digest, outcome in outcomes.items() if isinstance(outcome, Answer)}
        prompt_tokens = sum(answer.prompt_tokens for answer in answers.values())
        completion_tokens = sum(answer.completion_tokens for answer in answers.values())
        judging = self._access.ledger_of(self._judge).judging
        return {
            "identity": dict(self._judge.identity),
            "models": sorted({answer.model for answer in answers.values()}),
            "requests": len(outcomes),
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "dollars": judging.dollars(prompt_tokens, completion_tokens) if judging.has_prices else None,
            "retries": sum(answer.retries for answer in answers.values()),
            "unanswered": dict(sorted(self._unanswered[attempt].items())),
            "answers": {digest: asdict(answers[digest]) for digest in sorted(answers)}
            if self._judge.keeps_answers
            else {},
        }

    def _ask(self, requests: Sequence[Request], read: Callable[[str], Value], reminder: str) -> list[Reply[Value]]:
        with self._outer_progress.another(f"judge {self._title}", "request") as progress:

            def put(some: Sequence[Request]) -> Asked:
                seeded = [request.seeded(self._seed) for request in some]
                return ask(self._judge, seeded, self._store, self._access.ledger_of(self._judge), progress)

            replies = ask_until_readable(put, requests, read, reminder=reminder)
        models = {o.model for reply in replies for o in reply.tries.values() if isinstance(o, Answer)}
        if len(models) > 1:
            log.warning("judge %s: answers are of several models: %s", self._title, ", ".join(sorted(models)))
        return replies

    def _enter(self, attempt: Attempt, replies: Sequence[Reply[Any]]) -> None:
        open_ones = [r.value for r in replies if isinstance(r.value, Unanswered) and r.value.is_transport]
        for reply in replies:
            self._tries[attempt] |= reply.tries
            if isinstance(reply.value, Unanswered):
                self._unanswered[attempt][reply.value.reason] += 1
        if open_ones and attempt.error is None:
            attempt.error = UserError(
                f"judge {self._title}: {len(open_ones)} of {len(replies)} requests are open: {open_ones[0].reason}; "
                "the answers so far are kept, run again to go on"
            )
