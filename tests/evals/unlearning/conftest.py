"""A world with corpora and questions."""

from __future__ import annotations

import pytest
from support.tiny_data import write_corpora, write_questions

from sae_research.evals.base import EvalContext


@pytest.fixture
def filled(context: EvalContext) -> EvalContext:
    """The context with corpora and questions in its world."""
    write_corpora(context.hub.world)
    write_questions(context.hub.world)
    return context
