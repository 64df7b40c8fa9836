"""The world's settings and key."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sae_research.code_version import WITHOUT_INFLUENCE, import_closure
from sae_research.errors import UserError
from sae_research.records import read_record
from sae_research.world.settings import RECIPES, WorldSettings


def test_the_key_follows_seed_and_size() -> None:
    keys = {WorldSettings(seed=seed, size=size).key for seed in (0, 1) for size in ("default", "tiny")}
    assert len(keys) == 4
    assert WorldSettings().key == WorldSettings(seed=0, size="default").key


def test_an_unknown_size_names_the_valid_ones() -> None:
    with pytest.raises(UserError, match="default, tiny"):
        read_record(WorldSettings, {"size": "huge"}, where="world")


def test_the_text_gives_each_step_rows_of_its_own() -> None:
    # Documents have at least 45 tokens on average; training takes no row twice.
    for recipe in RECIPES.values():
        assert recipe.n_documents * 45 > recipe.lm_steps * recipe.lm_batch_size * recipe.context_size * 0.9


def test_the_key_covers_the_code_that_shapes_a_world_and_none_that_measures_it() -> None:
    closure = import_closure("sae_research.world.build", WITHOUT_INFLUENCE)
    shapes = ("world.lm_training", "world.families.bios", "world.sae_objectives", "data.text", "lm.model", "workers")
    assert {f"sae_research.{name}" for name in shapes} <= closure
    measures = ("sae_research.world.check", "sae_research.evals", "sae_research.metrics", "sae_research.probes")
    assert not [name for name in closure if name.startswith(measures)]


def test_settings_know_no_torch() -> None:
    code = "import sys, sae_research.world.settings, sae_research.world.manifest; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert done.stdout.strip() == "False"
