"""Reads labelled data sets that `params.yaml` describes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sae_research.data.draw import is_held_out
from sae_research.data.family import ONE_GROUP, ByClass, Pool, in_order, named_classes
from sae_research.data.tables import WHOLE, has_split, read_texts, split_files
from sae_research.errors import UserError
from sae_research.sources.described import DescribedSet
from sae_research.sources.hub import Hub

_MOST_CLASSES = 1000
"""More labels than that are no classes but numbers, names or texts."""

_ByLabel = dict[str, dict[str, list[str]]]


def read_described(hub: Hub, name: str) -> Pool:
    """All texts of the data set. One without a test split holds a third of its texts out, by their beginnings.

    Rows without a text, a label or a group are left out.
    """
    described = hub.described[name]
    train_files = split_files(hub, described.repo, WHOLE)
    columns = [described.label, *([described.group] if described.group is not None else [])]
    rows = read_texts(train_files, described.text, *columns)
    if has_split(hub, described.repo, "test"):
        train = _by_label(rows, name, described)
        test = _by_label(
            read_texts(split_files(hub, described.repo, "test"), described.text, *columns), name, described
        )
    else:
        every = _by_label(rows, name, described)
        train, test = _part(every, lambda text: not is_held_out(text)), _part(every, is_held_out)
    codes = _classes(hub, described, train)
    absent = [code for code in codes.values() if code not in train]
    if absent:
        raise UserError(
            f"data set {name!r}: no text has the label {absent[0]!r} in column {described.label!r}; the labels there "
            f"are: {', '.join(list(train)[:20]) or 'none'}; correct data_sets.{name}.classes"
        )
    if len(codes) < 2:
        raise UserError(f"data set {name!r}: column {described.label!r} holds {len(codes)} label, expected at least 2")
    return Pool(train_files.revision, _by_name(train, codes), _by_name(test, codes), codes)


def two_groups(name: str, described: DescribedSet, pool: Pool) -> tuple[str, str]:
    """The labels of the two groups that SCR crosses the classes with."""
    present = sorted({group for of_class in pool.train.values() for group in of_class})
    first, *others = described.groups or present or [""]
    if len(others) != 1 or not {first, *others} <= set(present):
        raise UserError(
            f"data set {name!r}: SCR needs two groups, column {described.group!r} holds: "
            f"{', '.join(present[:20]) or 'none'}; name two of them in data_sets.{name}.groups"
        )
    return first, others[0]


def require_pairs(name: str, described: DescribedSet) -> None:
    """UserError unless the description says which classes and groups SCR distinguishes."""
    if described.pairs is None:
        raise UserError(
            f"data set {name!r} has no pairs of classes, which SCR needs; add to data_sets.{name} `group: COLUMN` and "
            "`pairs: [[CLASS, OTHER CLASS]]`, or leave it out of scr.dataset_names"
        )


def pairs_of(name: str, described: DescribedSet, pool: Pool) -> tuple[tuple[str, str], ...]:
    """The pairs of classes that SCR distinguishes."""
    require_pairs(name, described)
    unknown = [side for pair in described.pairs or () for side in pair if side not in pool.codes]
    if unknown:
        raise UserError(
            f"data set {name!r}: data_sets.{name}.pairs names {unknown[0]!r}, which is no class; the classes are: "
            f"{', '.join(pool.codes)}"
        )
    return tuple((pair[0], pair[1]) for pair in described.pairs or ())


def _by_label(rows: Iterable[tuple[Any, ...]], name: str, described: DescribedSet) -> _ByLabel:
    """Texts by label and group."""
    texts: _ByLabel = {}
    for text, *values in rows:
        if not text.strip() or None in values:
            continue
        label, group = str(values[0]), str(values[1]) if described.group is not None else ONE_GROUP
        if described.classes is not None and label not in described.classes:
            continue
        if label not in texts and len(texts) == _MOST_CLASSES:
            raise UserError(
                f"data set {name!r}: column {described.label!r} holds more than {_MOST_CLASSES} labels, which are no "
                f"classes; correct data_sets.{name}.label, or name those that count in data_sets.{name}.classes"
            )
        texts.setdefault(label, defaultdict(list))[group].append(text)
    return texts


def _part(texts: _ByLabel, keep: Callable[[str], bool]) -> _ByLabel:
    return {
        label: {group: list(filter(keep, of_group)) for group, of_group in of_label.items()}
        for label, of_label in texts.items()
    }


def _classes(hub: Hub, described: DescribedSet, train: _ByLabel) -> Mapping[str, str]:
    """The label of each class, by its name, in the order of the labels."""
    if described.classes is not None:
        return {name: label for label, name in described.classes.items()}
    named = named_classes(hub, described.repo).get(described.label)
    names = {label: label for label in train} if named is None else named
    return {names[label]: label for label in in_order(names)}


def _by_name(texts: _ByLabel, codes: Mapping[str, str]) -> ByClass:
    return {name: texts.get(label, {}) for name, label in codes.items()}
