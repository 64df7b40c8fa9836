"""One eval stage: plan its cells, compute those that are missing, publish all of them."""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sae_research.errors import UserError
from sae_research.files import remove_leftovers, remove_stale, require_own_folder, write_atomically
from sae_research.pipeline.dispatch import Dispatcher, Event, Finished, Totals, dispatch
from sae_research.pipeline.jobs import Job
from sae_research.pipeline.params import Params, load_params
from sae_research.pipeline.paths import Paths, find_paths
from sae_research.pipeline.planned import PlannedRun, plan_run
from sae_research.pipeline.pools.local import LocalPool
from sae_research.pipeline.store import is_or_was_ours
from sae_research.progress import Progress
from sae_research.results.document import write_result
from sae_research.results.merge import STATUS_FILE
from sae_research.results.table_files import RESULT_SUFFIX, table_path, tables_of_ours

log = logging.getLogger(__name__)


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
    require_own_folder(folder)
    remove_leftovers(paths.store, paths.scratch)
    if not params.is_enabled(eval_name):
        _write_folder(folder, {"eval": eval_name, "enabled": False, "cells": []}, results=set(), scratch=paths.scratch)
        log.info("%s: disabled in params.yaml (eval_types.%s)", eval_name, eval_name)
        return StageSummary(computed=0, reused=0, failures={})
    run = plan_run(params, paths, [eval_name])
    cells = run.cells[eval_name]
    run.store.adopt(folder)
    stored = run.stored(eval_name)
    n_stored = sum(cell.key in stored for cell in cells)
    log.info("%s: %d SAEs, %d cells to compute, %d reused", eval_name, len(cells), len(cells) - n_stored, n_stored)
    totals, tokens = _compute(run, run.left(run.jobs, stored))
    failures = _publish(run, eval_name, {cell.sae: reason for cell, reason in totals.failures.items()})
    summary = StageSummary(totals.computed, n_stored + totals.reused, failures)
    seconds = time.monotonic() - started
    log.info(
        "%s: %s: %d cells computed, %d reused, %d failed, %.1f s, %.0f tokens/s",
        eval_name, folder, summary.computed, summary.reused, len(failures), seconds, tokens / seconds,
    )  # fmt: skip
    return summary


def _compute(run: PlannedRun, jobs: Sequence[Job]) -> tuple[Totals, int]:
    """Does the jobs of one eval in this process; returns what became of their cells, and the tokens that were read."""
    if not jobs:
        return Totals(0, 0, {}), 0
    read: list[int] = []

    def watch(_state: Dispatcher, event: Event, _job: Job | None) -> None:
        read.append(event.report.tokens if isinstance(event, Finished) else 0)

    with Progress(jobs[0].eval_name) as progress:
        totals = dispatch(jobs, LocalPool(run, progress), missing=run.missing, watch=watch)
    if run.judges.ledger.requests:
        log.info("%s: its judge was sent %s", jobs[0].eval_name, run.judges.ledger.summary())
    return totals, sum(read)


def _publish(run: PlannedRun, eval_name: str, failures: Mapping[str, str]) -> Mapping[str, str]:
    """Makes the eval's folder hold the stored results, read and written one by one; returns why SAEs have none."""
    folder, scratch = run.paths.results / eval_name, run.paths.scratch
    reasons, written = dict(failures), set[str]()
    entries: list[dict[str, Any]] = []
    for cell in run.cells[eval_name]:
        result = None if cell.sae_name in failures else run.store.get(cell.key)
        if result is not None:
            name = f"{cell.sae_name}{RESULT_SUFFIX}"
            # The SAE as the manifest now describes it: a renamed SAE keeps its cells.
            write_result(folder / name, dataclasses.replace(result, sae=cell.sae), scratch=scratch)
            written |= {name, *(table_path(folder / name, table).name for table in result.output.tables)}
            entries.append({"sae": cell.sae_name, "file": name, "state": "done", "reason": None})
        else:
            reason = reasons.setdefault(cell.sae_name, f"{run.paths.store} has lost its result; run again")
            entries.append({"sae": cell.sae_name, "file": None, "state": "failed", "reason": reason})
    status = {"eval": eval_name, "enabled": True, "cells": entries}
    _write_folder(folder, status, results=written, scratch=scratch)
    return reasons


def _write_folder(folder: Path, status: Mapping[str, Any], *, results: set[str], scratch: Path) -> None:
    """Writes the status file; of the files beside it, those of ours go that are not among `results`."""
    write_atomically(folder / STATUS_FILE, json.dumps(status, indent=2, sort_keys=True) + "\n", scratch=scratch)
    # Whatever the stage has ever written, a killed run's files included, carries the block of ours, whole or damaged.
    written = {path.name for path in folder.glob(f"*{RESULT_SUFFIX}") if is_or_was_ours(path)}
    written |= {path.name for path in tables_of_ours(folder)}
    remove_stale(folder, written=written, wanted={STATUS_FILE, *results})
