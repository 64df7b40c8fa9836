"""Which rules explain marked texts, chosen one after the other."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sae_research.judges.rules.properties import ENDINGS, Kind, Property, properties_at
from sae_research.judges.rules.reading import Reading
from sae_research.judges.rules.words import MarkedWords

_MOST = 4
_LEAST_VALUE = 1.0
"""Of a further rule."""
_LEFT = 0.15
"""What an example counts once a rule covers it."""
_RARITY = 40.0
_SHORTEST_PART = 2
_WEIGHTS: dict[Kind, float] = {
    "is": 1.0, "after": 0.9, "ends": 0.85, "holds": 0.85, "capitalised": 0.85, "number": 0.85,
    "follows": 0.75, "precedes": 0.75,
}  # fmt: skip


class Hypothesis(NamedTuple):
    """A rule, and how many examples it is the first to cover."""

    rule: Property
    n_first: int


def explain(examples: Sequence[MarkedWords], reading: Reading) -> list[Hypothesis]:
    """At most four rules; empty where nothing is marked.

    The value of a rule is the sum over examples with it at a marked word of left (1/2 + 1/2 share of the marked words
    that it covers), times n / (n + wrong + 1/2), times 1 / (1 + 40 frequency), times the weight of its kind. n: the
    number of these examples; wrong: the words that have it and are not marked; frequency: its share of the reading's
    words; left: 1, and .15 where an earlier rule covers the example.
    """
    covered = _covered(examples)
    unmarked = _Unmarked(examples)
    fixed = {rule: _fixed_value(rule, shares, unmarked, reading) for rule, shares in covered.items()}
    left = [1.0] * len(examples)
    uncovered = set(range(len(examples)))
    chosen: list[Hypothesis] = []
    while len(chosen) < _MOST:
        values = {
            rule: fixed[rule] * sum(left[i] * (0.5 + 0.5 * share) for i, share in shares.items())
            for rule, shares in covered.items()
        }
        # Between equal values the rule that says more decides, and after that its name.
        best = max(values, key=lambda rule: (values[rule], sum(map(len, rule.names)), rule), default=None)
        if best is None or (chosen and values[best] < _LEAST_VALUE):
            break
        chosen.append(Hypothesis(best, len(uncovered & set(covered[best]))))
        uncovered -= set(covered[best])
        for i in covered.pop(best):
            left[i] *= _LEFT
    return chosen


def _covered(examples: Sequence[MarkedWords]) -> dict[Property, dict[int, float]]:
    """By rule and example: the share of the example's marked words that the rule covers."""
    counts: dict[Property, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for i, example in enumerate(examples):
        for place in sorted(example.marked):
            rules = set(properties_at(example.words, place))
            rules |= {
                Property("holds", (part,))
                for at, part in example.marked_parts
                if at == place and len(part) >= _SHORTEST_PART and part.isalpha()
            }
            for rule in rules:
                counts[rule][i] += 1
    return {
        rule: {i: n / len(examples[i].marked) for i, n in by_example.items()} for rule, by_example in counts.items()
    }


class _Unmarked:
    """The words of the examples that are not marked, counted by what rules ask of them."""

    def __init__(self, examples: Sequence[MarkedWords]) -> None:
        self._words: Counter[str] = Counter()
        self._counts: dict[Kind, Counter[tuple[str, ...]]] = defaultdict(Counter)
        for example in examples:
            words, n = example.words, len(example.words)
            for place in (place for place in range(n) if place not in example.marked):
                self._words[words[place]] += 1
                if place > 0:
                    self._counts["after"][words[place], words[place - 1]] += 1
                    self._counts["follows"][words[place - 1],] += 1
                if place + 1 < n:
                    self._counts["precedes"][words[place + 1],] += 1
        for word, times in self._words.items():
            self._counts["is"][word,] = times
            for length in ENDINGS:
                if length < len(word):
                    self._counts["ends"][word[-length:],] += times

    def count(self, rule: Property) -> int:
        """Of how many of them `rule` holds; an ending is one that `properties_at` gives."""
        if rule.kind in ("holds", "capitalised", "number"):
            return sum(times for word, times in self._words.items() if rule.holds_of_word(word))
        return self._counts[rule.kind][rule.names]


def _fixed_value(rule: Property, shares: Mapping[int, float], unmarked: _Unmarked, reading: Reading) -> float:
    wrong = unmarked.count(rule)
    rarity = 1 / (1 + _RARITY * reading.frequency(rule))
    return len(shares) / (len(shares) + wrong + 0.5) * rarity * _WEIGHTS[rule.kind]
