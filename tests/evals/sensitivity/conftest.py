"""Sensitivity run on a random model of made-up words."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from support import words
from support.words import RunSensitivity

from sae_research.evals.base import EvalContext
from sae_research.evals.run import Measured, run_eval
from sae_research.evals.sensitivity.eval import SENSITIVITY_EVAL
from sae_research.evals.sensitivity.settings import SensitivitySettings
from sae_research.judges.access import Caller, JudgeAccess
from sae_research.lm.model import LanguageModel
from sae_research.progress import Progress
from sae_research.saes.base import Sae
from sae_research.sources.hub import Hub


@pytest.fixture(scope="session")
def word_lm() -> LanguageModel:
    return words.words_model()


@pytest.fixture
def word_context(word_lm: LanguageModel, word_world: Path) -> EvalContext:
    return EvalContext(word_lm, Hub(word_world), seed=0, batch_size=16, progress=Progress("test", shown=False))


@pytest.fixture
def sensitivity(word_context: EvalContext) -> RunSensitivity:
    """Measures SAEs through `run_eval`, with settings changed by name; `caller` is a judge of the test's own."""

    def run(saes: Sequence[Sae], *, caller: Caller | None = None, batch_size: int = 16, **more: Any) -> list[Measured]:
        settings: SensitivitySettings = dataclasses.replace(words.SENSITIVITY, **more)
        if caller is not None:
            settings = dataclasses.replace(settings, judge="caller", reading=None)
        context = dataclasses.replace(word_context, batch_size=batch_size, judges=JudgeAccess(caller=caller))
        with torch.no_grad():
            return list(run_eval(context, SENSITIVITY_EVAL, settings, saes, parts=lambda sae: {"sae": sae.card.name}))

    return run
