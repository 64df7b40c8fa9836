from __future__ import annotations

from pathlib import Path

import pytest

from sae_research.progress import Progress
from sae_research.world.build import build_world
from sae_research.world.settings import WorldSettings

TINY = WorldSettings(seed=3, size="tiny")


@pytest.fixture(scope="session")
def tiny_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished tiny world; to be read only."""
    folder = tmp_path_factory.mktemp("world") / "world"
    with Progress("world", shown=False) as progress:
        build_world(folder, TINY, progress)
    return folder
