"""What an architecture is called and how plots draw it: facts of its file that are read without importing torch."""

from __future__ import annotations

import ast
from dataclasses import dataclass, fields
from pathlib import Path

_NAME = "ABOUT"


@dataclass(frozen=True)
class About:
    """Names and looks of an architecture, all of them optional.

    Its file may hold `ABOUT = About(title="TopK", ...)` at the top level, with literals only: tables and plots read the
    line from the source, because the file itself imports torch.
    """

    title: str = ""
    """Its name in legends; empty: the name of the file."""
    marker: str = ""
    """One of `plots.settings.MARKERS`; empty: one that the other SAEs of the picture do not have."""
    color: str = ""
    """`#rrggbb`; empty: one that the other SAEs of the picture do not have."""
    place: int | None = None
    """Its place in legends, smallest first; None: after all that have one, by name."""
    sae_lens_names: tuple[str, ...] = ()
    """What SAELens' configurations call it, its usual name there first; empty: SAELens does not have it."""
    sae_lens_saves_as: str = ""
    """What SAELens calls it in finished SAEs, if that is another architecture's name; empty: its usual name."""
    sae_bench_names: tuple[str, ...] = ()
    """What SAEBench's result files call it besides SAELens' names."""


def read_about(file: Path) -> About:
    """The `ABOUT` of an architecture's file, read from its source; an empty one if the file has none."""
    tree = ast.parse(file.read_text(encoding="utf-8"), filename=str(file))
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == _NAME for t in node.targets):
            return _evaluated(node.value, file)
    return About()


def _evaluated(value: ast.expr, file: Path) -> About:
    """`About(title="TopK", ...)` without running it."""
    valid = ", ".join(field.name for field in fields(About))
    if not isinstance(value, ast.Call) or value.args or ast.unparse(value.func) != About.__name__:
        raise ValueError(f"{file}: {_NAME} is {ast.unparse(value)}, expected About(...) with keywords among {valid}")
    try:
        return About(**{str(keyword.arg): ast.literal_eval(keyword.value) for keyword in value.keywords})
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{file}: {_NAME} has to be made of literals, with keywords among {valid} ({error})"
        ) from error
