"""The evals there are: one file of this folder each, the file's name being the eval's name in `params.yaml`."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

from sae_research.errors import UserError
from sae_research.evals.base import Eval

_NOT_EVALS = {"__init__", "base", "registry"}


def eval_names() -> list[str]:
    """The names of all evals, sorted."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in _NOT_EVALS)


def find_eval(name: str) -> type[Eval]:
    """The eval of that name."""
    if name not in eval_names():
        raise UserError(
            f"eval {name!r} is not offered yet: set 'eval_types.{name}: false'; available: {', '.join(eval_names())}"
        )
    module = importlib.import_module(f"sae_research.evals.{name}")
    found = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Eval) and value.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise ValueError(f"{module.__name__} defines {len(found)} Eval classes, expected 1")
    return found[0]
