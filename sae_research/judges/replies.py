"""Reads a judge's answers, strictly: what does not have the form that was asked for is unreadable."""

from __future__ import annotations

import re

_THOUGHT = re.compile(r"\s*<think>.*?</think>", re.DOTALL)
_LONGEST = 20_000
"""Characters of an answer that are looked at; the token limit is far below."""


class Unreadable(Exception):
    """Why an answer could not be read."""


def spoken(text: str) -> str:
    """`text` without a thought that a reasoning model put before its answer; Unreadable if nothing is left."""
    said = _THOUGHT.sub("", text[:_LONGEST], count=1) if text.lstrip().startswith("<think>") else text[:_LONGEST]
    if not said.strip():
        raise Unreadable("the answer is empty")
    return said


def read_numbers(text: str, *, n: int) -> frozenset[int]:
    """The window numbers of an answer such as `2, 5 and 11.` or `None`; Unreadable for anything else."""
    said = spoken(text).strip().removesuffix(".").strip()
    if said.lower() == "none":
        return frozenset()
    parts = [part.strip() for part in re.sub(r",?\s+and\s+", ",", said).split(",")]
    if not all(re.fullmatch("[0-9]{1,3}", part) for part in parts):
        raise Unreadable("the answer is not a list of numbers")
    numbers = frozenset(map(int, parts))
    if not numbers <= set(range(1, n + 1)):
        raise Unreadable(f"the answer names a number outside 1 to {n}")
    return numbers


def read_explanation(text: str) -> str:
    """The one line of an explanation, without the opening that was asked for; Unreadable if it is empty."""
    line = next(iter(spoken(text).strip().splitlines())).strip()
    explanation = re.split(r"\bactivates on\b", line, flags=re.IGNORECASE)[-1].strip().removesuffix(".").strip()
    if not explanation:
        raise Unreadable("the explanation is empty")
    return explanation


def read_texts(text: str, *, separator: str, n: int) -> tuple[str, ...]:
    """The first `n` texts between separators; Unreadable if there are fewer than `n`, or many more."""
    texts = tuple(part.strip("\n") for part in spoken(text).split(separator))
    texts = tuple(part for part in texts if part.strip())
    if not n <= len(texts) <= 2 * n:
        raise Unreadable(f"the answer holds {len(texts)} texts, expected {n} or a few more")
    return texts[:n]
