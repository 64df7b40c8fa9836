"""Stored answers of another judge, `replay:<provider>:<model>`: nothing is asked, a missing answer is an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sae_research.judges.access import JudgeAccess, Wanted
from sae_research.judges.names import JudgeName, find_provider
from sae_research.judges.records import Outcome, Request, Unanswered

NEEDS_MODEL = True


class ReplayJudge:
    """Has the identity of the other judge, so that this one's answers in the store are found; gives none itself."""

    batches_at_once = 1
    keeps_answers = True
    host = None

    def __init__(self, name: JudgeName, identity: Mapping[str, Any]) -> None:
        self._name, self.identity = name, identity

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        """All in one."""
        return [list(range(len(requests)))] if requests else []

    def answer(self, requests: Sequence[Request]) -> list[Outcome]:
        """That there is none."""
        return [self._missing(request) for request in requests]

    def _missing(self, request: Request) -> Unanswered:
        digest = request.digest(self.identity)
        return Unanswered(
            f"no answer of {self._name} is stored to request {digest[:12]} ({request.messages[0].text[:40]}...); pull "
            f"the results that hold it (`dvc pull`), or set judge to {self._name} to ask",
            is_transport=True,
        )


def make(wanted: Wanted, access: JudgeAccess) -> ReplayJudge:
    """The judge `replay:<provider>:<model>`."""
    name = wanted.name.original
    identity = find_provider(name).identity_of(replace(wanted, name=name), access)
    return ReplayJudge(name, identity)
