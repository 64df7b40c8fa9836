"""Which evals SAEBench's own implementation can compute here; read without torch and without sae_bench.

One file of `reference/evals/` each, named as the eval, with a function `run` that does what `Eval.run` does.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sae_research.errors import UserError
from sae_research.evals.base import EvalContext, Outcome
from sae_research.plugins import plugin_names

if TYPE_CHECKING:
    from sae_research.saes.base import Sae

Engine = Literal["native", "sae_bench"]
"""Who computes the cells: this package, or the official implementation."""

_PACKAGES = {"sae_bench": "sae-bench", "transformer_lens": "transformer-lens"}


def reference_names() -> tuple[str, ...]:
    """The evals that engine `sae_bench` offers."""
    return plugin_names(Path(__file__).parent / "evals", others=())


def require_offered(eval_name: str) -> None:
    """Fail, listing what is offered, unless engine `sae_bench` offers the eval."""
    if eval_name not in reference_names():
        raise UserError(
            f"engine sae_bench does not offer {eval_name}; set 'eval_types.{eval_name}: false' or 'engine: native'; "
            f"it offers: {', '.join(reference_names())}"
        )


def reference_module(eval_name: str) -> str:
    """The module whose `run` computes the eval's cells with SAEBench."""
    require_offered(eval_name)
    return f"sae_research.reference.evals.{eval_name}"


def require_installed() -> None:
    """Fail, saying what to install, unless the official implementation is there."""
    missing = [package for module, package in _PACKAGES.items() if find_spec(module) is None]
    if missing:
        raise UserError(
            f"engine sae_bench needs {' and '.join(missing)}: install the extra 'reference' "
            "(pip install 'sae-research[reference]'), or set 'engine: native'"
        )


def find_reference(eval_name: str) -> Callable[[EvalContext, Sequence[Sae], Any], Iterator[Outcome]]:
    """What computes the eval with SAEBench, in the place of `Eval.run`."""
    return importlib.import_module(reference_module(eval_name)).run
