"""Labelled texts for probing: equally many per class, drawn by key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from types import MappingProxyType

from sae_research.data import families as package
from sae_research.data.described import read_described
from sae_research.data.draw import draw, shares
from sae_research.data.family import ONE_GROUP, ByClass, Family, Pool
from sae_research.errors import UserError
from sae_research.plugins import only_class, plugin_names
from sae_research.sources.described import DescribedSet
from sae_research.sources.hub import Hub
from sae_research.sources.memory import GivenLabels

_MOST_SHOWN = 12
"""Names of a family that a message lists."""


@dataclass(frozen=True)
class LabelledSet:
    """Texts by class; `train` and `test` have the same classes in the same order."""

    name: str
    revision: str
    train: Mapping[str, list[str]]
    test: Mapping[str, list[str]]
    codes: Mapping[str, str]
    """The label of each class in the data set and in SAEBench, by our name."""


@lru_cache(maxsize=1)
def families() -> Mapping[str, type[Family]]:
    """The family of each data set name."""
    classes = [only_class(f"sae_research.data.families.{module}", Family) for module in plugin_names(package)]
    return {name: family for family in classes for name in family.names}


def valid_names() -> tuple[str, ...]:
    """Names of all labelled data sets, the embedded world's first; needs no torch."""
    return tuple(sorted(families(), key=lambda name: (not name.startswith("embedded/"), name)))


def require_name(name: str, described: Mapping[str, DescribedSet] = MappingProxyType({})) -> None:
    """Raises a UserError that lists the valid names unless `name` is a labelled data set, or one of `described`."""
    if name in families() or name in described:
        return
    near = get_close_matches(name, valid_names(), n=3)
    raise UserError(
        f"labelled data set {name!r} is not known{'; near to it: ' + ', '.join(near) if near else ''}; valid: "
        f"{', '.join([*described, *_names_by_kind()])}. To use a data set of your own, describe it in params.yaml: "
        "data_sets: {NAME: {repo: FOLDER, text: COLUMN, label: COLUMN}}, and give that name here"
    )


def _names_by_kind() -> list[str]:
    """The valid names, those of a large family in one."""
    shown: list[str] = []
    for family in dict.fromkeys(families()[name] for name in valid_names()):
        many = len(family.names) > _MOST_SHOWN
        prefix = family.names[0].partition("/")[0]
        shown += [f"{prefix}/... ({len(family.names)} names, in {family.__module__})"] if many else family.names
    return shown


def labelled_revision(hub: Hub, name: str) -> str:
    """The revision that determines the content of `name`; downloads nothing."""
    if name in hub.given:
        return hub.dataset_revision(name)
    if name in hub.described:
        return hub.dataset_revision(hub.described[name].repo)
    require_name(name)
    return hub.dataset_revision(families()[name].repository(name))


def load_labelled(hub: Hub, name: str, *, train_per_class: int, test_per_class: int, seed: int) -> LabelledSet:
    """`train_per_class` and `test_per_class` texts of every class of `name`.

    The texts of a class depend on data set, class, group, split, seed and number only.
    """
    in_memory = hub.given.get(name)
    if isinstance(in_memory, GivenLabels):
        pool = _pool_in_memory(in_memory)
    elif name in hub.described:
        pool = read_described(hub, name)
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


def _pool_in_memory(labels: GivenLabels) -> Pool:
    def groups(split: Mapping[str, Sequence[str]]) -> ByClass:
        return {name: {ONE_GROUP: list(texts)} for name, texts in split.items()}

    test = None if labels.test is None else groups(labels.test)
    return Pool(labels.revision, groups(labels.train), test, codes={name: name for name in labels.train})


def _sample(classes: ByClass, n: int, name: str, split: str, seed: int) -> dict[str, list[str]]:
    """`n` texts of each class, equally many of every group that occurs in any class."""
    groups = sorted({group for of_class in classes.values() for group, texts in of_class.items() if texts})
    if not groups:
        raise UserError(f"data set {name!r}: no text of any of its classes ({', '.join(classes)}) in the {split} split")
    drawn: dict[str, list[str]] = {}
    for label, of_class in classes.items():
        drawn[label] = []
        for group, share in shares(n, groups).items():
            texts = of_class.get(group, [])
            if len(texts) < share:
                of_group = f" (those with {group!r})" if group else ""
                raise UserError(
                    f"data set {name!r}, {split} split: class {label!r}{of_group} has {len(texts)} texts, "
                    f"needed {share}; lower the number of texts per class, or leave the data set out"
                )
            drawn[label] += draw(texts, share, name, label, group, split, seed)
    return drawn
