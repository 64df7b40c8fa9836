"""`python -m sae_research world check`: measures the bars of a world, with intervals, on several seeds."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from sae_research.progress import Progress
from sae_research.world.build import build_world
from sae_research.world.checks.absorption import absorption_bars
from sae_research.world.checks.autointerp import autointerp_bars
from sae_research.world.checks.bar import Bar, markdown_table
from sae_research.world.checks.checked_world import CheckedWorld
from sae_research.world.checks.correlation import correlation_bars
from sae_research.world.checks.language import language_bars
from sae_research.world.checks.probing import probing_bars
from sae_research.world.checks.ravel import ravel_bars
from sae_research.world.checks.saes import sae_bars
from sae_research.world.checks.sensitivity import sensitivity_bars
from sae_research.world.checks.unlearning import unlearning_bars
from sae_research.world.manifest import world_is_valid
from sae_research.world.settings import WorldSettings

log = logging.getLogger(__name__)

_GROUPS = (
    language_bars, probing_bars, sae_bars, correlation_bars, absorption_bars, ravel_bars, unlearning_bars,
    sensitivity_bars, autointerp_bars,
)  # fmt: skip


def check_world(folder: Path, settings: WorldSettings, progress: Progress | None = None) -> list[Bar]:
    """Every bar of the world in `folder`."""
    world = CheckedWorld(folder, settings)
    bars: list[Bar] = []
    for group in _GROUPS:
        bars.extend(group(world))
        if progress is not None:
            progress.advance(doing=f"seed {settings.seed}, {group.__name__}")
    return bars


def run_world_check(seeds: Sequence[int], cache: Path, progress: Progress) -> tuple[str, bool]:
    """The markdown table of all bars on all `seeds`, and whether no value misses its bar.

    Worlds are taken from `cache` (one folder per key); missing ones are built.
    """
    bars_by_seed: dict[int, list[Bar]] = {}
    progress.expect(len(seeds) * len(_GROUPS))
    for seed in seeds:
        folder = world_folder(seed, cache, progress)
        bars_by_seed[seed] = check_world(folder, WorldSettings(seed=seed), progress)
    missed = any(bar.verdict == "missed" for bars in bars_by_seed.values() for bar in bars)
    return markdown_table(bars_by_seed), not missed


def world_folder(seed: int, cache: Path, progress: Progress) -> Path:
    """The default world of that seed below `cache`, built where it is missing."""
    settings = WorldSettings(seed=seed)
    folder = cache / settings.key
    if not world_is_valid(folder, settings):
        log.info("building the world of seed %d (minutes)", seed)
        build_world(folder, settings, progress)
    return folder
