"""What the judge `rules` tells apart on the embedded worlds: `python -m benchmarks.judged_scores` prints a table.

Autointerp and sensitivity with the settings of the embedded profile, of trained SAEs and of two that learned nothing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sae_research.evals.registry import find_eval
from sae_research.measurements import EvalOutput
from sae_research.metrics.intervals import Estimate
from sae_research.pipeline.paths import find_paths
from sae_research.progress import Progress
from sae_research.records import read_record
from sae_research.results.markdown import table
from sae_research.world.check import world_folder
from sae_research.world.checks.checked_world import PCA, RANDOM, CheckedWorld
from sae_research.world.checks.evaluated import difference, evaluate, score_of
from sae_research.world.settings import WorldSettings
from sae_research.yaml_text import read_yaml

SAES = {
    "topk k8": "sae-topk/k8",
    "topk k16": "sae-topk/k16",
    "topk k32": "sae-topk/k32",
    "jumprelu L0 8": "sae-jumprelu/l0_8",
    "relu L0 24": "sae-relu/resid_post_layer_0/trainer_0",
    "random k16": RANDOM,
    "pca k16": PCA,
}
TRAINED, CONTROLS = "topk k16", ("random k16", "pca k16")


class Column(NamedTuple):
    """A metric at a place."""

    title: str
    eval: str
    metric: str
    at: Mapping[str, Any] = {}


COLUMNS = (
    Column("score", "autointerp", "autointerp_score"),
    Column("balanced accuracy", "autointerp", "autointerp_balanced_accuracy"),
    Column("gain", "autointerp", "autointerp_gain"),
    Column("sensitivity", "sensitivity", "sensitivity", {"percent": 0}),
    Column("others' texts", "sensitivity", "sensitivity_other", {"percent": 0}),
    Column("contrast", "sensitivity", "sensitivity_contrast", {"percent": 0}),
    Column("contrast at 50 %", "sensitivity", "sensitivity_contrast", {"percent": 50}),
)
JUDGE = (
    Column("one word, score", "autointerp", "judge_gold_score"),
    Column("no meaning, balanced accuracy", "autointerp", "judge_null_balanced_accuracy"),
    Column("one word, texts that hold it", "sensitivity", "judge_gold_compliance"),
)
Outputs = Mapping[str, Mapping[str, EvalOutput]]
"""By eval and SAE."""


def tables(outputs: Mapping[int, Outputs]) -> Iterator[str]:
    """The scores on each world, the lead of a trained SAE over controls as sparse, and how fit the judge is."""
    lines = [
        [str(seed), sae, *(_shown(_score(of_seed, column, sae)) for column in COLUMNS)]
        for seed, of_seed in outputs.items()
        for sae in SAES
    ]
    yield table(["seed", "SAE", *(column.title for column in COLUMNS)], lines, numbers_from=2)
    lines = [
        [str(seed), control, *(_shown(_lead(of_seed, column, control)) for column in COLUMNS)]
        for seed, of_seed in outputs.items()
        for control in CONTROLS
    ]
    yield table(["seed", f"{TRAINED} minus", *(column.title for column in COLUMNS)], lines, numbers_from=2)
    lines = [
        [str(seed), *(f"{_score(of_seed, column, TRAINED).value:.3f}" for column in JUDGE)]
        for seed, of_seed in outputs.items()
    ]
    yield table(["seed", *(column.title for column in JUDGE)], lines)


def measure(folder: Path, seed: int) -> Outputs:
    """Both evals of all SAEs on the world in `folder`."""
    world = CheckedWorld(folder, WorldSettings(seed=seed))
    profile = read_yaml(Path(__file__).parents[1] / "profiles" / "embedded.yaml")
    outputs = {}
    for name in ("autointerp", "sensitivity"):
        evaluated = find_eval(name)
        outputs[name] = evaluate(world, evaluated, read_record(evaluated.settings, profile[name], where=name), SAES)
    return outputs


def _score(outputs: Outputs, column: Column, sae: str) -> Estimate:
    return score_of(outputs[column.eval][sae], column.metric, **column.at)


def _lead(outputs: Outputs, column: Column, control: str) -> Estimate:
    return difference(_score(outputs, column, TRAINED), _score(outputs, column, control))


def _shown(estimate: Estimate) -> str:
    value, low, high, _ = estimate
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} [{low:.3f}, {high:.3f}]"


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the tables; worlds that are missing are built."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parsed = parser.parse_args(arguments)
    with Progress("worlds") as progress:
        folders = {seed: world_folder(seed, find_paths().store / "worlds", progress) for seed in parsed.seeds}
    outputs = {seed: measure(folder, seed) for seed, folder in folders.items()}
    sys.stdout.write("\n\n".join(tables(outputs)) + "\n")


if __name__ == "__main__":
    main()
