"""RAVEL's prompts about entities: templates of an attribute, filled in with a city, a laureate, ..."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sae_research.data.tables import read_files, split_files
from sae_research.errors import UserError
from sae_research.evals.ravel.pair_files import pair_file, prompts_in_pairs
from sae_research.sources.hub import WORLD_PREFIX, Hub, RemoteFiles

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


def entity_prompts_revision(hub: Hub, dataset: str, entity_class: str, attributes: Sequence[str]) -> str:
    """The revision that determines the prompts; downloads nothing."""
    if dataset.startswith(WORLD_PREFIX):
        return hub.dataset_revision(dataset)
    return _first_file(hub, dataset, entity_class, attributes).revision


def _first_file(hub: Hub, dataset: str, entity_class: str, attributes: Sequence[str]) -> RemoteFiles:
    """The first file of the layout that the data set has: RAVEL's tables, or pairs."""
    try:
        return hub.dataset_file(dataset, _table_file(entity_class, "entity_attributes"))
    except UserError as no_tables:
        try:
            return hub.dataset_file(dataset, pair_file(attributes[0]))
        except UserError:
            raise no_tables from None


def load_entity_prompts(hub: Hub, dataset: str, entity_class: str, attributes: Sequence[str]) -> list[EntityPrompt]:
    """Every template of `attributes` with every entity, in the data set's order.

    The embedded world stores prompts as rows, with entities for tests in the test split. `adamkarvonen/ravel_prompts`,
    or a local folder of its files, has JSON tables for each class of entities. A folder with the pairs of Chaudhary and
    Geiger (`final_data_country.json`) has prompts on cities.
    """
    if dataset.startswith(WORLD_PREFIX):
        rows = _from_rows(hub, dataset)
    elif _first_file(hub, dataset, entity_class, attributes).names == (pair_file(attributes[0]),):
        rows = _from_pairs(hub, dataset, attributes)
    else:
        rows = _from_tables(hub, dataset, entity_class)
    present = dict.fromkeys(prompt.attribute for prompt in rows)
    missing = [attribute for attribute in attributes if attribute not in present]
    if missing:
        raise UserError(
            f"data set {dataset!r} has no prompts on {', '.join(missing)} of {entity_class!r}; "
            f"valid attributes: {', '.join(present)}"
        )
    return [prompt for prompt in rows if prompt.attribute in attributes]


def with_templates(prompts: Sequence[EntityPrompt], templates: Mapping[str, Sequence[str]]) -> list[EntityPrompt]:
    """`prompts`, those on the attributes of `templates` replaced: every entity in each of these texts."""
    rows: dict[tuple[str, str, str], EntityPrompt] = {}
    for prompt in prompts:
        for template in templates.get(prompt.attribute, (prompt.template,)):
            rows.setdefault((prompt.entity, prompt.attribute, template), prompt._replace(template=template))
    return list(rows.values())


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


def _from_pairs(hub: Hub, dataset: str, attributes: Sequence[str]) -> list[EntityPrompt]:
    """The pairs do not say which entities are for tests: every other one in the order of their names is."""
    asked = {
        attribute: prompts_in_pairs(_read_json(hub, dataset, pair_file(attribute)), where=pair_file(attribute))
        for attribute in attributes
    }
    tested = set(sorted({prompt.entity for prompts in asked.values() for prompt in prompts})[1::2])
    return [
        EntityPrompt(entity, attribute, template, label, held_out=entity in tested)
        for attribute, prompts in asked.items()
        for entity, template, label in prompts
    ]


def _table(hub: Hub, dataset: str, entity_class: str, name: str) -> Any:
    return _read_json(hub, dataset, _table_file(entity_class, name))


def _table_file(entity_class: str, name: str) -> str:
    return f"ravel_{entity_class}_{name}.json"


def _read_json(hub: Hub, dataset: str, name: str) -> Any:
    files = hub.dataset_file(dataset, name)
    path = files.fetch(name)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is not valid JSON ({error}); delete it, and it is fetched again") from error
