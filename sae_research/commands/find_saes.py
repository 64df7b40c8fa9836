"""`python -m sae_research find-saes`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from sae_research.errors import UserError
from sae_research.pipeline.paths import find_paths
from sae_research.stdout import show

if TYPE_CHECKING:
    from sae_research.formats.outlines import Outline

HELP = "list SAEs of SAELens' registry, a Hub repository or a folder, without fetching their weights"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--release", metavar="REGEX", help="releases of SAELens' registry; default: all")
    parser.add_argument("--sae-id", "--sae_id", metavar="REGEX", help="SAEs of these releases; default: all")
    parser.add_argument("--repo-id", "--repo_id", help="a repository of the Hub or a folder, in place of the registry")
    parser.add_argument("--files", metavar="REGEX", help="its checkpoints, by their paths; default: all")
    parser.add_argument("--revision", help="a branch, tag or commit of the repository")
    parser.add_argument("--model", "--model_name", metavar="REGEX", help="SAEs of these language models")
    parser.add_argument(
        "--configs",
        action="store_true",
        help="fetch the configurations of the registry's SAEs, for architecture and size",
    )
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")


def run(parsed: argparse.Namespace) -> None:
    from sae_research.formats.finding import find_in_registry, find_in_repository
    from sae_research.sources.hub import Hub

    _check(parsed)
    hub = Hub(find_paths().world)
    if parsed.repo_id is not None:
        files, revision = parsed.files or ".*", parsed.revision
        outlines = find_in_repository(hub, parsed.repo_id, files, model=parsed.model, revision=revision)
    else:
        release, sae_id, source = parsed.release or ".*", parsed.sae_id or ".*", hub if parsed.configs else None
        outlines = list(find_in_registry(release, sae_id, model=parsed.model, hub=source))
    show(_as_json(outlines) if parsed.json else f"{_as_table(outlines)}\n{len(outlines)} SAEs. {_as_entry(parsed)}")


def _check(parsed: argparse.Namespace) -> None:
    of_registry = [name for name in ("release", "sae_id") if getattr(parsed, name) is not None]
    of_repository = [name for name in ("files", "revision") if getattr(parsed, name) is not None]
    if parsed.repo_id is not None and (of_registry or parsed.configs):
        raise UserError("--repo-id goes with --files and --revision; --release, --sae-id, --configs are the registry's")
    if parsed.repo_id is None and of_repository:
        raise UserError("--files and --revision need --repo-id, the repository or folder that they are of")


def _as_json(outlines: Sequence[Outline]) -> str:
    return json.dumps([asdict(outline) for outline in outlines], indent=2) + "\n"


def _as_table(outlines: Sequence[Outline]) -> str:
    """A line each, without the columns that are empty."""
    columns = {
        "release": [outline.release for outline in outlines],
        "SAE": [outline.path for outline in outlines],
        "model": [outline.model for outline in outlines],
        "architecture": [outline.architecture for outline in outlines],
        "d_in": [outline.d_in for outline in outlines],
        "d_sae": [outline.d_sae or (f"about {outline.width}" if outline.width else None) for outline in outlines],
        "site": [
            outline.hook_name or (None if outline.layer is None else f"layer {outline.layer}") for outline in outlines
        ],
        "L0": [None if outline.l0 is None else f"{outline.l0:g}" for outline in outlines],
    }
    filled = {name: values for name, values in columns.items() if any(value is not None for value in values)}
    texts = [[name, *map(_cell, values)] for name, values in filled.items()]
    padded = [[text.ljust(max(map(len, column))) for text in column] for column in texts]
    return "".join("  ".join(line).rstrip() + "\n" for line in zip(*padded, strict=True))


def _cell(value: object) -> str:
    text = "-" if value is None else str(value)
    return text if text.isprintable() else repr(text)


def _as_entry(parsed: argparse.Namespace) -> str:
    """How params.yaml names these SAEs, those of other models included."""
    if parsed.repo_id is not None:
        keys = {"repo_id": parsed.repo_id, "files": parsed.files or ".*", "revision": parsed.revision}
    else:
        keys = {"release": parsed.release or ".*", "sae_id": parsed.sae_id or ".*"}
    lines = [f"{name}: '{value.replace(chr(39), 2 * chr(39))}'" for name, value in keys.items() if value is not None]
    return "In params.yaml:\ncomparison_saes:\n  - " + "\n    ".join(lines) + "\n"
