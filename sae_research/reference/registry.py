"""Which evals SAEBench's own implementation can compute here. Needs neither torch nor sae_bench."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import Literal

from sae_research.errors import UserError
from sae_research.evals.base import Run

Engine = Literal["native", "sae_bench"]
"""Who computes the cells: this package, or the official implementation."""

_MODULES = {"core": "sae_research.reference.core", "sparse_probing": "sae_research.reference.sparse_probing"}
"""By eval: the module whose `run` computes its cells with SAEBench."""
_PACKAGES = {"sae_bench": "sae-bench", "transformer_lens": "transformer-lens"}


def reference_names() -> tuple[str, ...]:
    """The evals that engine `sae_bench` offers."""
    return tuple(_MODULES)


def require_offered(eval_name: str) -> None:
    """Raises a UserError that lists the possible evals unless engine `sae_bench` offers this one."""
    if eval_name not in reference_names():
        raise UserError(
            f"engine sae_bench does not offer {eval_name}; set 'eval_types.{eval_name}: false' or 'engine: native'; "
            f"it offers: {', '.join(reference_names())}"
        )


def reference_module(eval_name: str) -> str:
    """The module whose `run` computes the eval's cells with SAEBench."""
    require_offered(eval_name)
    return _MODULES[eval_name]


def require_installed() -> None:
    """Raises a UserError that says what to install unless the official implementation is installed."""
    missing = [package for module, package in _PACKAGES.items() if find_spec(module) is None]
    if missing:
        raise UserError(
            f"engine sae_bench needs {' and '.join(missing)}: install the extra 'reference' "
            "(pip install 'sae-research[reference]'), or set 'engine: native'"
        )


def find_reference(eval_name: str) -> Run:
    """The function that computes the eval with SAEBench instead of `Eval.run`."""
    return importlib.import_module(reference_module(eval_name)).run
