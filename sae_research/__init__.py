"""Measure sparse autoencoders on language models, reproducibly."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sae_research.evaluation import Evaluation as Evaluation
    from sae_research.formats.load import load_sae as load_sae
    from sae_research.library import evaluate as evaluate
    from sae_research.saes.wrapped import wrap_sae as wrap_sae
    from sae_research.sources.memory import GivenLabels as GivenLabels

__version__ = "0.1.0"

_LIBRARY = {
    "Evaluation": "sae_research.evaluation",
    "GivenLabels": "sae_research.sources.memory",
    "evaluate": "sae_research.library",
    "load_sae": "sae_research.formats.load",
    "wrap_sae": "sae_research.saes.wrapped",
}


def __getattr__(name: str) -> Any:
    """The library's functions, imported when first asked for: a plan or a plot must not wait for torch."""
    if name not in _LIBRARY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LIBRARY[name]), name)
