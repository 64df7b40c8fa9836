"""Checks that the settings of SCR and TPP share."""

from __future__ import annotations

from typing import Protocol

from sae_research.records import at_least, counts, distinct


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


def too_few(n: int) -> str:
    """The reason of a number that needs more latents than the SAE has."""
    return f"the SAE has fewer latents than n = {n}"
