"""Whether our draws of negatives agree with SAEBench's up to chance: `python -m benchmarks.probing_seeds`.

Both sides probe the same texts of one data set with several seeds, in a folder where `make repro` has run: SAEBench
with its stream of draws, sae_research with `sampling: keyed`. Prints mean and standard deviation over seeds.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from benchmarks.vs_sae_bench import PROBING, parse_arguments
from sae_research.pipeline.runtime import prepare_process


def main() -> None:
    """Prints a row per SAE and k."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="how many")
    parser.add_argument("--texts", nargs=2, type=int, default=[100, 50], metavar=("TRAIN", "TEST"), help="of a class")
    parser.add_argument("--saes", nargs="+", default=["topk_k16", "random_topk_k16"])
    arguments = parser.parse_args()
    prepare_process()
    import torch

    from benchmarks.comparison import Comparison
    from benchmarks.measuring import table
    from sae_research.errors import UserError

    torch.set_grad_enabled(False)
    train, test = arguments.texts
    line = ["--model", "embedded", "--parts", PROBING, "--sets", "1", "--texts", str(train), str(test), "--growth"]
    line += ["--first", *arguments.saes]
    with tempfile.TemporaryDirectory() as scratch:
        try:
            comparison = Comparison(parse_arguments(line), Path(scratch))
            chosen = comparison.saes(len(arguments.saes))
        except UserError as error:
            raise SystemExit(str(error)) from None
        case = comparison.probing_case()
        runs = [_accuracies(case, chosen, seed) for seed in range(arguments.seeds)]
    rows = [(sae, key, *(_spread([run[sae, key][side] for run in runs]) for side in (0, 1))) for sae, key in runs[0]]
    print(table(["SAE", "accuracy", "SAEBench", "ours, keyed"], rows))


def _accuracies(case: Any, saes: list[Any], seed: int) -> dict[tuple[str, str], tuple[float, float]]:
    """SAEBench's accuracy and ours, by SAE and SAEBench's key."""
    from benchmarks.measuring import Inside

    seeded = dataclasses.replace(case, context=dataclasses.replace(case.context, seed=seed))
    ours = seeded.ours(saes, Inside()).value
    theirs = [seeded.theirs(sae, Inside()).value for sae in saes]
    return {
        (sae.card.name, key): (reported.means[key], fmean(record[key] for record in output.details))
        for sae, reported, output in zip(saes, theirs, ours, strict=True)
        for key in reported.means
        if key.startswith("sae_top_")  # The model's own probes are SAEBench's of the first seed, from its cache.
    }


def _spread(values: list[float]) -> str:
    return f"{fmean(values):.4f} ± {stdev(values):.4f}"


if __name__ == "__main__":
    main()
