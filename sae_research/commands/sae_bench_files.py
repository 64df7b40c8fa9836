"""`python -m sae_research sae-bench-files`."""

from __future__ import annotations

import argparse
from pathlib import Path

from sae_research.pipeline.paths import find_paths
from sae_research.stdout import show

HELP = "write the results as SAEBench's own files, with its records per latent, which ours keep as Parquet"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=Path, help="the folder to write <eval>/<sae>_eval_results.json into")
    parser.add_argument("--results", type=Path, help="the folder of a run; default: eval_results")


def run(parsed: argparse.Namespace) -> None:
    from sae_research.results.sae_bench_files import write_sae_bench_files

    for path in write_sae_bench_files(parsed.results or find_paths().results, parsed.out):
        show(f"{path}\n")
