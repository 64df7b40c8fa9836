"""One optional eval of every SAE -> eval_results/<eval>/; a disabled one leaves only its `_status.json`."""

from __future__ import annotations

import argparse
import sys

from sae_research.evals.registry import optional_evals
from sae_research.pipeline.runtime import run_as_stage
from sae_research.pipeline.stages.evals import eval_stage

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--eval", choices=optional_evals(), help="default: all of them, one after the other")
    chosen = parser.parse_args().eval
    names = [chosen] if chosen else optional_evals()
    code = 0
    for name in names:
        code = max(code, run_as_stage(lambda name=name: eval_stage(name)))
    sys.exit(code)
