"""The setup stage: the embedded world if the model is part of it, then every SAE in one folder with a manifest."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from sae_research.files import folder_in_the_making, remove_leftovers
from sae_research.lm.load import model_shape
from sae_research.pipeline.controls import ControlInputs, control_saes
from sae_research.pipeline.fetched_saes import check_baseline, check_comparison, fetch_baseline, fetch_comparison
from sae_research.pipeline.local_folders import local_revisions, present
from sae_research.pipeline.params import Params, load_params
from sae_research.pipeline.paths import Paths, find_paths
from sae_research.pipeline.saes_folder import write_saes
from sae_research.pipeline.trained import TrainedSaes
from sae_research.pipeline.variants import derive_variants
from sae_research.progress import Progress
from sae_research.saes.base import Sae
from sae_research.saes.build import at_site
from sae_research.sources.hub import WORLD_PREFIX, Hub, Snapshot
from sae_research.world.build import build_world, world_is_valid

log = logging.getLogger(__name__)

NO_WORLD = {"enabled": False, "reason": "model.name does not start with 'embedded/'"}


def setup_stage() -> None:
    """Runs the setup stage in the current folder."""
    paths = find_paths()
    run_setup(load_params(paths.params), paths)


def run_setup(params: Params, paths: Paths) -> None:
    """Fills `world/` and `downloaded_saes/` as `params` ask."""
    started = time.monotonic()
    log.info("setup: model %s, baseline %s", params.model.name, params.baseline_sae.shown)
    remove_leftovers(paths.store, paths.scratch)
    if needs_world(params):
        with Progress("setup") as progress:
            ensure_world(params, paths, progress)
    # Before anything is read, so that what changes meanwhile is noticed next time.
    local = present(local_revisions(params, paths).setup)
    hub = Hub(paths.world)
    model = hub.model(params.model.name, revision=params.model.revision)
    trained = TrainedSaes.of_run(params, hub, model, written=paths.saes, store=paths.store)
    manifest = write_saes(
        _saes_of_run(params, hub, model, trained, written=paths.saes),
        paths.saes,
        model={"name": params.model.name, "revision": model.revision},
        local=local,
        scratch=paths.scratch,
        record_of=trained.record_of,
    )
    if not needs_world(params):
        # Last, so that a misspelt model or an unreachable Hub does not remove the world.
        remove_world(paths)
    log.info("setup: %s: %d SAEs, %.1f s", paths.saes, len(manifest["saes"]), time.monotonic() - started)


def needs_world(params: Params) -> bool:
    """Whether the language model is the embedded one."""
    return params.model.name.startswith(WORLD_PREFIX)


def ensure_world(params: Params, paths: Paths, progress: Progress) -> None:
    """Makes `world/` hold the world of `params.world`: as it is, from the store, or built anew into the store."""
    if world_is_valid(paths.world, params.world):
        log.info("setup: the embedded world is up to date")
        return
    stored = paths.store / "worlds" / params.world.key
    if not world_is_valid(stored, params.world):
        log.info("setup: building the embedded world, seed %d (minutes)", params.world.seed)
        build_world(stored, params.world, progress)
    with folder_in_the_making(paths.world, scratch=paths.scratch) as draft:
        shutil.copytree(stored, draft, dirs_exist_ok=True)


def remove_world(paths: Paths) -> None:
    """Makes `world/` say that there is none."""
    text = json.dumps(NO_WORLD, indent=2, sort_keys=True) + "\n"
    with folder_in_the_making(paths.world, scratch=paths.scratch) as draft:
        (draft / "_status.json").write_text(text, encoding="utf-8")


def _saes_of_run(params: Params, hub: Hub, model: Snapshot, trained: TrainedSaes, *, written: Path) -> Iterator[Sae]:
    """The baseline, its variants, the comparison SAEs, and the controls."""
    shape = model_shape(model.path)
    trained.train([params.baseline_sae, *params.comparison_saes])
    baseline = fetch_baseline(
        hub, params.baseline_sae, trained.saes_of(params.baseline_sae), model_name=params.model.name
    )
    baseline = at_site(baseline, shape.canonical(baseline.card.site))
    check_baseline(baseline.card, shape)
    yield baseline
    yield from derive_variants(baseline, params.variants)
    for entry in params.comparison_saes:
        for sae in fetch_comparison(hub, entry, trained.saes_of(entry)):
            check_comparison(sae.card, shape)
            yield at_site(sae, shape.canonical(sae.card.site))
    if params.controls is not None:
        inputs = ControlInputs(baseline, params.controls, params.random_seed, hub, params.model, model)
        yield from control_saes(inputs, params.variants, written=written)
