"""Labelled texts for probing: equally many per class, drawn by a key that leaves nothing to order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from sae_research.data import families as package
from sae_research.data.draw import draw, shares
from sae_research.data.family import ONE_GROUP, ByClass, Family, Pool
from sae_research.errors import UserError
from sae_research.plugins import only_class, plugin_names
from sae_research.sources.hub import Hub
from sae_research.sources.memory import GivenLabels


@dataclass(frozen=True)
class LabelledSet:
    """Texts by class; the classes of `train` and `test` are the same, in the same order."""

    name: str
    revision: str
    train: Mapping[str, list[str]]
    test: Mapping[str, list[str]]
    codes: Mapping[str, str]
    """What the data set and SAEBench call each class, by our name of it."""


@lru_cache(maxsize=1)
def families() -> Mapping[str, type[Family]]:
    """The family of each data set name."""
    classes = [only_class(f"sae_research.data.families.{module}", Family) for module in plugin_names(package)]
    return {name: family for family in classes for name in family.names}


def valid_names() -> tuple[str, ...]:
    """Names of all labelled data sets, the embedded world's first; needs no torch."""
    return tuple(sorted(families(), key=lambda name: (not name.startswith("embedded/"), name)))


def require_name(name: str) -> None:
    """Fail, listing what is valid, unless `name` is a labelled data set."""
    if name not in families():
        raise UserError(f"labelled data set {name!r} is not known; valid: {', '.join(valid_names())}")


def labelled_revision(hub: Hub, name: str) -> str:
    """The revision that determines the content of `name`; downloads nothing."""
    if name in hub.given:
        return hub.dataset_revision(name)
    require_name(name)
    return hub.dataset_revision(families()[name].repository(name))


def load_labelled(hub: Hub, name: str, *, train_per_class: int, test_per_class: int, seed: int) -> LabelledSet:
    """`train_per_class` and `test_per_class` texts of every class of `name`.

    What is drawn of a class depends on the data set, class, group, split, seed and number alone.
    """
    given = hub.given.get(name)
    if isinstance(given, GivenLabels):
        pool = _given_pool(given)
    else:
        require_name(name)
        pool = families()[name].read(hub, name, n_texts=train_per_class + test_per_class)
    if pool.test is None:
        both = _sample(pool.train, train_per_class + test_per_class, name, "train and test", seed)
        train = {label: texts[:train_per_class] for label, texts in both.items()}
        test = {label: texts[train_per_class:] for label, texts in both.items()}
    else:
        train = _sample(pool.train, train_per_class, name, "train", seed)
        test = _sample(pool.test, test_per_class, name, "test", seed)
    return LabelledSet(name=name, revision=pool.revision, train=train, test=test, codes=pool.codes)


def _given_pool(given: GivenLabels) -> Pool:
    splits = [
        {name: {ONE_GROUP: list(texts)} for name, texts in split.items()}
        for split in (given.train, given.test)
        if split is not None
    ]
    codes = {name: name for name in given.train}
    return Pool(revision=given.revision, train=splits[0], test=splits[1] if len(splits) > 1 else None, codes=codes)


def _sample(classes: ByClass, n: int, name: str, split: str, seed: int) -> dict[str, list[str]]:
    """`n` texts of each class, equally many of every group that any class has."""
    groups = sorted({group for of_class in classes.values() for group, texts in of_class.items() if texts})
    if not groups:
        raise UserError(f"data set {name!r}: no text of any of its classes ({', '.join(classes)}) in the {split} split")
    drawn: dict[str, list[str]] = {}
    for label, of_class in classes.items():
        drawn[label] = []
        for group, share in shares(n, groups).items():
            texts = of_class.get(group, [])
            _require_enough(len(texts), share, f"data set {name!r}, {split} split: class {label!r}", group)
            drawn[label] += draw(texts, share, name, label, group, split, seed)
    return drawn


def _require_enough(got: int, needed: int, where: str, group: str) -> None:
    if got < needed:
        within = f" (those with {group!r})" if group else ""
        raise UserError(
            f"{where}{within} has {got} texts, needed {needed}; "
            "lower the number of texts per class, or leave the data set out"
        )
