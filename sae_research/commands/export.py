"""`python -m sae_research export`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from sae_research.errors import UserError
from sae_research.foreign import shown
from sae_research.pipeline.names import slug
from sae_research.pipeline.paths import find_paths
from sae_research.stdout import show

if TYPE_CHECKING:
    from sae_research.measurements import Result

HELP = "write results in the form of another program: sensitivity, as sae-sensitivity's CSV files"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("sensitivity",), help="the eval")
    parser.add_argument("folder", type=Path, metavar="DIR", help="gets a folder for each SAE, with six CSV files")
    parser.add_argument("--results", type=Path, help="the folder of a finished run; default: eval_results")


def run(parsed: argparse.Namespace) -> None:
    from sae_research.results.merge import results_of

    results = parsed.results or find_paths().results
    names = [write_sensitivity_files(result, parsed.folder) for result in results_of(results, parsed.what)]
    if not names:
        raise UserError(f"{results} has no finished result of {parsed.what}; run `dvc repro optional_evals`")
    show(f"{parsed.folder}: {len(names)} SAEs: {', '.join(names)}\n")


def write_sensitivity_files(result: Result, folder: Path) -> str:
    """Writes the SAE's six files into the folder of its name below `folder`, all or none; returns the name."""
    from sae_research.files import folder_in_the_making
    from sae_research.results.sensitivity_files import COLUMNS, sensitivity_files

    name = str(result.sae["name"])
    if name != slug(name):
        raise UserError(f"the SAE's name {shown(name)} can be no folder's; expected letters, digits, '.', '-' and '_'")
    files = sensitivity_files(result, eval_name=folder.resolve().name)
    place = folder / name
    strangers = sorted({path.name for path in place.iterdir()} - set(COLUMNS)) if place.is_dir() else []
    if strangers:
        raise UserError(f"{place} holds other files ({', '.join(strangers[:3])}); give another folder")
    with folder_in_the_making(place, scratch=folder) as draft:
        for file_name, text in files.items():
            (draft / file_name).write_text(text, encoding="utf-8", newline="")
    return name
