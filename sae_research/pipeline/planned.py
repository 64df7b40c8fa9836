"""A run as planned: its cells and jobs, and which of them the store holds. Needs no torch."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from sae_research.errors import UserError
from sae_research.evals.registry import find_eval
from sae_research.judges.access import JudgeAccess
from sae_research.pipeline.cells import Cell, plan_cells
from sae_research.pipeline.jobs import Job, plan_jobs
from sae_research.pipeline.judge_budget import Allowance
from sae_research.pipeline.local_folders import changed_since_setup, places_of
from sae_research.pipeline.manifest import Manifest, read_manifest
from sae_research.pipeline.params import Params, shared_texts
from sae_research.pipeline.paths import Paths
from sae_research.pipeline.requests import requested_latents
from sae_research.pipeline.store import ResultStore, results_in
from sae_research.sources.hub import Hub

if TYPE_CHECKING:
    from sae_research.pipeline.execute import Workplace

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PlannedRun:
    """Evals of one workspace, planned."""

    params: Params
    paths: Paths
    manifest: Manifest
    cells: Mapping[str, Sequence[Cell]]
    """By eval."""
    allowance: Allowance | None = None
    """What may be spent on judges, where others spend the rest of what the parameters allow."""

    @cached_property
    def store(self) -> ResultStore:
        """Where finished cells are."""
        return ResultStore(self.paths.store / "cells")

    @cached_property
    def jobs(self) -> list[Job]:
        """All of them, whatever is stored, heaviest first."""
        limit = self.params.execution.group_gigabytes
        return plan_jobs(self.cells, group_gigabytes=limit, engine=self.params.engine)

    @cached_property
    def _by_name(self) -> Mapping[tuple[str, str], Cell]:
        return {(name, cell.sae_name): cell for name, of_eval in self.cells.items() for cell in of_eval}

    def cells_of(self, job: Job) -> list[Cell]:
        """The cells that `job` computes."""
        return [self._by_name[job.eval_name, name] for name in job.saes]

    def stored(self, eval_name: str) -> set[str]:
        """The keys of that eval's cells that are in the store; none where finished results are to be ignored.

        Results are read one after the other, and none is held: those of many SAEs fill memory.
        """
        if _ignores_the_store():
            return set()
        return {cell.key for cell in self.cells[eval_name] if self.store.get(cell.key) is not None}

    def missing(self, job: Job) -> list[str]:
        """The SAEs of `job` whose cells are not in the store; all where finished results are to be ignored."""
        if _ignores_the_store():
            return list(job.saes)
        return [cell.sae_name for cell in self.cells_of(job) if self.store.get(cell.key) is None]

    def left(self, jobs: Sequence[Job], present: Collection[str]) -> list[Job]:
        """The jobs without the cells whose keys are in `present`."""
        saes = {id(job): [cell.sae_name for cell in self.cells_of(job) if cell.key not in present] for job in jobs}
        return [job.of(saes[id(job)]) for job in jobs if saes[id(job)]]

    @cached_property
    def judges(self) -> JudgeAccess:
        """How judges are reached, with the answers that came with pulled results."""
        access = JudgeAccess(self.params.judging, self.paths.store / "answers")
        for evaluated in map(find_eval, self.cells):
            if evaluated.asks(self.params.settings_of(evaluated)):
                folder = self.paths.results / evaluated.name
                adopted = sum(access.store.adopt(r.output.judge.get("answers", {})) for r in results_in(folder))
                if adopted:
                    log.info("%s: %d answers of a judge taken from %s", evaluated.name, adopted, folder)
        if self.allowance is not None:
            access.ledger = self.allowance.account(self.params.judging)
        return access

    def workplace(self) -> Workplace:
        """What it takes to compute the cells, in this process; imports torch."""
        from sae_research.lm.cache import ActivationCache
        from sae_research.pipeline.execute import Workplace
        from sae_research.reference.registry import require_installed

        params, paths = self.params, self.paths
        if params.engine == "sae_bench":
            require_installed()
        caching = params.activation_caching
        cache = ActivationCache(paths.store / "activations", max_bytes=int(caching.max_gigabytes * 2**30))
        return Workplace(
            engine=params.engine,
            settings={name: params.settings_of(find_eval(name)) for name in self.cells},
            model=params.model,
            revision=self.manifest.model["revision"],
            seed=params.random_seed,
            hub=Hub(paths.world, described=params.data_sets),
            saes_folder=paths.saes,
            store=self.store,
            cache=cache if caching.save_activations else None,
            model_results=paths.store / "model_results",
            group_gigabytes=params.execution.group_gigabytes,
            judges=self.judges,
        )


def plan_run(params: Params, paths: Paths, evals: Sequence[str]) -> PlannedRun:
    """The cells of `evals`; UserError where what the setup stage read has changed since."""
    manifest = read_manifest(paths.saes)
    require_unchanged(params, paths, manifest)
    hub = Hub(paths.world, described=params.data_sets)
    chosen = {name: find_eval(name) for name in evals}
    if not paths.merged.exists() and any(evaluated.looks_closer for evaluated in chosen.values()):
        raise UserError(f"{paths.merged} does not exist; run the stage process_results first (`dvc repro`)")
    cells = {
        name: plan_cells(params, manifest, evaluated, hub, requested=requested_latents(evaluated, paths))
        for name, evaluated in chosen.items()
    }
    for evaluated in chosen.values():
        shared = shared_texts(evaluated, params)
        if shared is not None:
            log.warning("%s", shared)
    return PlannedRun(params, paths, manifest, cells)


def require_unchanged(params: Params, paths: Paths, manifest: Manifest) -> None:
    """UserError where the model or an SAE lies in a local folder that has changed since the setup stage read it.

    Under DVC, which has just run the setup stage, a warning: the results are those of what that stage read.
    """
    changed = changed_since_setup(params, paths, manifest)
    read = {place for entry in manifest.saes for place in places_of(entry, params, manifest)}
    if not changed & read:
        return
    said = f"{', '.join(sorted(changed & read))}: changed since the setup stage ran"
    if "DVC_STAGE" not in os.environ:
        raise UserError(f"{said}; run it again (`dvc repro`, or `python -m scripts.setup_saes` by hand)")
    log.warning("%s; these results are of what it read, and the next `dvc repro` will run it again", said)


def _ignores_the_store() -> bool:
    return bool(os.environ.get("SAE_NO_REUSE"))
