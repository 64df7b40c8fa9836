"""Draw the merged results -> images/."""

from __future__ import annotations

import sys

from sae_research.engine.entry import visualize_stage
from sae_research.runtime import run_as_stage

if __name__ == "__main__":
    sys.exit(run_as_stage(visualize_stage))
