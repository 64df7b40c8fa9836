"""Labelled data sets that a user describes in `params.yaml`: where one lies, and what its columns hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_LONGEST_LABEL = 100


@dataclass(frozen=True)
class DescribedSet:
    """A labelled data set without any code of its own."""

    repo: str
    """A Hub id, a local folder or file, or `package:<distribution>/<path>`."""
    text: str = "text"
    """The column of the text."""
    label: str = "label"
    """The column of the class."""
    group: str | None = None
    """A column with a second attribute: every class then has equally many texts of each group; SCR needs two groups."""
    classes: Mapping[str, str] | None = None
    """The names of the classes by label; texts with other labels are left out. None: as `dataset_info.json` names them,
    or else the labels themselves."""
    groups: tuple[str, ...] | None = None
    """For SCR the two labels in `group`; None: those that there are."""
    pairs: tuple[tuple[str, ...], ...] | None = None
    """For SCR pairs of classes, by name."""

    def __post_init__(self) -> None:
        columns = [self.text, self.label, *([self.group] if self.group is not None else [])]
        if "" in columns or not self.repo:
            raise ValueError("repo and the names of columns must not be empty")
        if len(set(columns)) != len(columns):
            raise ValueError(f"text, label and group name a column twice: {', '.join(columns)}")
        if self.classes is not None:
            names = list(self.classes.values())
            if len(names) < 2 or len(set(names)) != len(names) or "" in names:
                raise ValueError(f"classes is {dict(self.classes)}, expected at least two labels with different names")
            if max(map(len, self.classes)) > _LONGEST_LABEL:
                raise ValueError(f"classes has a label of more than {_LONGEST_LABEL} letters, which is no class")
        if self.groups is not None and (self.group is None or len(set(self.groups)) != 2):
            raise ValueError("groups needs two different labels, and group, the column that they stand in")
        for pair in self.pairs or ():
            unknown = [] if self.classes is None else [name for name in pair if name not in self.classes.values()]
            if len(set(pair)) != 2 or unknown:
                raise ValueError(f"pairs holds {list(pair)}, expected the names of two classes")
        if self.pairs is not None and (self.group is None or not self.pairs):
            raise ValueError("pairs needs at least one pair, and group, the column that SCR crosses classes with")
