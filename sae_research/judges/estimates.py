"""What a judge will be asked at most, known from settings alone, before anything is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sae_research.judges.records import Sampling
from sae_research.judges.settings import Judging

_PROMPT_TOKENS = 500
"""Of a prompt without its windows: the longest has 900 bytes, and an explanation of 60 tokens can be in it."""
_WINDOW_TOKENS = 110
"""Of one window with its number: 27 tokens of the evaluated model, of 7 bytes each, at a token for every two bytes."""


@dataclass(frozen=True)
class Asks:
    """Requests of one kind that an eval makes of its judge, as many and as long as they can be."""

    kind: str
    """What is asked for: `explanations`."""
    sampling: Sampling
    windows: int
    """How many windows of text a prompt shows."""
    per_sae: int
    for_all: int = 0
    """Those that all SAEs share: how fit the judge is."""


class Most(NamedTuple):
    """The most that requests can come to, if each is answered so that it can be read."""

    requests: int
    tokens: int
    dollars: float


def most(asks: Sequence[Asks], n_saes: int, judging: Judging) -> Most:
    """Of all requests for `n_saes` SAEs."""
    numbers = [(of_kind.for_all + of_kind.per_sae * n_saes if n_saes else 0, of_kind) for of_kind in asks]
    inputs = sum(n * (_PROMPT_TOKENS + of_kind.windows * _WINDOW_TOKENS) for n, of_kind in numbers)
    outputs = sum(n * of_kind.sampling.max_tokens for n, of_kind in numbers)
    return Most(sum(n for n, _ in numbers), inputs + outputs, judging.dollars(inputs, outputs))
