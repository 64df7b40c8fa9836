"""Which evals SAEBench's own implementation can compute here. Needs neither torch nor sae_bench."""

from __future__ import annotations

import importlib
import logging
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any, Literal

from sae_research.errors import UserError
from sae_research.evals.base import Run

log = logging.getLogger(__name__)

Engine = Literal["native", "sae_bench"]
"""Who computes the cells: this package, or the official implementation."""

_MODULES = {"core": "sae_research.reference.core", "sparse_probing": "sae_research.reference.sparse_probing"}
"""By eval: the module whose `run` computes its cells with SAEBench."""
_PACKAGES = {"sae_bench": "sae-bench", "transformer_lens": "transformer-lens"}

COMPARED_WITH = "0.6.0"
"""The version of SAEBench that parity is shown for (docs/parity.md), and whose results and settings are known here."""


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


def require_single_draw(section: str, settings: Any) -> None:
    """Raises a UserError where an eval's settings ask for further seeds: SAEBench draws once."""
    seeds = getattr(settings, "seeds", ())
    if seeds:
        raise UserError(
            f"{section}.seeds is {list(seeds)}, but engine sae_bench draws once; set '{section}.seeds: []' or "
            "'engine: native'"
        )


def reference_module(eval_name: str) -> str:
    """The module whose `run` computes the eval's cells with SAEBench."""
    require_offered(eval_name)
    return _MODULES[eval_name]


def reference_version() -> str:
    """SAEBench's version, part of the keys of its cells; without an installation the one its cells are read for."""
    try:
        return version(_PACKAGES["sae_bench"])
    except PackageNotFoundError:
        return COMPARED_WITH


def require_installed() -> None:
    """Raises a UserError that says what to install unless the official implementation is installed."""
    missing = [package for module, package in _PACKAGES.items() if find_spec(module) is None]
    if missing:
        raise UserError(
            f"engine sae_bench needs {' and '.join(missing)}: install the extra 'reference' "
            "(pip install 'sae-research[reference]'), or set 'engine: native'"
        )
    if reference_version() != COMPARED_WITH:
        log.warning(
            "SAEBench %s is installed; parity is shown for %s, and other versions have other formulas under the same "
            "names: pip install 'sae-bench==%s'", reference_version(), COMPARED_WITH, COMPARED_WITH,
        )  # fmt: skip


def find_reference(eval_name: str) -> Run:
    """The function that computes the eval with SAEBench instead of `Eval.run`."""
    return importlib.import_module(reference_module(eval_name)).run
