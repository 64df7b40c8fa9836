"""The pairs of Chaudhary and Geiger: their prompts, and the split by pair."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from support.ravel import SETTINGS

from sae_research.errors import UserError
from sae_research.evals.ravel.entities import EntityPrompt, entity_prompts_revision, load_entity_prompts, with_templates
from sae_research.evals.ravel.pair_files import AskedEntity, prompts_in_pairs
from sae_research.evals.ravel.pairs import draw_pairs
from sae_research.evals.ravel.prompts import Prompts
from sae_research.sources.hub import Hub

SHOTS = "Toronto is a city in the country of Canada. "
CITIES = {"Cork": "Ireland", "New York": "United States", "Kabul": "Afghanistan"}


def _pairs(cities: dict[str, str], attribute: str = "country") -> list[Any]:
    asked = [[f"{SHOTS}{city} is a city in the {attribute} of", label] for city, label in cities.items()]
    return [list(pair) for pair in itertools.product(asked, repeat=2)]


def test_the_entity_is_what_differs() -> None:
    template = f"{SHOTS}%s is a city in the country of"
    assert prompts_in_pairs(_pairs(CITIES), where="file") == [
        AskedEntity(city, template, label) for city, label in CITIES.items()
    ]


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (_pairs(CITIES)[:-1], r"8 pairs of 3 prompts, expected all 9 ordered pairs"),
        ([], "0 pairs of 0 prompts"),
        ({"a": 1}, r"expected a list of pairs \[\[base, value\]"),
        ([[["a", "b"], ["c", 5]]], "expected texts in every pair"),
        ([[["a of", "x"], ["a of", "y"]]], "has the values 'x' and 'y'"),
        ([[[a, "x"], [b, "x"]] for a in ("one", "two") for b in ("one", "two")], "no end in common"),
    ],
)
def test_other_files_are_refused(pairs: Any, message: str) -> None:
    with pytest.raises(UserError, match=f"final: .*{message}"):
        prompts_in_pairs(pairs, where="final")


def test_a_folder_of_pairs_is_a_data_set(tmp_path: Path) -> None:
    for attribute in ("country", "continent"):
        (tmp_path / f"final_data_{attribute}.json").write_text(json.dumps(_pairs(CITIES, attribute)))
    prompts = load_entity_prompts(Hub(tmp_path), str(tmp_path), "city", ["Country", "Continent"])
    assert [(p.entity, p.attribute, p.held_out) for p in prompts] == [
        (city, attribute, city == "Kabul") for attribute in ("Country", "Continent") for city in CITIES
    ]
    assert prompts[-1].text == f"{SHOTS}Kabul is a city in the continent of"
    assert entity_prompts_revision(Hub(tmp_path), str(tmp_path), "city", ["Country"]).startswith("sha256:")
    with pytest.raises(UserError, match=r"final_data_language\.json"):
        load_entity_prompts(Hub(tmp_path), str(tmp_path), "city", ["Country", "Language"])


def test_templates_replace_those_of_the_data_set() -> None:
    prompts = [
        EntityPrompt("Cork", attribute, template, "x", held_out=False)
        for attribute in ("Country", "Language")
        for template in ("%s is", "in %s")
    ]
    replaced = with_templates(prompts, {"Country": ["A is B. %s is"]})
    assert [(p.attribute, p.template) for p in replaced] == [
        ("Country", "A is B. %s is"), ("Language", "%s is"), ("Language", "in %s"),
    ]  # fmt: skip


def test_all_ordered_pairs_are_split_by_whole_batches(prompts: Prompts) -> None:
    """24 cities, two wordings of each attribute: 2 · 24² pairs, of which a tenth is left out."""
    settings = dataclasses.replace(SETTINGS, split="original", num_pairs_per_attribute=10**4, batch_size=16)
    train, test = draw_pairs(prompts, "Country", ["Language"], settings, ("key",))
    assert (len(train), len(test)) == (2 * 50 * 16, 2 * 15 * 16), "of 72 batches of either kind 50, 7 and 15"
    seen = [set(zip(pairs.base.tolist(), pairs.source.tolist(), strict=True)) for pairs in (train, test)]
    assert not seen[0] & seen[1] and len(seen[0] | seen[1]) == len(train) + len(test)
    for base, source in seen[0] | seen[1]:
        assert prompts.items[base].template == prompts.items[source].template
    assert any(base == source for base, source in seen[1]), "an entity with itself"
    for pairs in (train, test):
        kinds = pairs.is_cause.reshape(-1, 16)
        assert (kinds == kinds[:, :1]).all() and 0 < kinds[:, 0].sum() < len(kinds)
        for base, is_cause in zip(pairs.base.tolist(), pairs.is_cause.tolist(), strict=True):
            assert prompts.items[base].attribute == ("Country" if is_cause else "Language")
    few = dataclasses.replace(settings, num_pairs_per_attribute=160, batch_size=4)
    train, test = draw_pairs(prompts, "Country", ["Language"], few, ("key",))
    assert (len(train), len(test)) == (2 * 28 * 4, 2 * 8 * 4), "70 % and 20 % of 40 batches, exactly"


def test_only_entities_that_are_known_by_every_attribute_are_paired(prompts: Prompts) -> None:
    rows = [i for i, item in enumerate(prompts.items) if item.entity != "w3" or item.attribute == "Language"]
    settings = dataclasses.replace(SETTINGS, split="original", num_pairs_per_attribute=10**4)
    some = prompts.take(rows)
    for attribute, other in (("Country", "Language"), ("Language", "Country")):
        train, test = draw_pairs(some, attribute, [other], settings, ("key",))
        for pairs in (train, test):
            assert "w3" not in {some.items[i].entity for i in pairs.base.tolist() + pairs.source.tolist()}
