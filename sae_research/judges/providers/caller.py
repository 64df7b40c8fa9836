"""A judge of the caller's own, `sae_research.evaluate(judge=...)`: a function from messages to text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sae_research.errors import UserError
from sae_research.foreign import shown
from sae_research.judges.access import Caller, JudgeAccess, Wanted
from sae_research.judges.one_by_one import OneByOne
from sae_research.judges.records import Answer, Outcome, Request, Unanswered

NEEDS_MODEL = False


class CallersJudge(OneByOne):
    """Calls a function, one request after the other."""

    keeps_answers = False
    host = None

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self.identity: Mapping[str, Any] = {
            "provider": "caller",
            "model": getattr(caller, "__qualname__", type(caller).__name__),
        }

    def answer_one(self, request: Request) -> Outcome:
        """What the function returns."""
        try:
            text = self._caller([{"role": message.role, "content": message.text} for message in request.messages])
        except Exception as error:
            return Unanswered(f"the judge raised {type(error).__name__}: {shown(str(error))}", is_transport=True)
        if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            reason = f"the judge returned a {type(text).__name__}, expected a text"
            return Unanswered(reason, is_transport=True, ends_all=True)
        return Answer(text, "stop", 0, 0, self.identity["model"])


def make(wanted: Wanted, access: JudgeAccess) -> CallersJudge:
    """The judge `caller`."""
    if access.caller is None:
        raise UserError("judge 'caller' is the function of sae_research.evaluate(judge=...); name another judge")
    return CallersJudge(access.caller)
