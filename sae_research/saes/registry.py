"""Which architectures there are and what their files say about them, without importing torch; and their classes."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sae_research.errors import UserError
from sae_research.foreign import shown
from sae_research.plugins import only_class, plugin_names
from sae_research.saes import architectures as package
from sae_research.saes.about import About, read_about

if TYPE_CHECKING:
    from sae_research.saes.base import Sae


def architectures() -> tuple[str, ...]:
    """The names of all architectures: those of the files of `sae_research/saes/architectures/`."""
    return plugin_names(package)


@cache
def about(architecture: str) -> About:
    """What the architecture's file says about names and looks; nothing if there is no such architecture."""
    if architecture not in architectures():
        return About()
    files = (Path(folder) / f"{architecture}.py" for folder in package.__path__)
    return read_about(next(file for file in files if file.is_file()))


def architecture_called(name: str) -> str | None:
    """The architecture that SAELens or SAEBench call `name`; None if there is none."""
    for architecture in architectures():
        declared = about(architecture)
        if name in (*declared.sae_lens_names, *declared.sae_bench_names):
            return architecture
    return None


def sae_class(architecture: str) -> type[Sae]:
    """The SAE class of the architecture's file."""
    from sae_research.saes.base import Sae

    if architecture not in architectures():
        raise UserError(f"SAE architecture {shown(architecture)} is not known; valid: {', '.join(architectures())}")
    return only_class(f"sae_research.saes.architectures.{architecture}", Sae)
