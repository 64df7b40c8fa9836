"""Computes cells: the language model is loaded once, and all SAEs of a site, or of all, read the same pass of it."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from sae_research.device_memory import free_memory
from sae_research.errors import UserError
from sae_research.evals.base import Eval, EvalContext
from sae_research.evals.model_results import ModelResults
from sae_research.evals.run import library_versions, run_eval
from sae_research.formats.readers.saelens import load_sae
from sae_research.judges.access import JudgeAccess
from sae_research.lm.cache import ActivationCache
from sae_research.lm.load import load_language_model
from sae_research.lm.model import LanguageModel
from sae_research.pipeline.cells import Cell
from sae_research.pipeline.sections import ModelParams
from sae_research.pipeline.store import ResultStore
from sae_research.progress import Progress
from sae_research.reference.registry import Engine, find_reference
from sae_research.saes.base import Sae
from sae_research.sources.hub import Hub

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """What it takes to compute cells of one eval."""

    evaluated: Eval
    engine: Engine
    settings: Any
    model: ModelParams
    revision: str
    """The language model's revision, resolved by `setup`."""
    seed: int
    hub: Hub
    saes_folder: Path
    store: ResultStore
    cache: ActivationCache | None
    model_results: Path
    """The folder of what evals found of the language model alone."""
    judges: JudgeAccess


class Executed(NamedTuple):
    """Which cells failed, and how much was read."""

    failures: Mapping[str, str]
    """Why each failed, by SAE name."""
    tokens: int
    """Tokens that the language model read."""


def execute_cells(cells: Sequence[Cell], job: Job) -> Executed:
    """Computes `cells`, storing each result as soon as it is known; an SAE that fails leaves the others alone."""
    lm = load_language_model(
        job.hub, job.model.name, revision=job.revision, dtype=job.model.torch_dtype, device=job.model.device,
        cache=job.cache,
    )  # fmt: skip
    by_site: dict[str, dict[str, Cell]] = defaultdict(dict)
    for cell in cells:
        by_site[cell.parts["site"]][cell.sae_name] = cell
    failures: dict[str, str] = {}
    with Progress(job.evaluated.name) as progress, torch.no_grad():
        context = EvalContext(
            lm=lm, hub=job.hub, seed=job.seed, batch_size=job.model.llm_batch_size, progress=progress,
            model_results=_model_results(cells, lm, job.model_results), judges=job.judges,
        )  # fmt: skip
        passes = list(by_site.values())
        if job.evaluated.sites_together and job.engine == "native":
            passes = [{name: cell for of_site in passes for name, cell in of_site.items()}]
        for pass_cells in passes:
            for saes in _load_in_groups(pass_cells.values(), job.saes_folder, lm, failures):
                _measure(saes, pass_cells, context, job, failures)
    return Executed(failures, lm.tokens_read)


def _model_results(cells: Sequence[Cell], lm: LanguageModel, folder: Path) -> ModelResults | None:
    """Those of the eval that `cells` are of."""
    if not cells:
        return None
    return ModelResults(folder, [dict(cells[0].model_parts), library_versions(), lm.device.type])


def _measure(
    saes: Sequence[Sae], cells: Mapping[str, Cell], context: EvalContext, job: Job, failures: dict[str, str]
) -> None:
    run = None if job.engine == "native" else find_reference(job.evaluated.name)
    for sae, result, error in run_eval(
        context, job.evaluated, job.settings, saes, parts=lambda sae: cells[sae.card.name].parts, run=run
    ):
        cell = cells[sae.card.name]
        if result is None:
            failures[cell.sae_name] = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            log.error("%s of %s failed: %s", cell.eval_name, cell.sae_name, failures[cell.sae_name], exc_info=error)
        else:
            # The SAE as the manifest describes it: only the manifest has labels.
            job.store.put(replace(result, sae=cell.sae))


def _load_in_groups(
    cells: Iterable[Cell], folder: Path, lm: LanguageModel, failures: dict[str, str]
) -> Iterator[list[Sae]]:
    """The SAEs of `cells`, as many at a time as fit; the reasons of those that cannot be loaded go into `failures`."""
    # The SAEs of one pass hold a quarter of what is free; their codes need the rest.
    room = free_memory(lm.device) // 4
    group: list[Sae] = []
    used = 0
    for cell in cells:
        try:
            sae = load_sae(folder / cell.sae_name).to(lm.device).eval()
            _require_planned(sae, cell, folder)
            lm.require_site(sae.card.site, sae.card.d_in)
        except UserError as error:
            failures[cell.sae_name] = str(error)
            log.error("%s: %s", cell.sae_name, error)
            continue
        size = sum(t.numel() * t.element_size() for t in sae.state_dict().values())
        if group and used + size > room:
            yield group
            group, used = [], 0
        group.append(sae)
        used += size
    if group:
        yield group


def _require_planned(sae: Sae, cell: Cell, folder: Path) -> None:
    """UserError unless the folder still holds the SAE that the cell's key names."""
    planned = (cell.sae_name, cell.parts["sae"], cell.parts["site"])
    if (sae.card.name, sae.card.digest, sae.card.site.hook_name) != planned:
        raise UserError(
            f"SAE {cell.sae_name!r}: {folder / cell.sae_name} holds {sae.card.name!r} at {sae.card.site.hook_name}, "
            f"digest {sae.card.digest[:12]}; the manifest says {planned[2]}, digest {planned[1][:12]}. The setup stage "
            "has run since, or the folder was changed: run the setup stage, then this one again"
        )
