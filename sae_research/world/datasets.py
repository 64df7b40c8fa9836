"""The world's data sets in the layout of the hub: rows drawn from the grammar, written as parquet."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sae_research.files import write_atomically
from sae_research.world.draw import Draw
from sae_research.world.families import bios, cities, code, facts, languages, news, reviews, spelling
from sae_research.world.grammar import Grammar
from sae_research.world.settings import Recipe

TableRow = dict[str, Any]
SPLITS = ("train", "test")


@dataclass(frozen=True)
class WorldDataSet:
    """One data set: its rows by split, and the names of its classes by column and value."""

    name: str
    rows: Mapping[str, Sequence[TableRow]]
    classes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def make_data_sets(grammar: Grammar, recipe: Recipe, words: Sequence[str]) -> Iterator[WorldDataSet]:
    """Every data set of the world; `words` are the tokenizer's alphabetic tokens."""
    yield _text(grammar, recipe, words)
    yield _bios(grammar, recipe)
    yield _reviews(grammar, recipe)
    yield _single_label(grammar, recipe, "news", "text", "label", news.TOPICS)
    yield _single_label(grammar, recipe, "languages", "text", "label", languages.LANGUAGES)
    yield _single_label(grammar, recipe, "code", "code", "language", {name: name for name in code.LANGUAGES})
    yield _cities(grammar)
    yield _facts(grammar)
    yield _forget(grammar, recipe)
    yield _retain(grammar, recipe, words)
    yield _spelling(grammar, words)


def _text(grammar: Grammar, recipe: Recipe, words: Sequence[str]) -> WorldDataSet:
    sizes = {"train": recipe.n_documents, "test": recipe.n_held_out}
    return WorldDataSet("text", {s: [{"text": t} for t in grammar.documents(s, sizes[s], words)] for s in SPLITS})


def _per_class(recipe: Recipe) -> dict[str, int]:
    return {"train": recipe.train_per_class, "test": recipe.test_per_class}


def _bios(grammar: Grammar, recipe: Recipe) -> WorldDataSet:
    def rows(split: str) -> list[TableRow]:
        draw = Draw(grammar.seed, "bios", split)
        labels = [(p, g) for p in bios.PROFESSIONS for g in bios.GENDERS] * _per_class(recipe)[split]
        return [
            {"hard_text": grammar.bios.bio(draw, p, g), "profession": p, "gender": g} for p, g in draw.shuffled(labels)
        ]

    classes = {"profession": _named(bios.PROFESSIONS), "gender": _named(bios.GENDERS)}
    return WorldDataSet("bios", {split: rows(split) for split in SPLITS}, classes)


def _reviews(grammar: Grammar, recipe: Recipe) -> WorldDataSet:
    def rows(split: str) -> list[TableRow]:
        draw = Draw(grammar.seed, "reviews", split)
        labels = [(c, r) for c in reviews.CATEGORIES for r in reviews.RATINGS] * _per_class(recipe)[split]
        return [
            {"text": grammar.reviews.review(draw, c, r), "rating": r, "category": c} for c, r in draw.shuffled(labels)
        ]

    ratings = {rating: str(rating) for rating in reviews.RATINGS}
    classes = {"category": _named(reviews.CATEGORIES), "rating": _named(ratings)}
    return WorldDataSet("reviews", {split: rows(split) for split in SPLITS}, classes)


def _single_label(
    grammar: Grammar, recipe: Recipe, name: str, text: str, label: str, classes: Mapping[Any, str]
) -> WorldDataSet:
    """Twice `per_class` texts per class: as many as a profession has over both genders."""
    write = {"news": grammar.news.item, "languages": grammar.languages.text, "code": grammar.code.excerpt}[name]

    def rows(split: str) -> list[TableRow]:
        draw = Draw(grammar.seed, name, split)
        labels = draw.shuffled(list(classes) * (2 * _per_class(recipe)[split]))
        return [{text: write(draw, value), label: value} for value in labels]

    return WorldDataSet(name, {split: rows(split) for split in SPLITS}, {label: _named(classes)})


