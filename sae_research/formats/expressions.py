"""Regular expressions that choose SAEs: matched in full, and given up when they take too long."""

from __future__ import annotations

import difflib
import re
import time
from collections.abc import Iterable, Sequence

import regex

from sae_research.errors import UserError
from sae_research.foreign import shown

# `regex` is in every install (transformers needs it) and, unlike `re`, can be told to give up.
_SECONDS = 5.0
_LONGEST = 1000


def matching(key: str, expression: str, names: Iterable[str], *, of: str) -> list[str]:
    """Those of `names` that the expression matches in full; an error where that takes longer than any sensible one.

    `key` is where the expression stands, and `of` whose names they are, for messages.
    """
    if len(expression) > _LONGEST:
        raise UserError(f"{key} {shown(expression)} has {len(expression)} letters, expected at most {_LONGEST}")
    try:
        re.compile(expression)  # what the standard library refuses is refused, whatever else `regex` knows
        wanted = regex.compile(expression)
    except (re.error, regex.error, RecursionError, OverflowError) as error:
        raise UserError(f"{key} {shown(expression)} is not a valid regular expression: {error}") from None
    end = time.monotonic() + _SECONDS
    try:
        return [name for name in names if wanted.fullmatch(name, timeout=max(end - time.monotonic(), 1e-3))]
    except TimeoutError:
        raise UserError(
            f"{key} {shown(expression)} takes more than {_SECONDS:g} s to match {of}; "
            "write it without repetitions of repetitions, such as (a+)+"
        ) from None


def near_misses(expression: str, names: Sequence[str], *, most: int) -> list[str]:
    """Names that the expression's author may have meant: those that hold it, then those spelt alike."""
    alike = difflib.get_close_matches(expression, names, n=most, cutoff=0.4)
    return list(dict.fromkeys([*(name for name in names if expression in name), *alike]))[:most]
