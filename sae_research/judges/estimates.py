"""What a judge will be asked at most, known from settings alone, before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Asks:
    """Requests of one kind that an eval makes of its judge, as many and as long as they can be."""

    kind: str
    """What is asked for: `explanations`."""
    per_sae: int
    for_all: int = 0
    """Those that all SAEs share."""
    input_tokens: int = 0
    """Of the longest prompt."""
    output_tokens: int = 0
    """Of the longest answer."""
