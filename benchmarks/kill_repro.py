"""Kills (-9) `dvc repro` or its script at random moments, runs it again, compares with an undisturbed run.

    python benchmarks/kill_repro.py --kills 10 --seed 0

Each kill hits a run from nothing: the moments are spread over the whole run, the world's training included.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.kills import Victim, after, kill_repro
from support.project import Project, make_project

VICTIMS = ("dvc", "script")
_LATEST = 0.9
"""The share of an undisturbed run after which no kill comes: a faster run might have ended."""


@dataclass(frozen=True)
class Trial:
    """One kill and what the next run made of it."""

    number: int
    moment: float
    stage: str
    victim: str
    outlived: bool
    """Whether a script still ran when DVC had long ended."""
    second_run: str
    equal: bool

    @property
    def passed(self) -> bool:
        return self.equal and not self.outlived


def run_trial(number: int, fresh: Project, folder: Path, *, moment: float, victim: Victim, expected: dict) -> Trial:
    """Kills a run of a copy of `fresh` after `moment` seconds, then runs it to its end."""
    project = fresh.copy_to(folder)
    kill = kill_repro(project, victim, signal.SIGKILL, after(moment))
    again = project.repro(check=False)
    counts = [f"{name} {c[0]} computed, {c[1]} reused" for name, c in again.counts.items()]
    trial = Trial(
        number, moment, kill.stage if kill.was_running else "(had ended)", victim, bool(kill.outlived),
        f"exit {again.code}; {'; '.join(counts) or 'no eval ran'}", project.outputs() == expected,
    )  # fmt: skip
    shutil.rmtree(folder)
    return trial


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    trials = []
    with tempfile.TemporaryDirectory() as name:
        fresh = make_project(Path(name) / "fresh")
        undisturbed = fresh.copy_to(Path(name) / "undisturbed")
        started = time.monotonic()
        undisturbed.repro()
        seconds = time.monotonic() - started
        expected = undisturbed.outputs()
        print(f"undisturbed: {seconds:.0f} s, {len(expected)} files", flush=True)
        print(f"{'':>3} {'moment':>7}  {'stage':<26} {'victim':<7} {'outlived':<9} {'equal':<6} second run", flush=True)
        for number in range(arguments.kills):
            moment = _LATEST * seconds * (number + chance.random()) / arguments.kills
            victim = cast(Victim, VICTIMS[number % 2])
            trial = run_trial(number + 1, fresh, Path(name) / "killed", moment=moment, victim=victim, expected=expected)
            trials.append(trial)
            outlived, equal = "YES" if trial.outlived else "no", "yes" if trial.equal else "NO"
            print(
                f"{trial.number:>3} {trial.moment:>6.1f}s  {trial.stage:<26} {trial.victim:<7} {outlived:<9} "
                f"{equal:<6} {trial.second_run}",
                flush=True,
            )
    passed = sum(trial.passed for trial in trials)
    print(f"{passed} of {len(trials)} kills: results byte-equal to an undisturbed run's, no process left behind")
    return 0 if passed == len(trials) else 1


if __name__ == "__main__":
    sys.exit(main())
