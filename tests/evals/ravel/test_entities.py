"""Prompts about entities, from both layouts, by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sae_research.errors import UserError
from sae_research.evals.ravel.entities import EntityPrompt, entity_prompts_revision, load_entity_prompts
from sae_research.sources.hub import Hub

TABLES = {
    "entity_attributes": {
        "Paris": {"Country": "France", "Language": "French"},
        "Rome": {"Country": "Italy", "Language": ""},
    },
    "attribute_to_prompts": {"Country": ["%s is in", "no place"], "Language": ["People in %s speak"], "Other": ["%s"]},
    "entity_to_split": {"Paris": "train", "Rome": "val"},
    "prompt_to_split": {"%s is in": "train"},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as the hub's repository of prompts lays it out."""
    for name, table in TABLES.items():
        (tmp_path / f"ravel_city_{name}.json").write_text(json.dumps(table))
    return tmp_path


def test_tables(folder: Path) -> None:
    prompts = load_entity_prompts(Hub(folder), str(folder), "city", ["Country", "Language"])
    assert prompts == [
        EntityPrompt("Paris", "Country", "%s is in", "France", held_out=False),
        EntityPrompt("Paris", "Language", "People in %s speak", "French", held_out=False),
        EntityPrompt("Rome", "Country", "%s is in", "Italy", held_out=True),
    ]
    assert entity_prompts_revision(Hub(folder), str(folder), "city", ["Country"]).startswith("sha256:")


def test_where_the_entity_ends() -> None:
    prompt = EntityPrompt("Rome", "Language", "People in %s speak", "Italian", held_out=False)
    assert prompt.text == "People in Rome speak"
    assert prompt.text[: prompt.entity_end] == "People in Rome"


def test_what_is_missing_is_named(folder: Path) -> None:
    with pytest.raises(UserError, match=r"no prompts on Timezone of 'city'; valid attributes: Country, Language"):
        load_entity_prompts(Hub(folder), str(folder), "city", ["Country", "Timezone"])
    with pytest.raises(UserError, match=r"ravel_verb_entity_attributes\.json"):
        load_entity_prompts(Hub(folder), str(folder), "verb", ["tense"])
    (folder / "ravel_city_entity_attributes.json").write_text("{")
    with pytest.raises(UserError, match="not valid JSON"):
        load_entity_prompts(Hub(folder), str(folder), "city", ["Country"])


def test_the_worlds_rows(tmp_path: Path) -> None:
    data = tmp_path / "datasets" / "cities" / "data"
    data.mkdir(parents=True)
    for split, city in (("train", "Abc"), ("test", "Xyz")):
        row = {"entity": city, "attribute": "Country", "template": "%s is in", "prompt": "", "answer": "Q"}
        pq.write_table(pa.Table.from_pylist([row]), data / f"{split}-00000-of-00001.parquet")
    prompts = load_entity_prompts(Hub(tmp_path), "embedded/cities", "city", ["Country"])
    assert [(p.entity, p.label, p.held_out) for p in prompts] == [("Abc", "Q", False), ("Xyz", "Q", True)]
