"""RAVEL's settings and templates for tests on a random model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from sae_research.evals.ravel.entities import EntityPrompt
from sae_research.evals.ravel.settings import RavelSettings
from sae_research.lm.model import LanguageModel
from sae_research.measurements import EvalOutput

SETTINGS = RavelSettings(
    dataset="embedded/cities", attributes={"city": ("Country", "Language")}, answer="first_token",
    num_pairs_per_attribute=40, batch_size=4, num_epochs=2, learning_rate=0.05, rotation_learning_rate=0.02,
    das_dimension=4,
)  # fmt: skip
TEMPLATES = {"Country": ("w50 %s w51 w52", "w53 w54 %s w55"), "Language": ("w56 %s w57", "%s w58 w59")}
N_CITIES = 24


def known_items(lm: LanguageModel, *, n_tokens: int = 1) -> list[EntityPrompt]:
    """Prompts on cities w0, w1, ..., each labelled with what the model goes on with: it knows all of them."""
    made = []
    for i in range(N_CITIES):
        for attribute, templates in TEMPLATES.items():
            for template in templates:
                asked = EntityPrompt(f"w{i}", attribute, template, "", held_out=i % 3 == 0)
                ids = [2, *lm.tokenizer(asked.text)["input_ids"]]  # type: ignore[misc]
                for _ in range(n_tokens):
                    ids.append(int(lm.logits(torch.tensor([ids]))[0, -1].argmax()))
                made.append(asked._replace(label=str(lm.tokenizer.decode(ids[-n_tokens:]))))
    return made


def values_of(output: EvalOutput) -> dict[tuple[str, ...], float | None]:
    """Every measurement's value by metric and place."""
    return {(m.metric, *(str(v) for v in m.at.values())): m.value for m in output.measurements}


@torch.no_grad()
def write_ravel_tables(
    folder: Path, model: Any, tokenizer: Any, wordings: Mapping[str, Sequence[str]] = TEMPLATES
) -> None:
    """RAVEL's files on cities w0, w1, ..., one template per attribute, labelled with what `model` goes on with."""
    entities = [f"w{i}" for i in range(N_CITIES)]
    templates = {attribute: [texts[0]] for attribute, texts in wordings.items()}
    labels: dict[str, dict[str, str]] = {entity: {} for entity in entities}
    for entity in entities:
        for attribute, (template,) in templates.items():
            ids = [tokenizer.bos_token_id, *tokenizer(template.replace("%s", entity))["input_ids"]]
            best = int(model(torch.tensor([ids])).logits[0, -1].argmax())
            labels[entity][attribute] = str(tokenizer.decode([best]))
    tables = {
        "entity_attributes": labels, "attribute_to_prompts": templates,
        "entity_to_split": {entity: "train" if i % 3 else "val" for i, entity in enumerate(entities)},
    }  # fmt: skip
    for name, table in tables.items():
        (folder / f"ravel_city_{name}.json").write_text(json.dumps(table))
