"""The stage `visualize`: pictures of the merged table."""

from __future__ import annotations

import logging

from sae_research.pipeline.params import load_params
from sae_research.pipeline.paths import find_paths
from sae_research.plots.draw import draw_all
from sae_research.results.rows import TABLE_FILE

log = logging.getLogger(__name__)


def visualize_stage() -> None:
    """Fills `images/` in the current folder."""
    paths = find_paths()
    settings = load_params(paths.params).visualization
    drawn = draw_all(paths.merged / TABLE_FILE, paths.images, settings, scratch=paths.store / "scratch")
    log.info("visualize: %s: %d pictures", paths.images, len(drawn))
