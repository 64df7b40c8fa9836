"""The model that knows first letters."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.letters import letters_model

from sae_research.evals.base import EvalContext
from sae_research.lm.model import LanguageModel
from sae_research.progress import Progress
from sae_research.sources.hub import Hub


@pytest.fixture(scope="session")
def lm() -> LanguageModel:
    return letters_model()


@pytest.fixture
def context(lm: LanguageModel, tmp_path: Path) -> EvalContext:
    return EvalContext(lm=lm, hub=Hub(tmp_path), seed=0, batch_size=32, progress=Progress("test", shown=False))
