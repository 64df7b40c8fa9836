"""Settings, data and models with which every eval runs in a second or two on random models."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from support import letters, questions, ravel, words
from support.tiny_data import (
    texts,
    write_bios,
    write_corpora,
    write_news,
    write_questions,
    write_reviews,
    write_table,
    write_text,
)

from sae_research.evals.core.settings import CoreSettings
from sae_research.evals.dashboards.settings import DashboardsSettings
from sae_research.evals.scr.settings import ScrSettings
from sae_research.evals.sparse_probing.settings import SparseProbingSettings
from sae_research.evals.tpp.settings import TppSettings
from sae_research.lm.model import LanguageModel
from sae_research.saes.base import Sae

SETTINGS: Mapping[str, Any] = {
    "core": CoreSettings(
        "embedded/text", context_size=12, batch_size=2, n_reconstruction_batches=2, n_sparsity_batches=3
    ),
    "sparse_probing": SparseProbingSettings(("embedded/news",), 20, 10, 12, (1, 2)),
    "scr": ScrSettings(("embedded/bios",), 40, 24, 12, (2, 5)),
    "tpp": TppSettings(("embedded/news",), 20, 10, 12, (2, 30)),
    "absorption": dataclasses.replace(letters.SETTINGS, k_sparse_probe_num_epochs=3),
    "ravel": dataclasses.replace(ravel.SETTINGS, num_epochs=1, baselines=("das", "mdas")),
    "unlearning": questions.SETTINGS,
    "dashboards": DashboardsSettings("embedded/text", n_rows=6, context_size=24, n_latents=6, n_top=2),
    "sensitivity": words.SENSITIVITY,
    "autointerp": words.SETTINGS,
}
"""By eval."""


def write_small_world(world: Path, lm: LanguageModel) -> None:
    """The smallest data on which all evals run; `lm` is the random model of the evals' tests."""
    for write in (
        write_text, write_news, write_bios, write_reviews, write_corpora, write_questions, words.write_words,
        words.write_published,
    ):  # fmt: skip
        write(world)
    _write_more_corpora(world)
    items = ravel.known_items(lm, n_tokens=2)
    for name, step in (("cities", 1), ("towns", 2)):
        for split, held_out in (("train", False), ("test", True)):
            rows = [(i.entity, i.attribute, i.template, i.label) for i in items[::step] if i.held_out == held_out]
            names = ("entity", "attribute", "template", "answer")
            write_table(world, name, split, {n: list(c) for n, c in zip(names, zip(*rows, strict=True), strict=True)})


def _write_more_corpora(world: Path) -> None:
    """Another data set, configuration, split, file and column of what unlearning reads; another split of the text."""
    rng = np.random.default_rng(8)
    write_table(world, "text", "train", {"text": texts(rng, 40)})
    for name in ("forget", "retain", "more"):
        for config, split in (("data", "train"), ("data", "test"), ("other", "train")):
            columns = {column: [" ".join(texts(rng, 3)) for _ in range(30)] for column in ("text", "second")}
            write_table(world, name, split, columns, config=config)
        lines = [json.dumps({"text": " ".join(texts(rng, 3))}) for _ in range(30)]
        (world / "datasets" / name / "lines.jsonl").write_text("\n".join(lines))
    for split in ("train", "test"):
        asked = [q for s in ("poison", "birds", "gems") for q in questions.some_questions(28, seed=77, subject=s)]
        columns = {name: [getattr(q, name) for q in asked] for name in asked[0]._fields}
        write_table(world, "other_facts", split, {**columns, "choices": [list(q.choices) for q in asked]})


@cache
def letters_model() -> LanguageModel:
    """A model that knows letters, for absorption."""
    with torch.no_grad():
        return letters.letters_model()


@cache
def letters_sae(architecture: str = "relu", **hyper: Any) -> Sae:
    """An SAE with three inexact latents for each letter."""
    noise = torch.randn(78, letters.D_MODEL, generator=torch.Generator().manual_seed(1))
    atoms = torch.nn.functional.normalize(letters.letter_directions()[:26].repeat(3, 1) + 0.15 * noise, dim=1)
    return letters.make_letter_sae(architecture, atoms, **hyper)


@cache
def words_model() -> LanguageModel:
    """A model whose words a judge can tell, for sensitivity and autointerp."""
    with torch.no_grad():
        return words.words_model()
