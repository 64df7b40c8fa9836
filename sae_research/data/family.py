"""The interface of a family of labelled data sets: its names, its repository, and its texts by class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

from sae_research.data.tables import read_files, split_files
from sae_research.errors import UserError
from sae_research.foreign import read_json_object, shown
from sae_research.sources.hub import Hub

Groups = Mapping[str, list[str]]
"""Texts of a class by group; a sample has equally many of each group. One group if nothing is balanced."""
ByClass = Mapping[str, Groups]

ONE_GROUP = ""
"""The name of the only group of a class that is not balanced."""


@dataclass(frozen=True)
class Pool:
    """All texts that may be drawn, by class name and group."""

    revision: str
    train: ByClass
    test: ByClass | None
    """None if the data set has no test split: test texts are then drawn from those of `train` that are not used for
    training. Such a data set has one group per class."""
    codes: Mapping[str, str]
    """The label of each class in the data set and in SAEBench, by our name; in the order of the classes."""


@dataclass(frozen=True)
class Columns:
    """The columns of a table that a task needs."""

    text: str
    label: str
    balanced_by: str | None = None


@dataclass(frozen=True)
class Crossed:
    """A data set whose texts have a class and, across the classes, one of two groups."""

    repository: str
    columns: Columns
    codes: Mapping[str, str] | None
    """The label of each class, by name; None: those in the data set's `dataset_info.json`."""
    groups: tuple[str, str]
    """The labels of the two groups, the one that SAEBench counts as positive first."""
    pairs: tuple[tuple[str, str], ...]
    """Pairs of classes to distinguish, the positive one first."""


class Family(ABC):
    """A family of labelled data sets; one final subclass per file of `sae_research/data/families/`."""

    names: ClassVar[tuple[str, ...]]
    """Names of its data sets in `params.yaml`."""
    crossed: ClassVar[Mapping[str, Crossed]] = MappingProxyType({})
    """Those of its data sets that SCR can use, by name in `params.yaml`."""
    running_texts: ClassVar[tuple[str, ...]] = ()
    """Names of running texts for core, controls and training that come from the same repository."""

    @classmethod
    @abstractmethod
    def repository(cls, name: str) -> str:
        """The id of the data set that holds `name`."""

    @classmethod
    def texts(cls, name: str) -> str:
        """What `name` labels: data sets that say the same label the same texts, by different attributes."""
        return name

    @classmethod
    @abstractmethod
    def read(cls, hub: Hub, name: str, *, n_texts: int) -> Pool:
        """The pool of `name`; `n_texts` of each class suffice where reading all would take too long."""

    @classmethod
    def documents(cls, hub: Hub, name: str, split: str) -> Iterator[str]:
        """The documents of a split of one of its running texts."""
        raise NotImplementedError(f"{cls.__name__} offers no running text {name!r}")


def read_splits(hub: Hub, repository: str, columns: Columns, codes: Mapping[str, str]) -> Pool:
    """The pool of a data set with a train and a test split, restricted to the classes of `codes`."""
    train = split_files(hub, repository, "train")
    test = split_files(hub, repository, "test")
    names = [columns.text, columns.label, *([columns.balanced_by] if columns.balanced_by else [])]
    return Pool(
        revision=train.revision,
        train=by_class(read_files(train, names), codes),
        test=by_class(read_files(test, names), codes),
        codes=codes,
    )


def by_class(rows: Iterable[tuple[Any, ...]], codes: Mapping[str, str]) -> ByClass:
    """Texts by class and group, from rows (text, label) or (text, label, group); rows with other labels are skipped."""
    names = {code: name for name, code in codes.items()}
    texts: dict[str, dict[str, list[str]]] = {name: defaultdict(list) for name in codes}
    for text, label, *group in rows:
        name = names.get(str(label))
        if name is not None and text is not None:
            texts[name][str(group[0]) if group else ONE_GROUP].append(text)
    return texts


def class_codes(hub: Hub, repository: str, column: str) -> dict[str, str]:
    """The classes of `column` as the data set's `dataset_info.json` names them: label by name, in order of label."""
    classes = named_classes(hub, repository)
    if not classes.get(column):
        raise UserError(
            f"data set {repository!r}: no classes for column {column!r} in its dataset_info.json; it has: "
            f"{', '.join(classes) or 'none'}; run the setup stage"
        )
    return {classes[column][label]: label for label in in_order(classes[column])}


def named_classes(hub: Hub, repository: str) -> Mapping[str, Mapping[str, str]]:
    """The names of classes by column and label in `dataset_info.json`; nothing where there is no such file.

    {"classes": {"profession": {"0": "nurse", "1": "chef"}, "gender": {"0": "man", "1": "woman"}}}
    """
    files = hub.dataset_files(repository, lambda name: name == "dataset_info.json")
    if not files.names:
        return {}
    path = files.fetch(files.names[0])
    classes = read_json_object(path, remedy="correct it or remove it").get("classes", {})
    match classes:
        case {**columns} if all(_is_naming(labels) for labels in columns.values()):
            return columns
    raise UserError(f"{path}: classes is {shown(classes)}, expected {{column: {{label: name}}}}, each name once")


def _is_naming(labels: object) -> bool:
    if not isinstance(labels, dict) or not all(isinstance(name, str) for name in labels.values()):
        return False
    return len(set(labels.values())) == len(labels)


def in_order(labels: Iterable[str]) -> list[str]:
    """Whole numbers first, in their order; then all others."""
    return sorted(labels, key=lambda label: (not label.isdecimal(), int(label) if label.isdecimal() else 0, label))
