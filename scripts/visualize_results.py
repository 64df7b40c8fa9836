"""Draw the merged results -> images/."""

from __future__ import annotations

import sys

from sae_research.params import load_params
from sae_research.paths import find_paths
from sae_research.plots.draw import visualize
from sae_research.runtime import run_as_stage


def draw() -> None:
    """Draws every picture that the results ask for."""
    paths = find_paths()
    visualize(paths, load_params(paths.params).visualization)


if __name__ == "__main__":
    sys.exit(run_as_stage(draw))
