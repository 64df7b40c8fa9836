"""Every path of the project, once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from sae_research.errors import UserError

VARIABLE = "SAE_STORE"
"""Names the folder of finished work, for one that several machines share or that lies on another disk."""
_STORE = ".sae_cache"


@dataclass(frozen=True)
class Paths:
    """Where a workspace keeps its files.

    `root` is the workspace (the folder of `params.yaml`). `store` lies under the main repository even when
    DVC runs the stage in a temporary workspace, so that parallel experiments share finished work; SAE_STORE puts it
    elsewhere.
    """

    root: Path
    store: Path

    @property
    def scratch(self) -> Path:
        """For files that are then put into place in the workspace: on its file system, where the store need not be."""
        return self.root / _STORE / "scratch"

    @property
    def params(self) -> Path:
        return self.root / "params.yaml"

    @property
    def profiles(self) -> Path:
        return self.root / "profiles"

    @property
    def world(self) -> Path:
        """The embedded world, laid out as a hub: `models/<name>/`, `datasets/<name>/`."""
        return self.root / "world"

    @property
    def saes(self) -> Path:
        return self.root / "downloaded_saes"

    @property
    def local_folders(self) -> Path:
        """The revisions of the local folders that the parameters name."""
        return self.root / "local_folders.json"

    @property
    def results(self) -> Path:
        return self.root / "eval_results"

    @property
    def merged(self) -> Path:
        return self.results / "merged"

    @property
    def published(self) -> Path:
        """SAEBench result files that the user added; reports show them too."""
        return self.root / "published_results"

    @property
    def images(self) -> Path:
        return self.root / "images"

    @property
    def explorer(self) -> Path:
        """The page on all results."""
        return self.root / "explorer"

    @property
    def overview(self) -> Path:
        """The picture that the README shows."""
        return self.root / "docs" / "figures" / "overview.png"

    @property
    def metrics(self) -> Path:
        return self.root / "metrics.json"

    @property
    def report(self) -> Path:
        return self.root / "METRICS.md"


def find_paths(root: Path | None = None) -> Paths:
    """The paths of the workspace at `root` (default: the current folder)."""
    root = (root or Path.cwd()).resolve()
    repository = Path(os.environ.get("DVC_ROOT") or root)
    return Paths(root=root, store=_stated_store() or repository / _STORE)


def _stated_store() -> Path | None:
    """The folder of SAE_STORE; None where it is not set, a UserError where nothing can be kept there."""
    stated = os.environ.get(VARIABLE)
    if not stated:
        return None
    folder = Path(stated)
    if not folder.is_absolute():
        raise UserError(f"{VARIABLE} is {stated!r}, expected an absolute path: stages run in several folders")
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"{VARIABLE} is {stated!r}, which is no folder that can be written to; make it, or unset it")
    return folder
