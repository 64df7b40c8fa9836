"""The evals there are: one file of this folder each, the file's name being the eval's name in `params.yaml`."""

from __future__ import annotations

from pathlib import Path

from sae_research.errors import UserError
from sae_research.evals.base import Eval
from sae_research.plugins import only_class, plugin_names


def eval_names() -> tuple[str, ...]:
    """The names of all evals."""
    return plugin_names(Path(__file__).parent, others={"base", "registry"})


def find_eval(name: str) -> type[Eval]:
    """The eval of that name."""
    if name not in eval_names():
        raise UserError(f"there is no eval {name!r}; valid: {', '.join(eval_names())}")
    return only_class(f"sae_research.evals.{name}", Eval)
