"""What lies in local folders outside the world: DVC does not look there, so a stage that always runs does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from sae_research.evals.registry import find_eval
from sae_research.pipeline.manifest import Manifest
from sae_research.pipeline.params import Params
from sae_research.pipeline.paths import Paths
from sae_research.plugins import plugin_root
from sae_research.sources.folders import exists, names_in, revision_of
from sae_research.sources.hub import Hub, is_model_file
from sae_research.sources.remembered import RememberedDigests

_SOURCE_CODE = (".py", ".cpp")


def local_revisions(params: Params, paths: Paths) -> dict[str, str | None]:
    """The revision of everything that `params` and SAE_PLUGINS name; None for what is in no local folder, or gone.

    Needs no torch, unless an SAE is one file: its format then says which files belong to it.
    """
    hub = Hub(paths.world)
    digests = RememberedDigests(paths.store / "digests.json")

    def revision(root: Path | None, names: Callable[[Path], Iterable[str]]) -> str | None:
        files = sorted(names(root)) if root is not None else []
        return revision_of(root, files, digest=digests.of) if root is not None and files else None

    revisions = {model_place(params.model.name): revision(hub.local_folder(params.model.name), _model_files)}
    for repo_id, filename in _checkpoints(params):
        names = partial(_checkpoint_files, filename=filename)
        revisions[sae_place(repo_id, filename)] = revision(hub.local_folder(repo_id), names)
    for name, repository in _data_sets(params):
        revisions[data_place(name)] = revision(hub.local_folder(repository), names_in)
    revisions["plug-ins"] = revision(plugin_root(), _code_files)
    digests.save()
    return revisions


def present(revisions: Mapping[str, str | None]) -> dict[str, str]:
    """Those of what is in a local folder."""
    return {place: revision for place, revision in revisions.items() if revision is not None}


def model_place(name: str) -> str:
    """What `local_revisions` calls the model."""
    return f"model {name}"


def sae_place(repo_id: str, filename: str) -> str:
    """What `local_revisions` calls an SAE's checkpoint."""
    return f"SAE {repo_id} {filename}"


def data_place(name: str) -> str:
    """What `local_revisions` calls a data set."""
    return f"data set {name}"


def changed_since_setup(params: Params, paths: Paths, manifest: Manifest) -> frozenset[str]:
    """The places whose content is not what the setup stage read."""
    current = present(local_revisions(params, paths))
    return frozenset(place for place, read in manifest.local.items() if current.get(place, read) != read)


def places_of(entry: Mapping[str, Any], params: Params, manifest: Manifest) -> list[str]:
    """The places that the numbers of an SAE of the manifest rest on, data sets of its evals aside."""
    places = [model_place(manifest.model["name"])]
    match entry["source"]:
        case {"repo_id": str(repo_id), "filename": str(filename)}:
            places.append(sae_place(repo_id, filename))
        case {"dataset": str(dataset)}:
            places.append(data_place(dataset))
    if entry["atoms"] is not None:
        places += [sae_place(repo_id, filename) for repo_id, filename in _checkpoints(params)[:1]]
    return places


def _checkpoints(params: Params) -> list[tuple[str, str]]:
    """Repository and filename of every SAE that is named by them."""
    entries = [params.baseline_sae, *params.comparison_saes]
    return [(e.repo_id, e.filename) for e in entries if e.repo_id is not None and e.filename is not None]


def _model_files(root: Path) -> Iterable[str]:
    return filter(is_model_file, names_in(root, recursive=False))


def _code_files(root: Path) -> Iterable[str]:
    return (name for name in names_in(root) if name.endswith(_SOURCE_CODE))


def _checkpoint_files(root: Path, filename: str) -> list[str]:
    """The files that an SAE is read from, relative to `root`; none where there is no such checkpoint."""
    path = root / filename
    if not exists(path):
        return []
    if path.is_dir():
        return [(path / name).relative_to(root).as_posix() for name in names_in(path)]
    from sae_research.formats.registry import companions_of

    return [name for name in (filename, *companions_of(filename)) if (root / name).is_file()]


def _data_sets(params: Params) -> list[tuple[str, str]]:
    """Name and repository of what the enabled evals, the controls and trainings read."""
    read = [
        (data_set.name, data_set.repository or data_set.name)
        for evaluated in map(find_eval, params.enabled_evals)
        for data_set in evaluated.data(params.settings_of(evaluated))
    ]
    entries = [params.baseline_sae, *params.comparison_saes]
    trained_on = [settings.dataset for entry in entries for settings in entry.trainings]
    others = [*trained_on, *([params.controls.dataset] if params.controls is not None else [])]
    return [*read, *((name, name) for name in others)]
