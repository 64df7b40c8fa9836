"""One eval stage: plan its cells, compute those that are missing, publish all of them."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sae_research.errors import UserError
from sae_research.evals.base import Eval
from sae_research.evals.registry import find_eval
from sae_research.files import remove_leftovers, remove_stale, require_own_folder, write_atomically
from sae_research.judges.access import JudgeAccess
from sae_research.measurements import Result
from sae_research.pipeline.cells import Cell, plan_cells
from sae_research.pipeline.local_folders import changed_since_setup, places_of
from sae_research.pipeline.manifest import Manifest, read_manifest
from sae_research.pipeline.params import Params, load_params, shared_texts
from sae_research.pipeline.paths import Paths, find_paths
from sae_research.pipeline.store import ResultStore, is_or_was_ours, results_in
from sae_research.results.document import document_text, to_document
from sae_research.results.merge import STATUS_FILE
from sae_research.sources.hub import Hub

log = logging.getLogger(__name__)

_RESULT_SUFFIX = "_eval_results.json"


@dataclass(frozen=True)
class StageSummary:
    """What a stage did."""

    computed: int
    reused: int
    failures: Mapping[str, str]
    """Reason by SAE name."""


def eval_stage(eval_name: str) -> None:
    """Runs the stage of that eval in the current folder; if cells failed, raises once all others are done."""
    paths = find_paths()
    summary = run_eval_stage(eval_name, load_params(paths.params), paths)
    if summary.failures:
        reasons = "\n".join(f"  {sae}: {reason}" for sae, reason in summary.failures.items())
        raise UserError(
            f"{eval_name}: {len(summary.failures)} SAE(s) failed; the results of the others are kept and will not be "
            f"computed again:\n{reasons}"
        )


def run_eval_stage(eval_name: str, params: Params, paths: Paths) -> StageSummary:
    """Fills `eval_results/<eval_name>/` with exactly the results that `params` ask for.

    An SAE that fails leaves the others alone; the reason is in `_status.json` and in the summary.
    """
    started = time.monotonic()
    folder = paths.results / eval_name
    remove_leftovers(paths.store)
    if not params.is_enabled(eval_name):
        _publish(folder, eval_name, enabled=False, results={}, failures={}, cells=[], paths=paths)
        log.info("%s: disabled in params.yaml (eval_types.%s)", eval_name, eval_name)
        return StageSummary(computed=0, reused=0, failures={})
    evaluated = find_eval(eval_name)
    hub = Hub(paths.world, described=params.data_sets)
    manifest = read_manifest(paths.saes)
    _require_unchanged(params, paths, manifest)
    cells = plan_cells(params, manifest, evaluated, hub)
    shared = shared_texts(evaluated, params)
    if shared is not None:
        log.warning("%s", shared)
    store = ResultStore(paths.store / "cells")
    store.adopt(folder)
    results = {} if os.environ.get("SAE_NO_REUSE") else _stored(cells, store)
    missing = [cell for cell in cells if cell.key not in results]
    log.info("%s: %d SAEs, %d cells to compute, %d reused", eval_name, len(cells), len(missing), len(results))
    reused = len(cells) - len(missing)
    failures, tokens = _compute(missing, evaluated, params, manifest, paths) if missing else ({}, 0)
    results |= _stored([cell for cell in missing if cell.sae_name not in failures], store)
    _publish(folder, eval_name, enabled=True, results=results, failures=failures, cells=cells, paths=paths)
    computed = len(missing) - len(failures)
    seconds = time.monotonic() - started
    log.info(
        "%s: %s: %d cells computed, %d reused, %d failed, %.1f s, %.0f tokens/s",
        eval_name, folder, computed, reused, len(failures), seconds, tokens / seconds,
    )  # fmt: skip
    return StageSummary(computed=computed, reused=reused, failures=failures)


def _require_unchanged(params: Params, paths: Paths, manifest: Manifest) -> None:
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


def _stored(cells: Sequence[Cell], store: ResultStore) -> dict[str, Result]:
    """The results, by key, of those cells that are in the store."""
    results = {cell.key: store.get(cell.key) for cell in cells}
    return {key: result for key, result in results.items() if result is not None}


def _compute(
    missing: Sequence[Cell], evaluated: Eval, params: Params, manifest: Manifest, paths: Paths
) -> tuple[Mapping[str, str], int]:
    """Computes and stores the cells; returns why each that failed did, by SAE name, and the tokens that were read."""
    # These import torch: only a stage with something to compute pays for it.
    from sae_research.lm.cache import ActivationCache
    from sae_research.pipeline.execute import Job, execute_cells
    from sae_research.reference.registry import require_installed

    if params.engine == "sae_bench":
        require_installed()
    caching = params.activation_caching
    cache = ActivationCache(paths.store / "activations", max_bytes=int(caching.max_gigabytes * 2**30))
    job = Job(
        evaluated=evaluated,
        engine=params.engine,
        settings=params.settings_of(evaluated),
        model=params.model,
        revision=manifest.model["revision"],
        seed=params.random_seed,
        hub=Hub(paths.world, described=params.data_sets),
        saes_folder=paths.saes,
        store=ResultStore(paths.store / "cells"),
        cache=cache if caching.save_activations else None,
        model_results=paths.store / "model_results",
        judges=_judges(evaluated.name, params, paths),
    )
    executed = execute_cells(missing, job)
    if job.judges.ledger.requests:
        log.info("%s: its judge was sent %s", evaluated.name, job.judges.ledger.summary())
    return executed


def _judges(eval_name: str, params: Params, paths: Paths) -> JudgeAccess:
    """How judges are reached, with the answers that came with pulled results."""
    access = JudgeAccess(params.judging, paths.store / "answers")
    adopted = sum(access.store.adopt(r.output.judge.get("answers", {})) for r in results_in(paths.results / eval_name))
    if adopted:
        log.info("%s: %d answers of a judge taken from %s", eval_name, adopted, paths.results / eval_name)
    return access


def _publish(
    folder: Path,
    eval_name: str,
    *,
    enabled: bool,
    results: Mapping[str, Result],
    failures: Mapping[str, str],
    cells: Sequence[Cell],
    paths: Paths,
) -> None:
    """Makes `folder` hold the results of `cells` and a status file; of other files, results of ours go."""
    require_own_folder(folder)
    scratch = paths.store / "scratch"
    entries: list[dict[str, Any]] = []
    for cell in cells:
        if cell.key in results:
            name = f"{cell.sae_name}{_RESULT_SUFFIX}"
            # The SAE as the manifest now describes it: a renamed SAE keeps its cells.
            document = to_document(dataclasses.replace(results[cell.key], sae=cell.sae))
            write_atomically(folder / name, document_text(document), scratch=scratch)
            entries.append({"sae": cell.sae_name, "file": name, "state": "done", "reason": None})
        else:
            reason = failures[cell.sae_name]
            entries.append({"sae": cell.sae_name, "file": None, "state": "failed", "reason": reason})
    status = {"eval": eval_name, "enabled": enabled, "cells": entries}
    write_atomically(folder / STATUS_FILE, json.dumps(status, indent=2, sort_keys=True) + "\n", scratch=scratch)
    wanted = {STATUS_FILE, *(entry["file"] for entry in entries if entry["file"])}
    # Whatever the stage has ever written, a killed run's files included, carries the block of ours, whole or damaged.
    written = {path.name for path in folder.glob(f"*{_RESULT_SUFFIX}") if is_or_was_ours(path)}
    remove_stale(folder, written=written, wanted=wanted)
