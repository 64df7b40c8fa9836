"""The plan in words: every cell with its key, and why a missing one is missing."""

from __future__ import annotations

from collections.abc import Sequence

from sae_research.evals.registry import find_eval
from sae_research.judges.estimates import Most, most
from sae_research.judges.store import AnswerStore
from sae_research.pipeline.cells import Cell, differences, plan_cells
from sae_research.pipeline.judge_budget import is_remote
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
    to_judge: dict[str, int] = {}
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
            if not is_cached and find_eval(name).asks(params.settings_of(find_eval(name))):
                to_judge[name] = to_judge.get(name, 0) + 1
            why = f"changed: {', '.join(outdated)}" if outdated else ""
            state = "cached" if is_cached else f"missing: {why or why_missing(cell, past)}"
            lines.append(f"{name:<16} {cell.sae_name:<40} {cell.key[:_KEY_SHOWN]} {state}")
    lines.append(f"{cached} cached, {missing} to compute")
    n_stored = AnswerStore(paths.store / "answers").count()
    for name, n_saes in to_judge.items():
        settings = params.settings_of(find_eval(name))
        asked = find_eval(name).asks(settings)
        lines.append(what_a_judge_is_asked(name, settings.judge, most(asked, n_saes, params.judging), params, n_stored))
    return "\n".join(lines) + "\n"


def what_a_judge_is_asked(name: str, judge: str, most_asked: Most, params: Params, n_stored: int) -> str:
    """What the missing cells of an eval can cost, and where texts go: `sensitivity asks openai:m at ...`."""
    judging = params.judging
    goes_out = is_remote(judge)
    where = f"at {judging.base_url or 'no server (judging.base_url is null)'}" if goes_out else "on this machine"
    said = [f"at most {most_asked.requests:,} requests, {most_asked.tokens:,} tokens"]
    if goes_out and judging.has_prices:
        said.append(f"{most_asked.dollars:.2f} dollars")
    elif goes_out:
        said.append("no prices set (judging.dollars_per_million_...)")
    limits = {"judging.max_dollars": judging.max_dollars, "judging.max_requests": judging.max_requests}
    said += [f"{key} {value:g}" for key, value in limits.items() if goes_out and value is not None]
    if goes_out:
        said.append(f"each once more where an answer cannot be read; {n_stored:,} answers of judges are stored")
    return f"{name} asks {judge} {where}: {', '.join(said)}"


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
