"""A random model of made-up words with text of them, and autointerp run on it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from support import words
from support.words import RunAutointerp

from sae_research.evals.autointerp.eval import AUTOINTERP
from sae_research.evals.autointerp.settings import AutointerpSettings
from sae_research.evals.base import EvalContext
from sae_research.evals.run import Measured, run_eval
from sae_research.judges.access import Caller, JudgeAccess
from sae_research.lm.model import LanguageModel
from sae_research.progress import Progress
from sae_research.saes.base import Sae
from sae_research.sources.hub import Hub


@pytest.fixture(scope="session")
def autointerp(word_world: Path) -> RunAutointerp:
    """Measures SAEs through `run_eval`, with settings changed by name; `caller` is a judge of the test's own."""
    model = words.words_model()

    def run(
        saes: Sequence[Sae],
        *,
        caller: Caller | None = None,
        batch_size: int = 16,
        hub: Hub | None = None,
        lm: LanguageModel = model,
        **more: Any,
    ) -> list[Measured]:
        settings: AutointerpSettings = dataclasses.replace(words.SETTINGS, **more)
        if caller is not None:
            settings = dataclasses.replace(settings, judge="caller", reading=None)
        context = EvalContext(
            lm, hub or Hub(word_world), seed=0, batch_size=batch_size, progress=Progress("test", shown=False),
            judges=JudgeAccess(caller=caller),
        )  # fmt: skip
        with torch.no_grad():
            return list(run_eval(context, AUTOINTERP, settings, saes, parts=lambda sae: {"sae": sae.card.name}))

    return run
