from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from sae_research.world.families import bios, reviews, spelling
from sae_research.world.settings import RECIPES

RECIPE = RECIPES["tiny"]
COLUMNS = {
    "text": ["text"],
    "bios": ["hard_text", "profession", "gender"],
    "reviews": ["text", "rating", "category"],
    "news": ["text", "label"],
    "languages": ["text", "label"],
    "code": ["code", "language"],
    "cities": ["entity", "attribute", "template", "prompt", "answer"],
    "facts": ["subject", "question", "choices", "answer", "entity"],
    "forget": ["text"],
    "retain": ["text"],
    "spelling": ["word", "letter"],
}


def _read(world: Path, name: str, split: str) -> dict[str, list]:
    path = world / "datasets" / name / "data" / f"{split}-00000-of-00001.parquet"
    return pq.read_table(path).to_pydict()


@pytest.mark.parametrize("name", COLUMNS)
def test_both_splits_have_the_hubs_columns_and_share_next_to_no_row(tiny_world: Path, name: str) -> None:
    train, test = (_read(tiny_world, name, split) for split in ("train", "test"))
    assert list(train) == list(test) == COLUMNS[name]
    rows = [{json.dumps(row) for row in zip(*part.values(), strict=True)} for part in (train, test)]
    assert len(rows[0] & rows[1]) <= 0.02 * len(rows[1])


def test_bios_are_balanced_over_profession_and_gender(tiny_world: Path) -> None:
    for split, n in (("train", RECIPE.train_per_class), ("test", RECIPE.test_per_class)):
        columns = _read(tiny_world, "bios", split)
        counts = Counter(zip(columns["profession"], columns["gender"], strict=True))
        assert counts == {(p, g): n for p in bios.PROFESSIONS for g in bios.GENDERS}


def test_reviews_are_balanced_over_category_and_rating(tiny_world: Path) -> None:
    columns = _read(tiny_world, "reviews", "train")
    counts = Counter(zip(columns["category"], columns["rating"], strict=True))
    assert counts == {(c, r): RECIPE.train_per_class for c in reviews.CATEGORIES for r in (1.0, 5.0)}


@pytest.mark.parametrize(
    ("name", "column", "n"), [("news", "label", 4), ("languages", "label", 5), ("code", "language", 5)]
)
def test_single_labels_are_balanced(tiny_world: Path, name: str, column: str, n: int) -> None:
    counts = Counter(_read(tiny_world, name, "train")[column])
    assert sorted(counts.values()) == [2 * RECIPE.train_per_class] * n


def test_classes_are_named_for_every_label(tiny_world: Path) -> None:
    for name in ("bios", "reviews", "news", "languages", "code"):
        info = json.loads((tiny_world / "datasets" / name / "dataset_info.json").read_text())
        for column, classes in info["classes"].items():
            assert {str(value) for value in _read(tiny_world, name, "train")[column]} == set(classes)


def test_cities_of_the_two_splits_differ_and_prompts_hold_their_entity(tiny_world: Path) -> None:
    train, test = (_read(tiny_world, "cities", split) for split in ("train", "test"))
    assert not set(train["entity"]) & set(test["entity"])
    assert len({*train["entity"], *test["entity"]}) == 96
    for entity, template, prompt in zip(train["entity"], train["template"], train["prompt"], strict=True):
        assert prompt == template.replace("%s", entity)


def test_the_forgotten_subject_is_not_in_the_text_to_be_retained(tiny_world: Path) -> None:
    forget = " ".join(_read(tiny_world, "forget", "train")["text"])
    retain = " ".join(_read(tiny_world, "retain", "train")["text"])
    questions = _read(tiny_world, "facts", "train")
    agents = {
        next(word.strip("?") for word in question.split()[1:] if word[0].isupper())
        for question, subject in zip(questions["question"], questions["subject"], strict=True)
        if subject == "toxins"
    }
    assert sum(agent in forget for agent in agents) > 0.9 * len(agents)
    assert not [agent for agent in agents if agent in retain]


def test_facts_are_halved_and_ask_each_fact_once(tiny_world: Path) -> None:
    train, test = (_read(tiny_world, "facts", split) for split in ("train", "test"))
    assert Counter(train["subject"]) == Counter(test["subject"])
    assert len({*train["question"], *test["question"]}) == 48 * 3 + 3 * 40 * 2


def test_spelled_words_are_the_tokenizers_alphabetic_tokens(tiny_world: Path) -> None:
    columns = _read(tiny_world, "spelling", "train")
    vocab = json.loads((tiny_world / "models" / "lm" / "tokenizer.json").read_text())["model"]["vocab"]
    for word, letter in zip(columns["word"], columns["letter"], strict=True):
        assert word.replace(" ", "Ġ") in vocab
        assert letter == spelling.first_letter(word)
        assert letter.isupper()
