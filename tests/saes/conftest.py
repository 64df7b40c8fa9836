"""SAEs small enough to check by hand, one of each architecture."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.saes import random_sae

from sae_research.saes.base import Sae

MakeSae = Callable[..., Sae]


@pytest.fixture
def make_sae() -> MakeSae:
    """make_sae("topk", d_in=6, d_sae=16, seed=0, k=3, W_dec=...) with random tensors where none is given."""
    return random_sae
