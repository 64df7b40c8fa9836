"""The section `judging` of `params.yaml`: how a judge is reached, how fast, and at what price. Changes no number."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from sae_research.records import at_least

_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{1,63}")


@dataclass(frozen=True)
class Judging:
    """The connection to a judge that is reached over a network, and what it may cost."""

    base_url: str | None = None
    """The server: `https://api.openai.com/v1`, `http://127.0.0.1:8000/v1`. Nothing is sent to a server unless this
    names it."""
    api_key_env: str | None = None
    """The environment variable that holds the key; the key itself has no place in any file. null: OPENAI_API_KEY where
    base_url is OpenAI's, elsewhere no key, lest one service is sent the key of another."""
    token_limit_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """The field that bounds an answer; some models of OpenAI take the second alone."""
    concurrency: int = 8
    """Requests under way at once."""
    timeout_seconds: float = 60.0
    max_retries: int = 4
    """Of one request, after 408, 409, 429 and 5xx; the server's Retry-After is obeyed."""
    max_dollars: float | None = None
    """No request is sent whose estimated cost would carry that of a run beyond this. Needs both prices."""
    max_requests: int | None = None
    """No more requests are sent in a run."""
    dollars_per_million_input: float | None = None
    dollars_per_million_output: float | None = None

    def __post_init__(self) -> None:
        at_least(self, concurrency=1, max_retries=0)
        if not self.timeout_seconds > 0:
            raise ValueError(f"timeout_seconds is {self.timeout_seconds}, expected more than 0")
        if self.api_key_env is not None and not _VARIABLE.fullmatch(self.api_key_env):
            # The value is not repeated: it may be a key.
            raise ValueError(
                "api_key_env is not the name of an environment variable (capitals, digits and underscores); a key "
                "itself must not stand in params.yaml"
            )
        self._check_url()
        if self.max_dollars is not None and not self.has_prices:
            raise ValueError(
                "max_dollars needs the judge's prices: dollars_per_million_input and dollars_per_million_output"
            )

    def _check_url(self) -> None:
        if self.base_url is None:
            return
        parts = urlsplit(self.base_url)
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("base_url holds user, password or query; give the plain address, and keys by api_key_env")
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"base_url is {self.base_url!r}, expected http://host:port/path or https://...")

    @property
    def is_openai(self) -> bool:
        """Whether the server is OpenAI's own."""
        host = urlsplit(self.base_url or "").hostname or ""
        return host == "openai.com" or host.endswith(".openai.com")

    @property
    def key_variable(self) -> str | None:
        """The variable that holds the key for this server; None: it gets none."""
        return self.api_key_env or ("OPENAI_API_KEY" if self.is_openai else None)

    @property
    def has_prices(self) -> bool:
        """Whether it is known what tokens cost."""
        return self.dollars_per_million_input is not None and self.dollars_per_million_output is not None

    def dollars(self, prompt_tokens: int, completion_tokens: int) -> float:
        """What so many tokens cost; 0 without prices."""
        prices = (self.dollars_per_million_input or 0.0, self.dollars_per_million_output or 0.0)
        return (prompt_tokens * prices[0] + completion_tokens * prices[1]) / 1e6
