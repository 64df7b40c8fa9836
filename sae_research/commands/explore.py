"""`python -m sae_research explore`."""

from __future__ import annotations

import argparse
from pathlib import Path

from sae_research.pipeline.paths import find_paths
from sae_research.stdout import show

HELP = "write the explorer, a page that opens in a browser, on the results of one or several folders"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "results", nargs="+", type=Path, metavar="RESULTS", help="eval_results, a project that has it, or a folder of "
        "result files such as published_results",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="the folder to write; replaced if it is an explorer"
    )
    parser.add_argument(
        "--names", nargs="+", metavar="NAME", help="what to call the folders; default: as they are called"
    )


def run(parsed: argparse.Namespace) -> None:
    from sae_research.page.build import PAGE_FILE, require_explorer, write_page
    from sae_research.page.run import names_of, read_run
    from sae_research.pipeline.params import load_params
    from sae_research.plots.settings import VisualizationSettings

    require_explorer(parsed.out)
    names = names_of(parsed.results, parsed.names)
    runs = [read_run(folder, name) for folder, name in zip(parsed.results, names, strict=True)]
    params = find_paths().params
    settings = load_params(params).visualization if params.exists() else VisualizationSettings()
    out = parsed.out.resolve()
    saes = write_page(runs, out, settings, scratch=out.parent)
    show(f"{saes} SAEs: open {out / PAGE_FILE} in a browser\n")
