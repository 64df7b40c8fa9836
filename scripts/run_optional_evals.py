"""One optional eval of every SAE -> eval_results/<eval>/; a disabled one leaves only its `_status.json`."""

from __future__ import annotations

import argparse
import sys

from sae_research.engine.eval_stage import OPTIONAL_EVALS, eval_stage
from sae_research.runtime import run_as_stage

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--eval", choices=OPTIONAL_EVALS, help="default: all of them, one after the other")
    chosen = parser.parse_args().eval
    names = [chosen] if chosen else list(OPTIONAL_EVALS)
    code = 0
    for name in names:
        code = max(code, run_as_stage(lambda name=name: eval_stage(name)))
    sys.exit(code)
