"""Draw the merged results -> images/."""

from __future__ import annotations

import sys

from sae_research.pipeline.runtime import run_as_stage
from sae_research.pipeline.stages.visualize import visualize_stage

if __name__ == "__main__":
    sys.exit(run_as_stage(visualize_stage))
