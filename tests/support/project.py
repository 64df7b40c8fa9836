"""A real project folder for tests: the repository's own files, tiny parameters, real git and real DVC."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]

TINY: Mapping[str, Any] = {
    "world": {"size": "tiny"},
    "sae_variants": {
        "ihtp": {"enabled": True, "k_values": [1]},
        "mpsae": {"enabled": True, "s_values": [4]},
    },
    "controls": {"variant_atoms": [], "topk_atoms": []},
    "core_eval": {"n_reconstruction_batches": 1, "n_sparsity_batches": 2, "batch_size": 4},
    "eval_types": dict.fromkeys(
        ("absorption", "scr", "tpp", "ravel", "unlearning", "sensitivity", "autointerp", "dashboards"), False
    ),
    "dashboards": {"n_rows": 12, "n_latents": 20},
    "sparse_probing": {"dataset_names": ["embedded/news"], "train_size": 40, "test_size": 20, "k_values": [1, 2]},
}


@dataclass(frozen=True)
class Finished:
    """What a command printed and how it ended."""

    code: int
    out: str

    @property
    def counts(self) -> dict[str, tuple[int, int, int]]:
        """(computed, reused, failed) cells by eval, as each stage's last line says."""
        pattern = r"^(\w+): .*: (\d+) cells computed, (\d+) reused, (\d+) failed"
        return {m[1]: (int(m[2]), int(m[3]), int(m[4])) for m in re.finditer(pattern, self.out, re.MULTILINE)}

    @property
    def ran(self) -> list[str]:
        """The stages that DVC ran, but for the one that it always runs."""
        names = re.findall(r"^Running stage '([^']+)'", self.out, re.MULTILINE)
        return [name for name in names if name != "local_folders"]


@dataclass(frozen=True)
class Project:
    """A workspace with commands run in it as a user would."""

    root: Path

    def run(self, *command: str, check: bool = True, env: Mapping[str, str] | None = None) -> Finished:
        process = subprocess.run(
            command, cwd=self.root, env=environment() | dict(env or {}), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600,
        )  # fmt: skip
        assert not check or process.returncode == 0, f"{' '.join(command)}: {process.returncode}\n{process.stdout}"
        return Finished(process.returncode, process.stdout)

    def repro(self, *targets: str, check: bool = True, env: Mapping[str, str] | None = None) -> Finished:
        return self.run("dvc", "repro", *targets, check=check, env=env)

    def edit(self, changes: Mapping[str, Any]) -> None:
        """Sets parameters: nested mappings key by key, other values whole."""
        yaml = YAML()
        path = self.root / "params.yaml"
        document = yaml.load(path.read_text())
        merge(document, changes)
        with path.open("w") as file:
            yaml.dump(document, file)

    def outputs(self) -> dict[str, bytes]:
        """Every result file by relative name."""
        folders = ("downloaded_saes", "eval_results", "images", "explorer")
        files = [p for f in folders for p in sorted((self.root / f).rglob("*")) if p.is_file()]
        files += [self.root / name for name in ("metrics.json", "METRICS.md", "docs/figures/overview.png")]
        return {p.relative_to(self.root).as_posix(): p.read_bytes() for p in files}

    def commit(self, message: str) -> None:
        self.run("git", "add", "-A")
        self.run("git", "commit", "-q", "--allow-empty", "-m", message)

    def status(self, eval_name: str) -> list[dict[str, Any]]:
        """The cells of `eval_results/<eval_name>/_status.json`."""
        return json.loads((self.root / "eval_results" / eval_name / "_status.json").read_text())["cells"]

    def copy_to(self, target: Path) -> Project:
        shutil.copytree(self.root, target, symlinks=True)
        return Project(target)


def environment() -> dict[str, str]:
    """The caller's environment with this interpreter's tools first, no hub, and byte code written as usual.

    Without SHELL, DVC runs commands by /bin/sh, as in containers and batch jobs.
    """
    strange = ("DVC_", "GIT_", "PYTHONDONTWRITE", "SAE_", "SHELL")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(strange)}
    bin_folder = Path(sys.executable).parent
    return inherited | {
        "PATH": f"{bin_folder}{os.pathsep}{inherited['PATH']}",
        "HF_HUB_OFFLINE": "1",
        "DVC_NO_ANALYTICS": "1",
        "GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@example.org",
        "GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@example.org",
    }  # fmt: skip


def merge(document: Any, changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(document.get(key), dict):
            merge(document[key], value)
        else:
            document[key] = value


def make_project(root: Path) -> Project:
    """The repository's files (as they are in the work tree) at `root`, with tiny parameters, committed, nothing run."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split("\n")  # fmt: skip
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
    (root / "dvc.lock").unlink(missing_ok=True)
    project = Project(root)
    project.edit(TINY)
    project.run("git", "init", "-q", "-b", "main")
    project.commit("start")
    return project
