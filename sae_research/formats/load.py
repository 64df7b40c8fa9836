"""The SAE of a checkpoint on disk, for users of the library."""

from __future__ import annotations

from pathlib import Path

from sae_research.formats.registry import read_sae
from sae_research.saes.base import Sae


def load_sae(
    path: str | Path,
    *,
    name: str | None = None,
    hook_name: str | None = None,
    model_name: str | None = None,
    k: int | None = None,
    default_site: str | None = None,
) -> Sae:
    """The SAE at `path`, in any format of docs/formats.md, called `name` (default: the last part of its path).

    `hook_name`, `model_name` and `k` say what its files do not, or pick one of several SAEs; they may not contradict
    them. `default_site` is the hook name where neither its files nor `hook_name` say one.
    """
    path = Path(path)
    stated = {"hook_name": hook_name, "model_name": model_name, "k": k, "site": default_site}
    source = {"path": str(path), **{key: value for key, value in stated.items() if value is not None}}
    return read_sae(path, name=name or path.name, source=source)
