"""The stage `visualize`: pictures of the merged table, and the explorer, a page on all results."""

from __future__ import annotations

import logging

from sae_research.page.build import PAGE_FILE, write_page
from sae_research.page.run import read_merged
from sae_research.pipeline.params import load_params
from sae_research.pipeline.paths import Paths, find_paths
from sae_research.plots.draw import draw_all
from sae_research.plots.overview import write_overview
from sae_research.plots.settings import VisualizationSettings
from sae_research.results.rows import TABLE_FILE

log = logging.getLogger(__name__)


def visualize(paths: Paths, settings: VisualizationSettings) -> None:
    """Fills `images/` and `explorer/` from the merged results, and draws the README's overview."""
    table, scratch = paths.merged / TABLE_FILE, paths.scratch
    drawn = draw_all(table, paths.images, settings, scratch=scratch)
    write_overview(table, paths.overview, settings, scratch=scratch)
    write_page([read_merged(paths.merged, "results")], paths.explorer, settings, scratch=scratch)
    log.info(
        "visualize: %s: %d pictures; %s; open %s in a browser",
        paths.images,
        len(drawn),
        paths.overview,
        paths.explorer / PAGE_FILE,
    )


def visualize_stage() -> None:
    """Draws the merged results of the current folder."""
    paths = find_paths()
    visualize(paths, load_params(paths.params).visualization)
