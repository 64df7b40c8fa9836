"""Units of work: some SAEs of a site under one eval, planned from the SAEs and a stated budget alone.

The plan is the same on every fleet. What a job costs is counted, and matters only beside what others cost.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from sae_research.evals.registry import find_eval
from sae_research.pipeline.cells import Cell
from sae_research.reference.registry import Engine

_FLOAT = 4


class Cost(NamedTuple):
    """Seconds on one H100, counted for Gemma-2-27B and SAEs of 131,072 latents (docs/scaling.md)."""

    each_pass: float
    """What the language model takes, whatever the number of SAEs."""
    each_sae: float


COSTS: Mapping[str, Cost] = {
    "core": Cost(380, 73),
    "sparse_probing": Cost(585, 104),
    "scr": Cost(195, 20),
    "tpp": Cost(195, 20),
    "absorption": Cost(78, 20),
    "ravel": Cost(60, 1131),
    "unlearning": Cost(866, 181),
}
_ANY_OTHER = Cost(300, 200)


@dataclass(frozen=True)
class Job:
    """Some SAEs under one eval: they are loaded together and share the language model's passes."""

    eval_name: str
    saes: tuple[str, ...]
    """Their names."""
    weight: float
    """Expected cost, in no unit: heavier jobs take longer."""
    gigabytes: float
    """Of the SAEs in float32."""

    @property
    def title(self) -> str:
        """What logs call it."""
        several = f"{self.saes[0]} and {len(self.saes) - 1} more" if self.saes[1:] else self.saes[0]
        return f"{self.eval_name} of {several}"

    def of(self, saes: Collection[str]) -> Job:
        """The job for some of its SAEs only, at their share of its cost."""
        some = tuple(name for name in self.saes if name in saes)
        share = len(some) / len(self.saes)
        return replace(self, saes=some, weight=self.weight * share, gigabytes=self.gigabytes * share)


def plan_jobs(cells: Mapping[str, Sequence[Cell]], *, group_gigabytes: float, engine: Engine) -> list[Job]:
    """The jobs that compute `cells`, given by eval: heaviest first, in an order that the arguments alone determine."""
    largest = max((_gigabytes(cell.sae) for of_eval in cells.values() for cell in of_eval), default=1.0)
    jobs = [
        _job(name, group, largest)
        for name, of_eval in cells.items()
        for group in _groups([cell.sae for cell in of_eval], _shares_sites(name, engine), group_gigabytes)
    ]
    return sorted(jobs, key=lambda job: (-job.weight, job.eval_name, job.saes))


def _shares_sites(eval_name: str, engine: Engine) -> bool:
    return engine == "native" and find_eval(eval_name).sites_together


def _groups(entries: Sequence[Mapping[str, Any]], shares_sites: bool, limit: float) -> list[list[Mapping[str, Any]]]:
    """The SAEs in groups of at most `limit` gigabytes, one SAE at least; of one site unless sites are shared."""
    by_site: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for entry in entries:
        by_site[entry["hook_name"]].append(entry)
    groups: list[list[Mapping[str, Any]]] = []
    used = limit
    for of_site in by_site.values():
        used = used if shares_sites else limit
        for entry in of_site:
            size = _gigabytes(entry)
            if used + size > limit:
                groups.append([])
                used = 0.0
            groups[-1].append(entry)
            used += size
    return groups


def _job(eval_name: str, group: Sequence[Mapping[str, Any]], largest: float) -> Job:
    sizes = [_gigabytes(entry) for entry in group]
    weight = expected_weight(eval_name, [size / largest for size in sizes])
    return Job(eval_name, tuple(entry["name"] for entry in group), weight, sum(sizes))


def expected_weight(eval_name: str, sizes: Sequence[float]) -> float:
    """What one pass for SAEs of these sizes costs, 1 being the largest of the plan."""
    cost = COSTS.get(eval_name, _ANY_OTHER)
    return cost.each_pass + cost.each_sae * sum(sizes)


def _gigabytes(entry: Mapping[str, Any]) -> float:
    """At most what the SAE's tensors take: an encoder, a decoder, two vectors of latents, a bias."""
    d_in, d_sae = entry["d_in"], entry["d_sae"]
    return _FLOAT * (2 * d_in * d_sae + 2 * d_sae + d_in) / 1e9


def share_of(jobs: Sequence[Job], shard: int, of: int) -> list[Job]:
    """Share `shard`, counted from 1, of a whole plan: every `of`-th job. Shares are disjoint, and together the plan."""
    return list(jobs[shard - 1 :: of])
