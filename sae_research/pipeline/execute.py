"""Computes cells: the language model is loaded once, and the SAEs of a job read the same pass of it."""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

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
from sae_research.pipeline.dispatch import Report
from sae_research.pipeline.sections import ModelParams
from sae_research.pipeline.store import ResultStore
from sae_research.progress import Progress
from sae_research.reference.registry import Engine, find_reference
from sae_research.saes.base import Sae
from sae_research.sources.hub import Hub

log = logging.getLogger(__name__)

_CPUS = Path("/proc/cpuinfo")
_NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
_NO_MEMORY_ON_CPU = "DefaultCPUAllocator: can't allocate memory"


@dataclass(frozen=True)
class Workplace:
    """What it takes to compute the cells of a run."""

    engine: Engine
    settings: Mapping[str, Any]
    """By eval."""
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
    group_gigabytes: float
    """How groups were planned, noted beside each cell."""
    judges: JudgeAccess


class Worker:
    """A process with the language model, and with the SAEs of its last job, which its next one may ask for again."""

    def __init__(self, place: Workplace) -> None:
        self.place = place
        model = place.model
        self.lm: LanguageModel = load_language_model(
            place.hub, model.name, revision=place.revision, dtype=model.torch_dtype, device=model.device,
            cache=place.cache,
        )  # fmt: skip
        if self.lm.device.type == "cuda":
            torch.backends.cuda.matmul.allow_tf32 = model.tf32
        self.made = {**_processor(self.lm.device), "group_gigabytes": place.group_gigabytes}
        """What is noted beside each cell: it can show in the last digits of numbers, but in no document."""
        self._loaded: dict[str, Sae] = {}

    def compute(self, evaluated: Eval, cells: Sequence[Cell], progress: Progress) -> Report:
        """Stores the result of each cell as soon as it is known; an SAE that fails leaves the others alone.

        Where memory does not suffice for all of them the report names those that have no result.
        """
        started, read = time.monotonic(), self.lm.tokens_read
        run = _CellRun(self, evaluated, {cell.sae_name: cell for cell in cells})
        try:
            self._load(run)
            run.measure([self._loaded[name] for name in run.cells if name in self._loaded], progress)
        except Exception as error:
            if not _is_out_of_memory(error):
                raise
            log.warning("%s: out of memory with %d SAEs at once: %s", evaluated.name, len(cells), error)
            run.out_of_memory = [name for name in run.cells if name not in (*run.computed, *run.failures)]
        if run.out_of_memory:
            self._loaded.clear()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        return Report(
            run.failures, tuple(run.out_of_memory), tokens=self.lm.tokens_read - read,
            seconds=time.monotonic() - started,
        )  # fmt: skip

    def _load(self, run: _CellRun) -> None:
        """Loads the SAEs of the cells, and lets go of all others first."""
        self._loaded = {name: sae for name, sae in self._loaded.items() if name in run.cells}
        for name, cell in run.cells.items():
            try:
                if name not in self._loaded:
                    self._loaded[name] = load_sae(self.place.saes_folder / name).to(self.lm.device).eval()
                sae = self._loaded[name]
                _require_planned(sae, cell, self.place.saes_folder)
                self.lm.require_site(sae.card.site, sae.card.d_in)
            except UserError as error:
                self._loaded.pop(name, None)
                run.failures[name] = str(error)
                log.error("%s: %s", name, error)


class _CellRun:
    """The cells of one job, and what has become of them so far."""

    def __init__(self, worker: Worker, evaluated: Eval, cells: Mapping[str, Cell]) -> None:
        self._worker, self._evaluated = worker, evaluated
        self.cells = cells
        self.failures: dict[str, str] = {}
        self.out_of_memory: list[str] = []
        self.computed: list[str] = []

    @torch.no_grad()
    def measure(self, saes: Sequence[Sae], progress: Progress) -> None:
        """Stores the results of `saes`."""
        if not saes:
            return
        place, lm, started = self._worker.place, self._worker.lm, time.monotonic()
        context = EvalContext(
            lm=lm, hub=place.hub, seed=place.seed, batch_size=place.model.llm_batch_size, progress=progress,
            model_results=_model_results(self.cells.values(), lm, place.model_results),
            judges=place.judges,
            requested={name: cell.parts.get("latents", ()) for name, cell in self.cells.items()},
        )  # fmt: skip
        run = None if place.engine == "native" else find_reference(self._evaluated.name)
        settings = place.settings[self._evaluated.name]
        made = {**self._worker.made, "together": [sae.card.name for sae in saes]}
        for sae, result, error in run_eval(
            context, self._evaluated, settings, saes, parts=lambda sae: self.cells[sae.card.name].parts, run=run
        ):
            cell = self.cells[sae.card.name]
            if result is not None:
                seconds = round(time.monotonic() - started, 3)
                # The SAE as the manifest describes it: only the manifest has labels.
                place.store.put(replace(result, sae=cell.sae), made={**made, "seconds": seconds})
                self.computed.append(cell.sae_name)
            elif _is_out_of_memory(error):
                self.out_of_memory.append(cell.sae_name)
            else:
                reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
                self.failures[cell.sae_name] = reason
                log.error("%s of %s failed: %s", cell.eval_name, cell.sae_name, reason, exc_info=error)


def _model_results(cells: Iterable[Cell], lm: LanguageModel, folder: Path) -> ModelResults:
    """Those of the eval that `cells` are of."""
    parts = dict(next(iter(cells)).model_parts)
    return ModelResults(folder, [parts, library_versions(), lm.device.type])


def _processor(device: torch.device) -> dict[str, Any]:
    """The kind of device, its driver, and how many threads compute."""
    if device.type == "cuda":
        name, driver = torch.cuda.get_device_name(device), _text(_NVIDIA_DRIVER).partition("\n")[0]
    else:
        models = (line.partition(":")[2].strip() for line in _text(_CPUS).splitlines() if line.startswith("model name"))
        name, driver = next(models, platform.machine()), ""
    return {"device": name, "driver": driver, "threads": torch.get_num_threads()}


def _text(path: Path) -> str:
    """What the system says there; nothing where it does not."""
    try:
        return path.read_text()
    except OSError:
        return ""


def _is_out_of_memory(error: Exception | None) -> bool:
    """Whether it is the device's or the machine's memory that did not suffice."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and _NO_MEMORY_ON_CPU in str(error)


def _require_planned(sae: Sae, cell: Cell, folder: Path) -> None:
    """UserError unless the folder still holds the SAE that the cell's key names."""
    planned = (cell.sae_name, cell.parts["sae"], cell.parts["site"])
    if (sae.card.name, sae.card.digest, sae.card.site.hook_name) != planned:
        raise UserError(
            f"SAE {cell.sae_name!r}: {folder / cell.sae_name} holds {sae.card.name!r} at {sae.card.site.hook_name}, "
            f"digest {sae.card.digest[:12]}; the manifest says {planned[2]}, digest {planned[1][:12]}. The setup stage "
            "has run since, or the folder was changed: run the setup stage, then this one again"
        )
