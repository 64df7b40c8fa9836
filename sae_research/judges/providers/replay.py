"""Stored answers of another judge, `replay:<provider>:<model>`: nothing is asked, a missing answer is an error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sae_research.judges.access import JudgeAccess, Wanted
from sae_research.judges.names import JudgeName, find_provider
from sae_research.judges.one_by_one import OneByOne
from sae_research.judges.records import Request, Unanswered

NEEDS_MODEL = True


class ReplayJudge(OneByOne):
    """Has the identity of the other judge, so that this one's answers in the store are found; gives none itself."""

    keeps_answers = True
    host = None

    def __init__(self, name: JudgeName, identity: Mapping[str, Any]) -> None:
        self._name, self.identity = name, identity

    def answer_one(self, request: Request) -> Unanswered:
        """That there is none."""
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
