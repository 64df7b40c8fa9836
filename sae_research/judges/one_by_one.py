"""Judges that answer each request by itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from sae_research.judges.records import Outcome, Request


class OneByOne(ABC):
    """One request a batch, one batch at a time unless a judge says otherwise."""

    batches_at_once = 1

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        """Each request by itself."""
        return [[i] for i in range(len(requests))]

    def answer(self, requests: Sequence[Request]) -> list[Outcome]:
        """The outcomes, in order."""
        return [self.answer_one(request) for request in requests]

    @abstractmethod
    def answer_one(self, request: Request) -> Outcome:
        """The outcome of one request."""
