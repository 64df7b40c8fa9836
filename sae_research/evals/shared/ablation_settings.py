"""What the settings of SCR and TPP share: checks, and how many latents are ablated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from sae_research.data.draw import Sampling
from sae_research.records import at_least, counts, distinct

BY_SHARE_NEEDS_KEYED = "`sampling: sae_bench` draws texts for the n_values alone"
"""The reason of a number by share of d_in that is missing."""


class AblationSettings(Protocol):
    """Texts that are cut into equal shares, and how many latents to ablate."""

    @property
    def dataset_names(self) -> tuple[str, ...]: ...
    @property
    def train_size(self) -> int: ...
    @property
    def test_size(self) -> int: ...
    @property
    def context_size(self) -> int: ...
    @property
    def n_values(self) -> tuple[int, ...]: ...
    @property
    def n_shares(self) -> tuple[int, ...]: ...
    @property
    def sampling(self) -> Sampling: ...
    @property
    def seeds(self) -> tuple[int, ...]: ...


def check_ablations(settings: AblationSettings, *, shares: int) -> None:
    """ValueError unless `shares` divides both sizes, and lists are not empty and hold nothing twice."""
    at_least(settings, train_size=5 * shares, test_size=shares, context_size=2)
    for name, size in (("train_size", settings.train_size), ("test_size", settings.test_size)):
        if size % shares:
            raise ValueError(f"{name} is {size}, expected a multiple of {shares}: it is cut into {shares} equal parts")
    distinct(settings, "dataset_names")
    distinct(settings, "seeds", may_be_empty=True)
    counts(settings, "n_values")
    distinct(settings, "n_shares", may_be_empty=True)
    wrong = [share for share in settings.n_shares if not 1 <= share <= 100]
    if wrong:
        raise ValueError(f"n_shares holds {wrong[0]}, expected percentages of d_in from 1 to 100")


class Ablations(NamedTuple):
    """How many latents are ablated."""

    n_values: tuple[int, ...]
    by_percent: Mapping[int, int]
    """By percentage of d_in: the number of latents, at least 1."""

    @property
    def numbers(self) -> tuple[int, ...]:
        """All of them, each once."""
        return tuple(dict.fromkeys((*self.n_values, *self.by_percent.values())))


def ablations_of(settings: AblationSettings, d_in: int) -> Ablations:
    """The numbers that `settings` ask for, with shares of `d_in` rounded; of keyed draws only."""
    shares = settings.n_shares if settings.sampling == "keyed" else ()
    return Ablations(settings.n_values, {percent: max(1, (percent * d_in + 50) // 100) for percent in shares})


def too_few(n: int) -> str:
    """The reason of a number that needs more latents than the SAE has."""
    return f"the SAE has fewer latents than n = {n}"
