"""Running texts by name: those that a family offers, or a repository's own. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator

from sae_research.data.family import Family
from sae_research.data.labelled import families
from sae_research.data.tables import read_texts, split_files
from sae_research.sources.hub import Hub


def running_text_family(name: str) -> type[Family] | None:
    """The family that offers the running text; None where `name` is a repository."""
    return next((family for family in dict.fromkeys(families().values()) if name in family.running_texts), None)


def text_repository(name: str) -> str:
    """The repository that holds the running text."""
    family = running_text_family(name)
    return name if family is None else family.repository(name)


def text_revision(hub: Hub, name: str) -> str:
    """The revision that determines the running text; downloads nothing."""
    return hub.dataset_revision(name if name in hub.given else text_repository(name))


def documents(hub: Hub, name: str, split: str, *, revision: str | None = None, column: str = "text") -> Iterator[str]:
    """The texts of a split in the order of its files; each file is fetched when it is reached."""
    family = running_text_family(name)
    if family is not None:
        return family.documents(hub, name, split)
    return (text for (text,) in read_texts(split_files(hub, name, split, revision=revision), column))
