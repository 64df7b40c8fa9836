"""What goes to a judge and what comes back."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from sae_research.digests import digest_of
from sae_research.records import at_least

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Role
    text: str


@dataclass(frozen=True)
class Request:
    """All that an answer may depend on, beside the judge."""

    messages: tuple[Message, ...]
    max_tokens: int
    """The longest answer."""
    temperature: float | None = 0.0
    """None leaves it to the server, as models want that refuse it."""
    top_p: float | None = 1.0
    seed: int | None = None
    attempt: int = 0
    """1 where the first answer could not be read."""

    def seeded(self, random_seed: int) -> Request:
        """The same request with the seed that follows from its text and `random_seed`."""
        messages = [asdict(message) for message in self.messages]
        return replace(self, seed=int(digest_of([random_seed, messages, self.attempt])[:12], 16) % 2**31)

    def digest(self, judge: Any) -> str:
        """The name of its answer in the store; `judge` is the identity of who gives it."""
        return digest_of([judge, asdict(self)])

    @property
    def most_input_tokens(self) -> int:
        """A high estimate of the tokens of the messages: one for every two bytes, and some for each turn."""
        return sum(len(message.text.encode()) // 2 + 8 for message in self.messages)


@dataclass(frozen=True)
class Sampling:
    """How an answer of one kind is drawn, and how long it may be."""

    max_tokens: int
    temperature: float | None = 0.0
    """None leaves it to the server, as in `Request`."""
    top_p: float | None = 1.0

    def __post_init__(self) -> None:
        at_least(self, max_tokens=1)
        if self.temperature is not None and not 0 <= self.temperature <= 2:
            raise ValueError(f"temperature is {self.temperature}, expected 0 to 2, or null")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}, expected more than 0, at most 1, or null")

    def request(self, messages: tuple[Message, ...]) -> Request:
        """The request for an answer to `messages`."""
        return Request(messages, self.max_tokens, self.temperature, self.top_p)


@dataclass(frozen=True)
class Answer:
    """What a judge said."""

    text: str
    finish: str
    """Why it ended: `stop`, `length` (at the token limit), or what the server says."""
    prompt_tokens: int
    completion_tokens: int
    model: str
    """The model that the server names."""
    retries: int = 0


@dataclass(frozen=True)
class Unanswered:
    """Why a request has no answer that can be used."""

    reason: str
    is_transport: bool
    """Whether the judge was not reached, so that the next run may ask again; otherwise its answer cannot be used."""
    ends_all: bool = False
    """Whether no other request will fare better: a wrong key, an unknown model, a budget that is spent."""


Outcome = Answer | Unanswered
