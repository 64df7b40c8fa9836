"""The plan in words: every cell with its key, and why a missing one is missing."""

from __future__ import annotations

from collections.abc import Sequence

from sae_research.evals.registry import find_eval
from sae_research.pipeline.cells import Cell, differences, plan_cells
from sae_research.pipeline.local_folders import changed_since_setup, places_of
from sae_research.pipeline.manifest import read_manifest
from sae_research.pipeline.params import Params
from sae_research.pipeline.paths import Paths
from sae_research.pipeline.requests import requested_latents
from sae_research.pipeline.store import PastCell, ResultStore
from sae_research.sources.hub import Hub

_KEY_SHOWN = 12


def explain_plan(params: Params, paths: Paths) -> str:
    """A line for each cell of the enabled evals, then a line of totals."""
    manifest = read_manifest(paths.saes)
    store = ResultStore(paths.store / "cells")
    past = list(store.past_cells())
    hub = Hub(paths.world, described=params.data_sets)
    changed = changed_since_setup(params, paths, manifest)
    lines = [f"{'eval':<16} {'SAE':<40} {'key':<{_KEY_SHOWN}} state"]
    cached = missing = 0
    for name, is_on in params.eval_types.items():
        if not is_on:
            lines.append(f"{name:<16} disabled")
            continue
        evaluated = find_eval(name)
        requested = requested_latents(evaluated, paths)
        for cell in plan_cells(params, manifest, evaluated, hub, requested=requested):
            outdated = sorted(changed & set(places_of(cell.sae, params, manifest)))
            is_cached = not outdated and store.get(cell.key) is not None
            cached, missing = cached + is_cached, missing + (not is_cached)
            why = f"changed: {', '.join(outdated)}" if outdated else ""
            state = "cached" if is_cached else f"missing: {why or why_missing(cell, past)}"
            lines.append(f"{name:<16} {cell.sae_name:<40} {cell.key[:_KEY_SHOWN]} {state}")
    lines.append(f"{cached} cached, {missing} to compute")
    return "\n".join(lines) + "\n"


def why_missing(cell: Cell, past: Sequence[PastCell]) -> str:
    """What changed since the most similar stored cell of the same SAE, or that the SAE is new."""
    same_eval = [old for old in past if old.eval_name == cell.eval_name]
    same_sae = [old for old in same_eval if old.parts["sae"] == cell.parts["sae"]]
    same_name = [old for old in same_eval if old.sae_name == cell.sae_name]
    candidates = same_sae or same_name
    if not same_eval:
        return "never computed"
    if not candidates:
        return "new SAE"
    nearest = min((differences(old.parts, cell.parts) for old in candidates), key=len)
    return "; ".join(nearest) or "its result is damaged"
