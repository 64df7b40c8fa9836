"""Prompts about cities that a random model answers correctly, because its answers are their labels."""

from __future__ import annotations

import pytest
import torch
from support.ravel import N_CITIES, TEMPLATES

from sae_research.evals.base import EvalContext
from sae_research.evals.ravel.entities import EntityPrompt
from sae_research.evals.ravel.prompts import Checker, Prompts, known_prompts, tokenize_prompts
from sae_research.lm.model import LanguageModel
from sae_research.lm.site import Site
from sae_research.progress import Progress
from sae_research.sources.hub import Hub


@pytest.fixture(scope="module")
def context(lm: LanguageModel, tmp_path_factory: pytest.TempPathFactory) -> EvalContext:
    world = tmp_path_factory.mktemp("world")
    return EvalContext(lm=lm, hub=Hub(world), seed=0, batch_size=8, progress=Progress("test", shown=False))


@pytest.fixture(scope="module")
def items(lm: LanguageModel) -> list[EntityPrompt]:
    """Prompts on cities w0, w1, ..., each labelled with what the random model goes on with: it knows all of them."""
    made = []
    for i in range(N_CITIES):
        for attribute, templates in TEMPLATES.items():
            for template in templates:
                asked = EntityPrompt(f"w{i}", attribute, template, "", held_out=i % 3 == 0)
                ids = lm.tokenizer(asked.text)["input_ids"]
                best = int(lm.logits(torch.tensor([[2, *ids]]))[0, -1].argmax())  # type: ignore[misc]
                made.append(asked._replace(label=str(lm.tokenizer.decode([best]))))
    return made


@pytest.fixture(scope="module")
def site() -> Site:
    return Site(0, "resid_post")


@pytest.fixture(scope="module")
def checker(lm: LanguageModel) -> Checker:
    """Answers are right by their first token."""
    return Checker(lm, None)


@pytest.fixture(scope="module")
def prompts(context: EvalContext, site: Site, items: list[EntityPrompt], checker: Checker) -> Prompts:
    return known_prompts(context, site, tokenize_prompts(context.lm, items), checker, n_entities=500)
