"""The stage `visualize`: pictures of the merged table."""

from __future__ import annotations

import logging

from sae_research.pipeline.params import load_params
from sae_research.pipeline.paths import Paths, find_paths
from sae_research.plots.draw import draw_all
from sae_research.plots.overview import write_overview
from sae_research.plots.settings import VisualizationSettings
from sae_research.results.rows import TABLE_FILE

log = logging.getLogger(__name__)


def visualize(paths: Paths, settings: VisualizationSettings) -> None:
    """Fills `images/` from the merged table, and draws the README's overview."""
    table, scratch = paths.merged / TABLE_FILE, paths.scratch
    drawn = draw_all(table, paths.images, settings, scratch=scratch)
    write_overview(table, paths.overview, settings, scratch=scratch)
    log.info("visualize: %s: %d pictures, and %s", paths.images, len(drawn), paths.overview)


def visualize_stage() -> None:
    """Draws the merged table of the current folder."""
    paths = find_paths()
    visualize(paths, load_params(paths.params).visualization)
