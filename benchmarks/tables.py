"""Tables that compare both sides: numbers, accuracies, times, spreads over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.core_case import Pair
from benchmarks.measuring import Inside, Measured, Stopwatch, table
from sae_research.measurements import EvalOutput
from sae_research.saes.base import Sae

_MIB = 2**20
Scores = Mapping[str, float | None]
"""By name, of one SAE at one seed."""


@dataclass
class Turns:
    """Seconds and peak memory of both sides over repeated runs, and the results of the last run."""

    parts: Sequence[str]
    theirs: Stopwatch = field(default_factory=Stopwatch)
    ours: Stopwatch = field(default_factory=Stopwatch)
    memory: dict[str, int] = field(default_factory=lambda: {"theirs": 0, "ours": 0})
    their_runs: list[Any] = field(default_factory=list)
    """SAEBench's measured result for each SAE."""
    our_outputs: list[EvalOutput] = field(default_factory=list)


def metrics_table(pairs: Sequence[Sequence[Pair]], names: Sequence[str]) -> str:
    """Each metric of the first SAE on both sides, and over all SAEs the largest relative difference."""
    rows = []
    for i, first in enumerate(pairs[0]):
        gaps = [of_sae[i].difference for of_sae in pairs]
        worst = max(range(len(gaps)), key=lambda at: gaps[at])
        rows.append((first.metric, first.theirs, first.ours, f"{gaps[worst]:.1e}", names[worst]))
    header = ["metric", f"theirs ({names[0]})", "ours", "largest relative difference of all SAEs", "at"]
    return table(header, rows)


def accuracy_table(their_runs: Sequence[Any], our_outputs: Sequence[EvalOutput]) -> str:
    """Mean accuracies over SAEs, only roughly equal because the draws and the full-width probes differ."""
    rows = []
    for key in their_runs[0].value.means:
        theirs = [run.value.means[key] for run in their_runs]
        ours = [_mean_accuracy(output, key) for output in our_outputs]
        gaps = [a - b for a, b in zip(ours, theirs, strict=True)]
        rows.append((key, sum(theirs) / len(theirs), sum(ours) / len(ours), max(gaps, key=abs)))
    return table(["metric", "theirs (mean over SAEs)", "ours", "largest difference"], rows)


def _mean_accuracy(output: EvalOutput, key: str) -> float:
    values = [record[key] for record in output.details]
    return sum(values) / len(values)


def times_table(turns: Turns) -> str:
    """Seconds of each part, the rest, and all; peak memory below."""
    rows: list[tuple[Any, ...]] = []
    for part in turns.parts:
        a, b = turns.theirs.median(part), turns.ours.median(part)
        rows.append((part, a, b, a / b))
    total = turns.theirs.median("all"), turns.ours.median("all")
    rest = tuple(seconds - sum(row[side] for row in rows) for side, seconds in ((1, total[0]), (2, total[1])))
    rows.append(("the rest", *rest, ""))
    rows.append(("**all**", *total, f"**{total[0] / total[1]:.2f}**"))
    memory = [turns.memory[side] / _MIB for side in ("theirs", "ours")]
    rows.append(("peak memory, MiB", *(f"{value:.0f}" for value in memory), memory[0] / max(memory[1], 1)))
    return table(["part", "theirs s", "ours s", "ratio"], rows)


def growth_table(case: Any, saes: Sequence[Sae], their_runs: Sequence[Measured], counts: Sequence[int]) -> str:
    """Times by number of SAEs; SAEBench's are sums over SAEs, which it runs one after the other.

    `their_runs` are its runs of the first SAEs; the others are run here.
    """
    theirs = [*their_runs, *(case.theirs(sae, Inside()) for sae in saes[len(their_runs) :])]
    rows = []
    for n in counts:
        ours = case.ours(saes[:n], Inside())
        wall, cpu = sum(run.seconds for run in theirs[:n]), sum(run.cpu_seconds for run in theirs[:n])
        rows.append((n, wall, ours.seconds, wall / ours.seconds, cpu, ours.cpu_seconds, cpu / ours.cpu_seconds))
    shown = [(*row, row[4] / rows[0][4], row[5] / rows[0][5]) for row in rows]
    grown = [f"{side} CPU / {side} CPU({counts[0]})" for side in ("theirs", "ours")]
    return table(["SAEs", "theirs s", "ours s", "ratio", "theirs CPU s", "ours CPU s", "CPU ratio", *grown], shown)


def spread_table(case: Any, saes: Sequence[Sae], n_seeds: int) -> str:
    """Each SAE's scores over seeds on both sides, and the difference of the means in standard errors."""
    theirs: dict[tuple[str, str], list[float]] = {}
    ours: dict[tuple[str, str], list[float]] = {}
    for seed in range(n_seeds):
        seeded = case.at_seed(seed)
        for sae, output in zip(saes, seeded.ours(saes, Inside()).value, strict=True):
            both = seeded.scores(seeded.theirs(sae, Inside()).value, output)
            for side, scores in zip((theirs, ours), both, strict=True):
                for name, value in scores.items():
                    if value is not None:
                        side.setdefault((sae.card.name, name), []).append(value)
    header = ["SAE", "score", "theirs", "from, to", "ours", "from, to", "difference in standard errors"]
    return table(header, [(*key, *_compared(theirs[key], ours[key])) for key in theirs if key in ours])


def _compared(theirs: Sequence[float], ours: Sequence[float]) -> Iterator[str]:
    """Mean, standard deviation and range of either side, and the gap between the means."""
    squares = 0.0
    for values in (theirs, ours):
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        squares += spread**2 / len(values)
        yield f"{statistics.mean(values):.3f} ± {spread:.3f}"
        yield f"{min(values):.3f} to {max(values):.3f}" + (f" ({len(values)})" if len(ours) != len(theirs) else "")
    gap = statistics.mean(ours) - statistics.mean(theirs)
    yield f"{gap / squares**0.5:+.1f}" if squares else ""
