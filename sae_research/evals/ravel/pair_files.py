"""The files with pairs of prompts of Chaudhary and Geiger: a list of [[base, value], [source, value]] by attribute.

https://github.com/MaheepChaudhary/SAE-Ravel, `final_data_country.json` and `final_data_continent.json`: all ordered
pairs of 40 prompts that differ in the city alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sae_research.errors import UserError

_SLOT = "%s"


def pair_file(attribute: str) -> str:
    """The name of the file with the pairs of `attribute`."""
    return f"final_data_{attribute.lower()}.json"


class AskedEntity(NamedTuple):
    """One of the prompts in a file."""

    entity: str
    template: str
    """The text with `%s` in place of the entity."""
    label: str


def prompts_in_pairs(pairs: Any, *, where: str) -> list[AskedEntity]:
    """The prompts in the pairs, each once; a UserError unless the pairs are all that these can form.

    The entity is what differs between the prompts, whole words of it.
    """
    labels: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    for base, source in _checked(pairs, where):
        seen.add((base[0], source[0]))
        for text, label in (base, source):
            if labels.setdefault(text, label) != label:
                raise UserError(f"{where}: {text[-60:]!r} has the values {labels[text]!r} and {label!r}")
    if len(labels) < 2 or len(seen) != len(labels) ** 2:
        raise UserError(
            f"{where}: {len(seen)} pairs of {len(labels)} prompts, expected all {len(labels) ** 2} ordered pairs of "
            "two or more; for other pairs give RAVEL's tables (ravel_city_*.json) and ravel.templates"
        )
    begin, end = _common(list(labels), where)
    template = f"{begin}{_SLOT}{end}"
    return [AskedEntity(text[len(begin) : len(text) - len(end)], template, label) for text, label in labels.items()]


def _checked(pairs: Any, where: str) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    for pair in pairs if isinstance(pairs, list) else [pairs]:
        try:
            (base, base_label), (source, source_label) = pair
        except (TypeError, ValueError):
            raise UserError(f"{where}: expected a list of pairs [[base, value], [source, value]]") from None
        if not all(isinstance(text, str) for text in (base, base_label, source, source_label)):
            raise UserError(f"{where}: expected texts in every pair, got {type(base).__name__} and others")
        yield (base, base_label), (source, source_label)


def _common(texts: Sequence[str], where: str) -> tuple[str, str]:
    """How all texts begin, and how they end, in whole words."""
    words = [text.split(" ") for text in texts]
    begin = _alike(words)
    end = _alike([row[begin:][::-1] for row in words])
    before, after = (" ".join(part) for part in (words[0][:begin], words[0][len(words[0]) - end :]))
    if not end or any(len(row) <= begin + end for row in words) or _SLOT in before + after:
        raise UserError(f"{where}: the prompts have no end in common before which one name differs")
    return f"{before} " if begin else "", f" {after}"


def _alike(rows: Sequence[Sequence[str]]) -> int:
    """How many words all rows begin with."""
    return sum(1 for _ in itertools.takewhile(lambda words: len(set(words)) == 1, zip(*rows, strict=False)))
