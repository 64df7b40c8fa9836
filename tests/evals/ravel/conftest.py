"""Prompts about cities that a random model answers correctly, because its answers are their labels."""

from __future__ import annotations

import pytest
from support.ravel import known_items

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
    return known_items(lm)


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
