"""The stage `visualize`: pictures of the merged table."""

from __future__ import annotations

import logging

from sae_research.pipeline.params import load_params
from sae_research.pipeline.paths import Paths, find_paths
from sae_research.plots.draw import draw_all
from sae_research.plots.settings import VisualizationSettings
from sae_research.results.rows import TABLE_FILE

log = logging.getLogger(__name__)


def visualize(paths: Paths, settings: VisualizationSettings) -> None:
    """Fills `images/` from the merged table."""
    drawn = draw_all(paths.merged / TABLE_FILE, paths.images, settings, scratch=paths.store / "scratch")
    log.info("visualize: %s: %d pictures", paths.images, len(drawn))


def visualize_stage() -> None:
    """Draws the merged table of the current folder."""
    paths = find_paths()
    visualize(paths, load_params(paths.params).visualization)
