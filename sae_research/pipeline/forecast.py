"""What a run of `fill` will take: hours, from cells computed before, and gigabytes of a worker."""

from __future__ import annotations

import json
import math
import struct
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sae_research.errors import UserError
from sae_research.pipeline.fill import Filling
from sae_research.pipeline.jobs import Job, expected_weight
from sae_research.pipeline.store import PastCell
from sae_research.sources.hub import Hub

_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


class Pace(NamedTuple):
    """Seconds per weight of a job, from passes of the past."""

    by_eval: Mapping[str, float]
    of_all: float
    n_passes: int

    def seconds(self, job: Job) -> float:
        """That `job` will take on one worker."""
        return job.weight * self.by_eval.get(job.eval_name, self.of_all)


def pace_of(past: Iterable[PastCell]) -> Pace | None:
    """The pace of what was computed before; None where no pass was timed."""
    passes: dict[tuple[str, tuple[str, ...]], float] = {}
    for cell in past:
        together, seconds = cell.made.get("together"), cell.made.get("seconds")
        if together and seconds:
            name = (cell.eval_name, tuple(together))
            passes[name] = max(seconds, passes.get(name, 0.0))
    took: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for (eval_name, together), seconds in passes.items():
        took[eval_name].append((seconds, expected_weight(eval_name, [1.0] * len(together))))
    if not took:
        return None
    by_eval = {name: _ratio(timed) for name, timed in took.items()}
    return Pace(by_eval, _ratio([one for timed in took.values() for one in timed]), len(passes))


def _ratio(timed: Sequence[tuple[float, float]]) -> float:
    return sum(seconds for seconds, _ in timed) / sum(weight for _, weight in timed)


def model_gigabytes(hub: Hub, model: Mapping[str, Any], dtype: str) -> float | None:
    """The language model's weights in memory; None where its files do not say."""
    try:
        path = hub.model(model["name"], revision=model["revision"]).path
    except UserError:
        return None
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else []
    return sum(map(_elements, files)) * _BYTES[dtype] / 1e9 if files else None


def _elements(path: Path) -> int:
    """The numbers that a safetensors file holds, from its header."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")


def describe(filling: Filling) -> str:
    """The plan in words: its jobs, then a line for each eval, then what they will take."""
    run, pace = filling.run, pace_of(filling.run.store.past_cells())
    left = {(job.eval_name, sae) for job in filling.left for sae in job.saes}
    lines = [f"{'job':>5} {'eval':<16} {'SAEs':>5} {'missing':>8} {'GB':>7}  of"]
    for number, job in enumerate(filling.jobs, start=1):
        missing = sum((job.eval_name, sae) in left for sae in job.saes)
        names = f"{job.saes[0]} ... {job.saes[-1]}" if job.saes[1:] else job.saes[0]
        lines.append(f"{number:>5} {job.eval_name:<16} {len(job.saes):>5} {missing:>8} {job.gigabytes:>7.2f}  {names}")
    lines.append(
        f"{len(filling.jobs)} jobs, {filling.n_cells} cells; {len(filling.left)} jobs with {filling.n_missing} cells "
        f"are missing (execution.group_gigabytes: {run.params.execution.group_gigabytes:g})"
    )
    lines.append(_memory(filling))
    if pace is None:
        lines.append("hours: unknown, since nothing in the store was timed; run one job, and ask again")
    elif filling.left:
        hours = [pace.seconds(job) / 3600 for job in filling.left]
        lines.append(
            f"expected: {sum(hours):.2f} hours of one worker like those of {pace.n_passes} earlier passes; the longest "
            f"job, which no number of workers shortens, {max(hours):.2f}"
        )
    return "\n".join(lines) + "\n"


def _memory(filling: Filling) -> str:
    run = filling.run
    saes = max((job.gigabytes for job in filling.jobs), default=0.0)
    hub = Hub(run.paths.world, described=run.params.data_sets)
    model = model_gigabytes(hub, run.manifest.model, run.params.model.torch_dtype)
    if model is None:
        return f"a worker holds SAEs of {saes:.2f} GB at most, the language model, and what a batch takes"
    return f"a worker holds {model + saes:.2f} GB (model {model:.2f}, SAEs {saes:.2f}), and what a batch takes"
