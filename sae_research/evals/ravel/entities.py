"""RAVEL's prompts about entities: templates of an attribute, filled in with a city, a laureate, ..."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sae_research.data.tables import read_files, split_files
from sae_research.errors import UserError
from sae_research.sources.hub import WORLD_PREFIX, Hub

_COLUMNS = ("entity", "attribute", "template", "answer")
_SLOT = "%s"


class EntityPrompt(NamedTuple):
    """One prompt; it ends where the value of the entity's attribute should follow."""

    entity: str
    attribute: str
    template: str
    """The text with `%s` in place of the entity."""
    label: str
    """The attribute's value for this entity."""
    held_out: bool
    """Whether the data set keeps the entity for tests."""

    @property
    def text(self) -> str:
        return self.template.replace(_SLOT, self.entity)

    @property
    def entity_end(self) -> int:
        """The index in `text` after the entity's last character."""
        return self.template.index(_SLOT) + len(self.entity)


def entity_prompts_revision(hub: Hub, dataset: str, entity_class: str) -> str:
    """The revision that determines the prompts; downloads nothing."""
    if dataset.startswith(WORLD_PREFIX):
        return hub.dataset_revision(dataset)
    return hub.dataset_file(dataset, _file(entity_class, "entity_attributes")).revision


def load_entity_prompts(hub: Hub, dataset: str, entity_class: str, attributes: Sequence[str]) -> list[EntityPrompt]:
    """Every template of `attributes` with every entity, in the data set's order.

    The embedded world stores prompts as rows, with entities for tests in the test split. `adamkarvonen/ravel_prompts`,
    or a local folder of its files, has JSON tables for each class of entities.
    """
    rows = _from_rows(hub, dataset) if dataset.startswith(WORLD_PREFIX) else _from_tables(hub, dataset, entity_class)
    present = dict.fromkeys(prompt.attribute for prompt in rows)
    missing = [attribute for attribute in attributes if attribute not in present]
    if missing:
        raise UserError(
            f"data set {dataset!r} has no prompts on {', '.join(missing)} of {entity_class!r}; "
            f"valid attributes: {', '.join(present)}"
        )
    return [prompt for prompt in rows if prompt.attribute in attributes]


def _from_rows(hub: Hub, dataset: str) -> list[EntityPrompt]:
    return [
        EntityPrompt(entity, attribute, template, answer, held_out=split == "test")
        for split in ("train", "test")
        for entity, attribute, template, answer in read_files(split_files(hub, dataset, split), _COLUMNS)
    ]


def _from_tables(hub: Hub, dataset: str, entity_class: str) -> list[EntityPrompt]:
    """Templates without exactly one place for the entity are left out, and so are entities without the attribute."""
    labels: Mapping[str, Mapping[str, str]] = _table(hub, dataset, entity_class, "entity_attributes")
    templates: Mapping[str, Sequence[str]] = _table(hub, dataset, entity_class, "attribute_to_prompts")
    split: Mapping[str, str] = _table(hub, dataset, entity_class, "entity_to_split")
    return [
        EntityPrompt(entity, attribute, template, values[attribute], held_out=split[entity] != "train")
        for entity, values in labels.items()
        for attribute, wordings in templates.items()
        for template in wordings
        if values.get(attribute) and template.count(_SLOT) == 1
    ]


def _table(hub: Hub, dataset: str, entity_class: str, name: str) -> Any:
    files = hub.dataset_file(dataset, _file(entity_class, name))
    path = files.fetch(files.names[0])
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is not valid JSON ({error}); delete it, and it is fetched again") from error


def _file(entity_class: str, name: str) -> str:
    return f"ravel_{entity_class}_{name}.json"
