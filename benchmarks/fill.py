"""One fill of all evals with one worker and with two, each on its own Ray node on this machine, and their results.

    python -m benchmarks.fill                   # the embedded default: 19 SAEs and the controls
    python -m benchmarks.fill --tiny            # a world that is built in seconds

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
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.every_eval import EVERY_EVAL
from support.project import Project, environment, make_project
from support.ray_cluster import RayCluster, running_cluster


class Row(NamedTuple):
    """One fill."""

    way: str
    seconds: float
    """The command, start to end."""
    said: str
    """Its last line."""
    cells: dict[str, bytes]


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
    return Row(way, seconds, said, cells)


def on_cluster(project: Project, nodes: int) -> Row:
    """`fill` on a cluster of so many nodes of one core."""
    with running_cluster(nodes=nodes) as cluster:
        return _on(cluster, project, nodes)


def _on(cluster: RayCluster, project: Project, nodes: int) -> Row:
    way = f"Ray, {nodes} worker{'s' if nodes > 1 else ''}"
    return filled(project, way, "--executor", "ray", "--address", cluster.address, env=dict(cluster.env))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="the tiny world, with little text")
    parser.add_argument("--gigabytes", type=float, default=4e-3, help="SAEs that share a pass (default: 0.004)")
    parsed = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="fill"))
    try:
        project = make_project(folder / "project")
        if not parsed.tiny:
            shutil.copy(Path(__file__).parent.parent / "params.yaml", project.root / "params.yaml")
        project.edit({**(EVERY_EVAL if parsed.tiny else {}), "execution": {"group_gigabytes": parsed.gigabytes}})
        project.run("python", "-m", "scripts.setup_saes")
        print(project.run("python", "-m", "sae_research", "fill", "--dry-run").out)
        rows = [filled(project, "one process", env=environment()), on_cluster(project, 1), on_cluster(project, 2)]
    finally:
        shutil.rmtree(folder)
    load = os.getloadavg()[1]
    print(f"{os.cpu_count()} cores, load {load:.1f} over the last five minutes\n")
    print("| way | seconds | of which fill | same bytes |\n|---|---|---|---|")
    for row in rows:
        print(f"| {row.way} | {row.seconds:.0f} | {row.said} | {'yes' if row.cells == rows[0].cells else 'NO'} |")


if __name__ == "__main__":
    main()
