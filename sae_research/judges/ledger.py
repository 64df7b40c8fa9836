"""What a run may spend on a judge: the most that a request can cost is reserved before it is sent."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from sae_research.judges.records import Answer, Request, Unanswered
from sae_research.judges.settings import Judging


@dataclass
class Ledger:
    """The account of one run, or of a part of one; safe to use from several threads."""

    judging: Judging
    whole: Judging | None = None
    """The limits of the run, where `judging` has only a part of them to spend."""
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    retries: int = 0
    dollars: float = 0.0
    """Spent, and what may have been spent on requests whose answer never came."""
    end: Unanswered | None = None
    """Why nothing more is sent in this run: a wrong key, an unknown model, a budget that is spent."""
    _reserved: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def committed(self) -> float:
        """Dollars that are spent, or may yet be on requests that are under way."""
        return self.dollars + self._reserved

    def most(self, request: Request) -> float:
        """The most that `request` can cost, in dollars."""
        return self.judging.dollars(request.most_input_tokens, request.max_tokens)

    def reserve(self, request: Request) -> str | None:
        """Sets aside what `request` may cost; otherwise why it must not be sent."""
        limits = self.judging
        with self._lock:
            if limits.max_requests is not None and self.requests >= limits.max_requests:
                return f"judging.max_requests = {limits.max_requests} are spent{self._of_whole('max_requests')}"
            most = self.most(request)
            if limits.max_dollars is not None and self.dollars + self._reserved + most > limits.max_dollars:
                return (
                    f"judging.max_dollars = {limits.max_dollars:g}: {self.dollars:.4f} are spent, "
                    f"{self._reserved:.4f} reserved, and this request may cost {most:.4f}"
                    + self._of_whole("max_dollars")
                )
            self.requests += 1
            self._reserved += most
            return None

    def _of_whole(self, limit: str) -> str:
        if self.whole is None:
            return ""
        return f" (a part of the run's {getattr(self.whole, limit):g}: several processes share it)"

    def book(self, request: Request, answer: Answer | None) -> None:
        """Enters what a reserved request cost; without an answer all of it, because it may have been billed."""
        with self._lock:
            self._reserved -= self.most(request)
            if answer is None:
                self.dollars += self.most(request)
                return
            self.prompt_tokens += answer.prompt_tokens
            self.completion_tokens += answer.completion_tokens
            self.retries += answer.retries
            self.dollars += self.judging.dollars(answer.prompt_tokens, answer.completion_tokens)

    def summary(self) -> str:
        """`120 requests, 64,000 + 3,100 tokens, 0.0118 dollars, 2 retries`."""
        money = f", {self.dollars:.4f} dollars" if self.judging.dollars_per_million_input is not None else ""
        return (
            f"{self.requests:,} requests, {self.prompt_tokens:,} + {self.completion_tokens:,} tokens{money}, "
            f"{self.retries} retries"
        )
