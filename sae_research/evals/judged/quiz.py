"""A latent's windows without marks: which of them hold an activation, a judge has to tell from an explanation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from sae_research.digests import digest_of
from sae_research.judges.prompts import detecting
from sae_research.judges.records import Message
from sae_research.probes.draws import keyed_generator

Kind = Literal["top", "weighted", "silent"]

_SAMPLE = (2, 6)
"""How many numbers the sample answer names, drawn between these: it must not tell how many are right."""


class Quiz(NamedTuple):
    """The windows in the order in which a judge sees them."""

    texts: tuple[str, ...]
    kinds: tuple[Kind, ...]
    sample: tuple[int, ...]
    """The numbers in the sample answer."""

    @property
    def active(self) -> list[int]:
        """The numbers of the windows that count as active, from 1."""
        return [number for number, kind in enumerate(self.kinds, start=1) if kind != "silent"]

    def messages(self, explanation: str) -> tuple[Message, ...]:
        """Asks which windows hold what the explanation says."""
        return detecting(explanation, self.texts, self.sample)

    def mark(self, predicted: frozenset[int]) -> Right:
        """How much of an answer is right."""
        right = [kind for number, kind in enumerate(self.kinds, start=1) if (number in predicted) == (kind != "silent")]
        return Right(*((right.count(kind), self.kinds.count(kind)) for kind in ("top", "weighted", "silent")))


class Right(NamedTuple):
    """Windows of each kind that were told right, and how many there are."""

    top: tuple[int, int]
    weighted: tuple[int, int]
    silent: tuple[int, int]

    @property
    def windows(self) -> tuple[int, int]:
        """Of all kinds."""
        return sum(right for right, _ in self), sum(n for _, n in self)

    @property
    def score(self) -> float:
        """The share of windows told right; SAEBench's."""
        right, n = self.windows
        return right / n

    @property
    def none_score(self) -> float:
        """What the answer 'none' scores."""
        return self.silent[1] / self.windows[1]

    @property
    def true_positive_rate(self) -> float:
        """Of windows with activations."""
        return (self.top[0] + self.weighted[0]) / (self.top[1] + self.weighted[1])

    @property
    def true_negative_rate(self) -> float:
        """Of windows without."""
        return self.silent[0] / self.silent[1]

    @property
    def balanced_accuracy(self) -> float:
        """The mean of both rates; chance is 1/2."""
        return (self.true_positive_rate + self.true_negative_rate) / 2


def make_quiz(top: Sequence[str], weighted: Sequence[str], silent: Sequence[str], *, seed: int) -> Quiz:
    """The windows' texts in an order that depends on them and on `seed`, and not on which of them are active."""
    by_kind: dict[Kind, Sequence[str]] = {"top": top, "weighted": weighted, "silent": silent}
    windows = sorted((text, kind) for kind, of_kind in by_kind.items() for text in of_kind)
    texts = [text for text, _ in windows]
    rng = keyed_generator("judged", seed, "quiz", digest_of(texts))
    order = rng.permutation(len(windows))
    n = int(rng.integers(_SAMPLE[0], _SAMPLE[1] + 1))
    sample = sorted((rng.permutation(len(windows))[: min(n, len(windows))] + 1).tolist())
    return Quiz(tuple(texts[i] for i in order), tuple(windows[i][1] for i in order), tuple(sample))
