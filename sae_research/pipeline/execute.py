"""Computes cells: one language model, one pass per site, every SAE of the site in it."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from sae_research.errors import UserError
from sae_research.evals.base import Eval, EvalContext
from sae_research.evals.run import run_eval
from sae_research.formats.readers.saelens import load_sae
from sae_research.lm.cache import ActivationCache
from sae_research.lm.load import load_language_model
from sae_research.lm.model import LanguageModel
from sae_research.pipeline.cells import Cell
from sae_research.pipeline.params import ModelParams
from sae_research.pipeline.store import ResultStore
from sae_research.progress import Progress
from sae_research.reference.registry import Engine, find_reference
from sae_research.saes.base import Sae
from sae_research.sources.hub import Hub

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """What executing cells takes, beside the cells."""

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


class Executed(NamedTuple):
    """Failures, and how much was read."""

    failures: Mapping[str, str]
    """The reason of each cell that failed, by SAE name."""
    tokens: int
    """Tokens that the language model read."""


def execute_cells(cells: Sequence[Cell], job: Job) -> Executed:
    """Computes `cells`, storing each as soon as it is known."""
    lm = load_language_model(
        job.hub, job.model.name, revision=job.revision, dtype=job.model.torch_dtype, device=job.model.device,
        cache=job.cache,
    )  # fmt: skip
    failures: dict[str, str] = {}
    with Progress(job.evaluated.name) as progress, torch.no_grad():
        context = EvalContext(lm=lm, hub=job.hub, seed=job.seed, batch_size=job.model.llm_batch_size, progress=progress)
        for group in _by_site(cells).values():
            for saes in _passes(group, job.saes_folder, lm, failures):
                _run_pass(saes, group, context, job, failures)
    return Executed(failures, lm.tokens_read)


def _run_pass(
    saes: Sequence[Sae], group: Sequence[Cell], context: EvalContext, job: Job, failures: dict[str, str]
) -> None:
    cells = {cell.sae_name: cell for cell in group}
    run = None if job.engine == "native" else find_reference(job.evaluated.name)
    outcomes = run_eval(
        context, job.evaluated, job.settings, saes, parts=lambda sae: cells[sae.card.name].parts, run=run
    )
    for sae, result, error in outcomes:
        cell = cells[sae.card.name]
        if result is None:
            failures[cell.sae_name] = _reason(error)
            log.error("%s of %s failed: %s", cell.eval_name, cell.sae_name, _reason(error), exc_info=error)
        else:
            # The manifest's entry, not the SAE's own: labels are the manifest's alone.
            job.store.put(replace(result, sae=cell.sae))


def _by_site(cells: Sequence[Cell]) -> Mapping[str, list[Cell]]:
    groups: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[cell.parts["site"]].append(cell)
    return groups


def _passes(group: Sequence[Cell], folder: Path, lm: LanguageModel, failures: dict[str, str]) -> Iterator[list[Sae]]:
    """The SAEs of `group`, as many at a time as fit; the reasons of those that cannot be loaded go into `failures`."""
    room = _memory_for_saes(lm.device)
    held: list[Sae] = []
    used = 0
    for cell in group:
        try:
            sae = load_sae(folder / cell.sae_name).to(lm.device).eval()
            lm.require_site(sae.card.site, sae.card.d_in)
        except UserError as error:
            failures[cell.sae_name] = str(error)
            log.error("%s: %s", cell.sae_name, error)
            continue
        size = sum(t.numel() * t.element_size() for t in sae.state_dict().values())
        if held and used + size > room:
            yield held
            held, used = [], 0
        held.append(sae)
        used += size
    if held:
        yield held


def _memory_for_saes(device: torch.device) -> int:
    """Bytes that the SAEs of one pass may hold: a quarter of the GPU, 4 GiB elsewhere."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory // 4
    return 4 * 2**30


def _reason(error: BaseException | None) -> str:
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
