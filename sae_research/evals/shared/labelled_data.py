"""Labelled data sets as an eval declares them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from sae_research.data.labelled import families, labelled_revision, require_name
from sae_research.evals.base import DataSet
from sae_research.sources.described import DescribedSet

Require = Callable[[str, Mapping[str, DescribedSet]], None]


def labelled_data(names: Sequence[str], require: Require = require_name) -> list[DataSet]:
    """The sets named in the settings field `dataset_names`; `require` refuses one that the eval cannot read."""
    return [
        DataSet(
            field="dataset_names",
            name=name,
            revision=partial(labelled_revision, name=name),
            repository=families()[name].repository(name) if name in families() else None,
            reader=families()[name].__module__ if name in families() else None,
            require=partial(require, name),
            texts=families()[name].texts(name) if name in families() else None,
        )
        for name in names
    ]
