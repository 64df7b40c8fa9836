"""One copy of the finished project, in which stages are run with other parameters and must leave all as it was."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support.project import Finished, Project
from support.stage_server import StageServer

Config = dict[str, Any]

ELSEWHERE: Config = {
    "baseline_sae": {"repo_id": "lab/saes"},
    "comparison_saes": [],
    "controls": None,
    "core_eval": {"dataset": "lab/text"},
    "eval_types": {"sparse_probing": False},
}
"""Nothing of the embedded world."""


class Bench:
    """One copy of the finished project for all tests of this file; each leaves it as it found it."""

    def __init__(self, project: Project, server: StageServer) -> None:
        self.project = project
        self.root = project.root
        self._server = server

    def run(self, stage: str, changes: Mapping[str, Any], **env: str) -> Finished:
        """`python -m scripts.<stage>` with these parameters; `stage` may have arguments behind it."""
        name, *arguments = stage.split()
        kept = (self.root / "params.yaml").read_bytes()
        self.project.edit(changes)
        try:
            return self._server.run(self.root, f"scripts.{name}", *arguments, env=env)
        finally:
            (self.root / "params.yaml").write_bytes(kept)

    def refused(self, stage: str, changes: Mapping[str, Any], message: str, **env: str) -> str:
        """Asserts that the stage ends with one message like `message`, code 1, and all outputs as they were."""
        before = self._held()
        done = self.run(stage, changes, **env)
        assert done.code == 1, done.out
        assert "Traceback" not in done.out
        assert re.search(message, done.out), done.out
        assert self._held() == before
        assert leftovers(self.root) == []
        return done.out

    def _held(self) -> dict[str, bytes]:
        return self.project.outputs() | {str(p): p.read_bytes() for p in (self.root / "world").rglob("*.*")}


def leftovers(root: Path) -> list[Path]:
    """Temporary files anywhere in the project."""
    places = [root / name for name in (".sae_cache", "downloaded_saes", "eval_results", "images", "world")]
    return [path for place in places for path in place.rglob(".tmp-*")] + list(root.glob(".tmp-*"))
