"""What each stage's script calls: read the parameters, do the stage's one job, fail loudly."""

from __future__ import annotations

import dataclasses

from sae_research.engine.stages import run_eval_stage
from sae_research.errors import UserError
from sae_research.manifest import read_manifest
from sae_research.params import load_params
from sae_research.paths import find_paths

OPTIONAL_EVALS = ("absorption", "scr", "tpp", "ravel", "unlearning")


def setup_stage() -> None:
    """Fills `downloaded_saes/` and `world/`."""
    from sae_research.engine.setup import run_setup

    paths = find_paths()
    run_setup(load_params(paths.params), paths)


def eval_stage(name: str) -> None:
    """Fills `eval_results/<name>/`; raises after the others are done if any cell failed."""
    paths = find_paths()
    summary = run_eval_stage(name, load_params(paths.params), paths)
    if summary.failures:
        reasons = "\n".join(f"  {sae}: {reason}" for sae, reason in summary.failures.items())
        raise UserError(
            f"{name}: {len(summary.failures)} SAE(s) failed; the other cells are kept and will not be computed again:\n"
            f"{reasons}"
        )


def process_stage() -> None:
    """Fills `eval_results/merged/`, `metrics.json` and `METRICS.md`."""
    from sae_research.results.process import process_results

    paths = find_paths()
    enabled = dataclasses.asdict(load_params(paths.params).eval_types)
    process_results(paths, enabled, saes=read_manifest(paths.saes).saes)


def visualize_stage() -> None:
    """Fills `images/`."""
    from sae_research.plots.draw import visualize

    paths = find_paths()
    visualize(paths, load_params(paths.params).visualization)
