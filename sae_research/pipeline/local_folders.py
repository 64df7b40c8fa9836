"""What lies in local folders outside the world and in installed packages: DVC does not look there, so a stage that
always runs does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sae_research.data.running import text_repository
from sae_research.errors import UserError
from sae_research.evals.base import DataSet
from sae_research.evals.registry import eval_names, find_eval
from sae_research.formats.checkpoints import matching_checkpoints
from sae_research.pipeline.manifest import Manifest
from sae_research.pipeline.params import Params
from sae_research.pipeline.paths import Paths
from sae_research.pipeline.sections import FILES_KEY
from sae_research.plugins import plugin_root
from sae_research.sources.folders import exists, names_in, revision_of
from sae_research.sources.hub import Hub, is_model_file
from sae_research.sources.model_names import only_gguf
from sae_research.sources.packages import is_package, package_files
from sae_research.sources.remembered import RememberedDigests

_SOURCE_CODE = (".py", ".cpp")


@dataclass(frozen=True)
class LocalRevisions:
    """The revision of everything that `params` and SAE_PLUGINS name; None for what is neither in a local folder nor in
    an installed package, or gone."""

    setup: Mapping[str, str | None]
    """Of what the setup stage reads, by place, and of plug-ins."""
    data: Mapping[str, Mapping[str, str | None]]
    """Of the data sets of each eval, by its name; a disabled one has none."""


def local_revisions(params: Params, paths: Paths) -> LocalRevisions:
    """The revisions as they are now.

    Needs no torch, unless an SAE is one file: its format then says which files belong to it.
    """
    hub = Hub(paths.world)
    digests = RememberedDigests(paths.store / "digests.json")

    def revision(root: Path | None, names: Callable[[Path], Iterable[str]]) -> str | None:
        if root is not None and root.is_file():
            return revision_of(root, digest=digests.of)
        files = sorted(names(root)) if root is not None else []
        return revision_of(root, files, digest=digests.of) if root is not None and files else None

    def revision_at(repo_id: str, names: Callable[[Path], Iterable[str]] = names_in) -> str | None:
        return _in_package(repo_id) if is_package(repo_id) else revision(hub.local_path(repo_id), names)

    setup = {model_place(params.model.name): revision_at(params.model.name, _model_files)}
    for repo_id, filename in _checkpoints(params, hub):
        inside = f"{repo_id.rstrip('/')}/{filename}" if is_package(repo_id) else repo_id
        setup[sae_place(repo_id, filename)] = revision_at(inside, partial(_checkpoint_files, filename=filename))
    for text in _texts_of_setup(params):
        setup[data_place(text)] = revision_at(text_repository(text))
    setup["plug-ins"] = revision(plugin_root(), _code_files)
    data = {
        name: {data_place(of.name): revision_at(params.repository_of(of)) for of in _data_sets(params, name)}
        for name in eval_names()
    }
    digests.save()
    return LocalRevisions(setup, data)


def _in_package(repo_id: str) -> str | None:
    try:
        package = package_files(repo_id)
    except UserError:  # What needs it says how to install it.
        return None
    return package.revision(package.recorded)


def present(revisions: Mapping[str, str | None]) -> dict[str, str]:
    """Those of what is in a local folder."""
    return {place: revision for place, revision in revisions.items() if revision is not None}


def model_place(name: str) -> str:
    """What `local_revisions` calls the model."""
    return f"model {name}"


def sae_place(repo_id: str, filename: str) -> str:
    """What `local_revisions` calls an SAE's checkpoint; with an empty name, all that `files` chose from a folder."""
    return f"SAE {repo_id} {filename}"


def is_at(place: str, missing: str) -> bool:
    """Whether `place` is gone with `missing`: the same place, or the folder that it was chosen from."""
    return place == missing or (missing.endswith(" ") and place.startswith(missing))


def data_place(name: str) -> str:
    """What `local_revisions` calls a data set."""
    return f"data set {name}"


def changed_since_setup(params: Params, paths: Paths, manifest: Manifest) -> frozenset[str]:
    """The places whose content is not what the setup stage read."""
    current = present(local_revisions(params, paths).setup)
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
        baseline = params.baseline_sae
        places += [data_place(settings.dataset) for settings in baseline.trainings]
        if baseline.repo_id is not None:
            places.append(sae_place(baseline.repo_id, baseline.filename or ""))
    return places


def _checkpoints(params: Params, hub: Hub) -> list[tuple[str, str]]:
    """Repository and filename of every SAE that they name; of a folder that is gone, `files` chooses `""` alone."""
    baseline = params.baseline_sae
    named = [] if baseline.repo_id is None else [(baseline.repo_id, baseline.filename or "")]
    for entry in (named.written_out for named in params.comparison_saes):
        repo_id, files = entry.repo_id, entry.files
        if repo_id is not None:
            names = _names_here(hub, repo_id) if files is not None else None
            chosen = [entry.filename or ""]
            if names is not None and files is not None:
                chosen = matching_checkpoints(names, files, repo_id=repo_id, key=FILES_KEY)
            named += [(repo_id, filename) for filename in chosen]
    return named


def _names_here(hub: Hub, repo_id: str) -> Iterable[str] | None:
    """The files of a local folder or an installed package; None where there is none."""
    if is_package(repo_id):
        try:
            return package_files(repo_id).recorded
        except UserError:  # What needs it says how to install it.
            return None
    folder = hub.local_folder(repo_id)
    return None if folder is None else names_in(folder)


def _texts_of_setup(params: Params) -> set[str]:
    """What controls are made from and SAEs are trained on."""
    entries = [params.baseline_sae, *params.comparison_saes]
    trained_on = {settings.dataset for entry in entries for settings in entry.trainings}
    return trained_on | ({params.controls.dataset} if params.controls is not None else set())


def _model_files(root: Path) -> Iterable[str]:
    names = names_in(root, recursive=False)
    gguf = only_gguf(str(root), names)
    return filter(is_model_file, names) if gguf is None else [gguf]


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


def _data_sets(params: Params, eval_name: str) -> Sequence[DataSet]:
    """What the eval reads; nothing if it is switched off."""
    if not params.is_enabled(eval_name):
        return []
    evaluated = find_eval(eval_name)
    return evaluated.data(params.settings_of(evaluated))
