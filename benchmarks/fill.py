"""One fill of all evals with one worker and with two, each on its own Ray node on this machine, and their results.

    python -m benchmarks.fill                          # the embedded default: its SAEs and the controls
    python -m benchmarks.fill --evals core tpp         # some evals only
    python -m benchmarks.fill --finished FOLDER        # world and SAEs of a project that is set up, not built again
    python -m benchmarks.fill --tiny                   # a world that is built in seconds

Needs the extra `ray`. Each worker has one core, so that two need two idle ones. The results of both must be the same
bytes; the table also has the fill in one process.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.every_eval import EVERY_EVAL
from support.project import Project, environment, make_project
from support.ray_cluster import running_cluster


class Row(NamedTuple):
    """One fill."""

    way: str
    seconds: float
    """The command, start to end."""
    said: str
    """Its last line."""
    cells: dict[str, bytes]
    load: float
    """The machine's, when it had ended."""


def filled(project: Project, way: str, *arguments: str, env: dict[str, str]) -> Row:
    """`fill` in a copy of `project` that has no cells."""
    shutil.rmtree(project.root / ".sae_cache" / "cells", ignore_errors=True)
    shutil.rmtree(project.root / ".sae_cache" / "model_results", ignore_errors=True)
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "sae_research", "fill", *arguments], cwd=project.root, env=env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    seconds = time.monotonic() - started
    assert done.returncode == 0, done.stdout
    said = re.findall(r"^fill: (\d+ cells computed.*)$", done.stdout, re.MULTILINE)[-1]
    cells = {path.name: path.read_bytes() for path in (project.root / ".sae_cache" / "cells").glob("*/*.json")}
    return Row(way, seconds, said, cells, os.getloadavg()[1])


def on_cluster(project: Project, nodes: int, *evals: str) -> Row:
    """`fill` on a cluster of so many nodes of one core."""
    way = f"Ray, {nodes} worker{'s' if nodes > 1 else ''}"
    with running_cluster(nodes=nodes) as cluster:
        on_ray = ("--executor", "ray", "--address", cluster.address)
        return filled(project, way, *on_ray, *evals, env=dict(cluster.env))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="the tiny world, with little text")
    parser.add_argument("--gigabytes", type=float, default=4e-3, help="SAEs that share a pass (default: 0.004)")
    parser.add_argument("--evals", nargs="+", default=(), metavar="EVAL", help="default: all that are enabled")
    parser.add_argument("--finished", type=Path, metavar="FOLDER", help="take world and SAEs from this project")
    parsed = parser.parse_args()
    evals = ["--evals", *parsed.evals] if parsed.evals else []
    folder = Path(tempfile.mkdtemp(prefix="fill"))
    try:
        project = make_project(folder / "project")
        if not parsed.tiny:
            shutil.copy(Path(__file__).parent.parent / "params.yaml", project.root / "params.yaml")
        project.edit({**(EVERY_EVAL if parsed.tiny else {}), "execution": {"group_gigabytes": parsed.gigabytes}})
        if parsed.finished is None:
            project.run("python", "-m", "scripts.setup_saes")
        else:
            for name in ("world", "downloaded_saes"):
                shutil.copytree(parsed.finished / name, project.root / name)
        print(project.run("python", "-m", "sae_research", "fill", "--dry-run", *evals).out)
        rows = [filled(project, "one process", *evals, env=environment())]
        rows += [on_cluster(project, 1, *evals), on_cluster(project, 2, *evals)]
    finally:
        shutil.rmtree(folder)
    print(f"{os.cpu_count()} cores, {date.today().isoformat()}; load: the machine's average over five minutes\n")
    print("| way | seconds | of which fill | same bytes | load |\n|---|---|---|---|---|")
    for row in rows:
        same = "yes" if row.cells == rows[0].cells else "NO"
        print(f"| {row.way} | {row.seconds:.0f} | {row.said} | {same} | {row.load:.1f} |")


if __name__ == "__main__":
    main()
