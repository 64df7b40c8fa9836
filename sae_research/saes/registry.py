"""Which architectures there are, without importing torch, and the class of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sae_research.errors import UserError
from sae_research.plugins import only_class, plugin_names
from sae_research.saes import architectures as package

if TYPE_CHECKING:
    from sae_research.saes.base import Sae


def architectures() -> tuple[str, ...]:
    """The names of all architectures: those of the files of `sae_research/saes/architectures/`."""
    return plugin_names(package)


def sae_class(architecture: str) -> type[Sae]:
    """The SAE class of the architecture's file."""
    from sae_research.saes.base import Sae

    if architecture not in architectures():
        raise UserError(f"SAE architecture {architecture!r} is not known; valid: {', '.join(architectures())}")
    return only_class(f"sae_research.saes.architectures.{architecture}", Sae)
