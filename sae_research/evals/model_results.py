"""What evals found of the language model alone, kept on disk: another SAE does not ask the model for it again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from sae_research.digests import digest_of
from sae_research.tensor_files import read_tensors, write_tensors


class ModelResults:
    """Tensors under `folder`. `made_by` is all that determines them but for the parts that `get` and `put` name.

    Where SAE_NO_REUSE is set nothing is read.
    """

    def __init__(self, folder: Path, made_by: object) -> None:
        self._folder, self._made_by = folder, made_by

    def get(self, parts: object) -> Mapping[str, Tensor] | None:
        """What was put under `parts`; None if nothing was."""
        path, key = self._place(parts)
        return None if os.environ.get("SAE_NO_REUSE") else read_tensors(path, key)

    def put(self, parts: object, tensors: Mapping[str, Tensor]) -> None:
        """Keeps `tensors`; they are whole on disk when this returns."""
        path, key = self._place(parts)
        write_tensors(path, key, tensors)

    def _place(self, parts: object) -> tuple[Path, str]:
        key = digest_of([self._made_by, parts])
        return self._folder / key[:2] / f"{key}.safetensors", key