def _cities(grammar: Grammar) -> WorldDataSet:
    """A prompt per city, attribute and template; two thirds of the cities are in the training split."""
    every = grammar.cities.cities
    parts = {"train": [c for i, c in enumerate(every) if i % 3], "test": [c for i, c in enumerate(every) if not i % 3]}
    return WorldDataSet("cities", {split: [row for city in parts[split] for row in _prompts(city)] for split in SPLITS})


def _prompts(city: cities.City) -> Iterator[TableRow]:
    for attribute in cities.ATTRIBUTES:
        for template in cities.TEMPLATES[attribute]:
            row = {"entity": city.name, "attribute": attribute, "template": template}
            yield {**row, "prompt": template % city.name, "answer": city.facts[attribute]}


def _facts(grammar: Grammar) -> WorldDataSet:
    """Questions on every fact in two random halves; unlearning divides them by their entities instead."""
    halves: dict[str, list[TableRow]] = {split: [] for split in SPLITS}
    for subject in facts.SUBJECTS:
        questions = Draw(grammar.seed, "facts", "split", subject).shuffled(
            grammar.facts.questions(grammar.seed, subject)
        )
        for i, question in enumerate(questions):
            halves[SPLITS[i % 2]].append({**question._asdict(), "choices": list(question.choices)})
    subjects = {subject: "hazardous" if subject == facts.HAZARDOUS else "harmless" for subject in facts.SUBJECTS}
    return WorldDataSet("facts", halves, {"subject": subjects})


def _forget(grammar: Grammar, recipe: Recipe) -> WorldDataSet:
    """Prose on the hazardous subject only."""

    def rows(split: str) -> list[TableRow]:
        draw = Draw(grammar.seed, "forget", split)
        n = 2 * _per_class(recipe)[split]
        return [{"text": grammar.facts.prose(draw, facts.HAZARDOUS)} for _ in range(n)]

    return WorldDataSet("forget", {split: rows(split) for split in SPLITS})


def _retain(grammar: Grammar, recipe: Recipe, words: Sequence[str]) -> WorldDataSet:
    """Running text in which the hazardous subject does not occur."""
    agents = [entity.name for entity in grammar.facts.entities[facts.HAZARDOUS]]

    def rows(split: str) -> list[TableRow]:
        documents = grammar.documents(f"retain-{split}", 2 * _per_class(recipe)[split], words)
        # Documents with questions are left out: options alone could give away the hazardous subject.
        return [{"text": t} for t in documents if "Answer:" not in t and not any(agent in t for agent in agents)]

    return WorldDataSet("retain", {split: rows(split) for split in SPLITS})


def _spelling(grammar: Grammar, words: Sequence[str]) -> WorldDataSet:
    """The words to spell with their first letters, four fifths of them in the training split."""
    order = Draw(grammar.seed, "spelling", "split").shuffled(words)
    cut = len(order) * 4 // 5
    parts = {"train": order[:cut], "test": order[cut:]}
    rows = {split: [{"word": w, "letter": spelling.first_letter(w)} for w in parts[split]] for split in SPLITS}
    return WorldDataSet("spelling", rows)


def _named(classes: Mapping[Any, str]) -> dict[str, str]:
    return {str(value): name for value, name in classes.items()}


def content_digest(data_set: WorldDataSet) -> str:
    """Digest of rows and class names, independent of the version of the library that writes the file."""
    digest = hashlib.sha256(json.dumps(data_set.classes, sort_keys=True).encode())
    for split in SPLITS:
        for row in data_set.rows[split]:
            digest.update(json.dumps(row, sort_keys=True, ensure_ascii=False).encode())
            digest.update(b"\n")
        digest.update(split.encode())
    return digest.hexdigest()


def write_data_set(data_set: WorldDataSet, folder: Path) -> None:
    """`folder/data/<split>-00000-of-00001.parquet` and `dataset_info.json`."""
    for split in SPLITS:
        path = folder / "data" / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        table = pa.Table.from_pylist(list(data_set.rows[split]))
        pq.write_table(table, path, compression="zstd", row_group_size=8192, version="2.6")
    info = {"name": data_set.name, "classes": data_set.classes, "rows": {s: len(data_set.rows[s]) for s in SPLITS}}
    write_atomically(folder / "dataset_info.json", json.dumps(info, indent=2, sort_keys=True) + "\n")
