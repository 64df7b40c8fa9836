"""A running text as an eval declares it."""

from __future__ import annotations

from functools import partial

from sae_research.data.running import running_text_family, text_repository, text_revision
from sae_research.evals.base import DataSet


def text_data(field: str, name: str) -> DataSet:
    """The text that the settings field `field` names."""
    family = running_text_family(name)
    return DataSet(
        field=field,
        name=name,
        revision=partial(text_revision, name=name),
        repository=text_repository(name),
        reader=None if family is None else family.__module__,
    )
