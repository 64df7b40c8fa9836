"""Every path of the project, once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Paths:
    """Where a workspace keeps its files.

    `root` is the workspace (the folder of `params.yaml`). `store` lies under the main repository even when
    DVC runs the stage in a temporary workspace, so that parallel experiments share finished work.
    """

    root: Path
    store: Path

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
    return Paths(root=root, store=repository / ".sae_cache")
