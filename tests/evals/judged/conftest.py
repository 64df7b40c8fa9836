"""Running text of the random model's words, in which latents fire often enough to have examples."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from sae_research.evals.base import EvalContext
from sae_research.sources.hub import Hub
from sae_research.sources.memory import GivenTexts

N_WORDS = 58


@pytest.fixture(scope="session")
def documents() -> tuple[str, ...]:
    """200 documents of 30 to 90 words, some of which are much more frequent than others."""
    rng = np.random.default_rng(5)
    shares = 1 / np.arange(1, N_WORDS + 1)
    lengths = rng.integers(30, 90, 200)
    return tuple(" ".join(f"w{word}" for word in rng.choice(N_WORDS, size=n, p=shares / shares.sum())) for n in lengths)


@pytest.fixture
def reading(context: EvalContext, documents: tuple[str, ...]) -> EvalContext:
    """The context of an eval whose data set `texts` is these documents."""
    return dataclasses.replace(context, hub=Hub(context.hub.world, {"texts": GivenTexts(documents)}))
