"""The evals: one folder each, named like the eval, with the one `Eval` in its `eval.py`."""

from __future__ import annotations

from functools import cache

from sae_research import evals
from sae_research.errors import UserError
from sae_research.evals.base import Eval
from sae_research.plugins import only_value, plugin_folders


@cache
def eval_names() -> tuple[str, ...]:
    """The names of all evals: those with a stage of their own first, then in alphabetical order, then those that look
    closer at what the others single out."""

    def place(name: str) -> tuple[bool, bool, str]:
        evaluated = _load(name)
        return evaluated.looks_closer, not evaluated.has_own_stage, name

    return tuple(sorted(plugin_folders(evals, with_module="eval"), key=place))


def find_eval(name: str) -> Eval:
    """The eval of that name."""
    if name not in eval_names():
        raise UserError(f"there is no eval {name!r}; valid: {', '.join(eval_names())}")
    return _load(name)


def all_evals() -> tuple[Eval, ...]:
    """Every eval, in the order of `eval_names`."""
    return tuple(_load(name) for name in eval_names())


def optional_evals() -> tuple[str, ...]:
    """The evals that share the DVC stage `optional_evals`."""
    return tuple(e.name for e in all_evals() if not e.has_own_stage)


def closer_evals() -> tuple[str, ...]:
    """The evals that show the latents which the others single out."""
    return tuple(e.name for e in all_evals() if e.looks_closer)


def _load(name: str) -> Eval:
    return only_value(f"sae_research.evals.{name}.eval", Eval)
