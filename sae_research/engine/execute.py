"""Computes cells: one language model, one pass per site, every SAE of the site in it."""

from __future__ import annotations

import logging
import platform
from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from sae_research.engine.cells import Cell, plain
from sae_research.engine.store import ResultStore
from sae_research.errors import UserError
from sae_research.evals.base import Eval, EvalContext
from sae_research.formats.saelens import load_sae
from sae_research.hub import Hub
from sae_research.lm.load import load_language_model
from sae_research.lm.model import LanguageModel
from sae_research.params import ModelParams
from sae_research.progress import Progress
from sae_research.results.record import Result
from sae_research.saes.base import Sae

log = logging.getLogger(__name__)

_LIBRARIES = ("torch", "transformers", "numpy", "scikit-learn", "sae-lens", "sae-bench")


def execute_cells(
    cells: Sequence[Cell],
    eval_type: type[Eval],
    settings: Any,
    *,
    model: ModelParams,
    revision: str,
    seed: int,
    hub: Hub,
    saes_folder: Path,
    store: ResultStore,
) -> dict[str, str]:
    """Computes `cells`, storing each as soon as it is known; the reason by SAE name of each that failed."""
    lm = load_language_model(hub, model.name, revision=revision, dtype=model.torch_dtype, device=model.device)
    failures: dict[str, str] = {}
    with Progress(eval_type.name) as progress, torch.no_grad():
        context = EvalContext(lm=lm, hub=hub, seed=seed, batch_size=model.llm_batch_size, progress=progress)
        for group in _by_site(cells).values():
            saes = _load_all(group, saes_folder, lm, failures)
            by_name = {cell.sae_name: cell for cell in group}
            for sae, output, error in eval_type.run(context, list(saes), settings):
                cell = by_name[sae.card.name]
                if output is None:
                    failures[cell.sae_name] = _reason(error)
                    log.error("%s of %s failed: %s", cell.eval_name, cell.sae_name, _reason(error), exc_info=error)
                else:
                    store.put(_result(cell, output, plain(settings)))
    return failures


def _by_site(cells: Sequence[Cell]) -> Mapping[str, list[Cell]]:
    groups: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[cell.parts["site"]].append(cell)
    return groups


def _load_all(group: Sequence[Cell], folder: Path, lm: LanguageModel, failures: dict[str, str]) -> list[Sae]:
    """The SAEs of `group` that can be loaded; the reasons of the others go into `failures`."""
    saes: list[Sae] = []
    for cell in group:
        try:
            sae = load_sae(folder / cell.sae_name).to(device=lm.device, dtype=lm.dtype)
            lm.require_site(sae.card.site, sae.card.d_in)
        except UserError as error:
            failures[cell.sae_name] = str(error)
            log.error("%s: %s", cell.sae_name, error)
        else:
            saes.append(sae.eval())
    return saes


def _reason(error: BaseException | None) -> str:
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"


def _result(cell: Cell, output: Any, settings: Mapping[str, Any]) -> Result:
    return Result(
        key=cell.key,
        eval_name=cell.eval_name,
        sae=cell.sae,
        settings=settings,
        key_parts=cell.parts,
        output=output,
        versions=_versions(),
    )


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
