"""The checkpoints in a repository, found by the names of its files alone: nothing is fetched, torch is not needed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from sae_research.errors import UserError
from sae_research.foreign import shown
from sae_research.formats.expressions import matching, near_misses

_WEIGHTS = (".safetensors", ".pt", ".pth", ".npz", ".bin")
_FOLDER_CONFIG = "cfg.json"
"""What makes a folder with weights one checkpoint: SAELens, sparsify. Else each file of weights is one."""
_NEAR = 5


def checkpoints_among(names: Iterable[str]) -> list[str]:
    """The checkpoints among a repository's files, sorted, each as `filename` in params.yaml would name it."""
    files = set(names)
    weights = [PurePosixPath(name) for name in files if name.endswith(_WEIGHTS)]
    return sorted({str(w.parent if str(w.parent / _FOLDER_CONFIG) in files else w) for w in weights})


def matching_checkpoints(names: Iterable[str], expression: str, *, repo_id: str, key: str) -> list[str]:
    """The checkpoints whose whole path the expression matches, sorted; an error that lists near misses if none does."""
    checkpoints = checkpoints_among(names)
    wanted = matching(key, expression, checkpoints, of=f"the files of {repo_id!r}")
    if wanted:
        return wanted
    if not checkpoints:
        raise UserError(f"{key}: {repo_id!r} has no file of weights ({', '.join(_WEIGHTS)}); correct repo_id")
    near = near_misses(expression, checkpoints, most=_NEAR) or checkpoints[:_NEAR]
    raise UserError(
        f"{key}: none of the {len(checkpoints)} checkpoints of {repo_id!r} matches {shown(expression)} in full; "
        f"it has, for example: {', '.join(near)}"
    )
