"""The SAEs of a run: fetch a baseline, derive its variants, fetch others to compare with, keep all in one folder."""

from __future__ import annotations

import filecmp
import json
import logging
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from sae_research.errors import UserError
from sae_research.files import explained_disk_errors, replace_folder, temporary_folder, write_atomically
from sae_research.formats.pretrained import read_pretrained
from sae_research.formats.readers.saelens import write_folder
from sae_research.formats.registry import companions_of, read_sae
from sae_research.pipeline.manifest import MANIFEST_FILE, manifest_text
from sae_research.saes.base import Sae, SaeCard
from sae_research.saes.build import build_sae, rename, unit_atoms
from sae_research.saes.registry import sae_class
from sae_research.sources.hub import Hub

log = logging.getLogger(__name__)

# Keeps `<name>_eval_results.json` below the 255 bytes that file systems allow.
_LONGEST_NAME = 120


class ComparisonEntry(Protocol):
    """An entry of `comparison_saes`: one checkpoint, or all that two regular expressions name in SAELens' registry."""

    @property
    def repo_id(self) -> str | None: ...
    @property
    def filename(self) -> str | None: ...
    @property
    def revision(self) -> str | None: ...
    @property
    def release(self) -> str | None: ...
    @property
    def sae_id(self) -> str | None: ...
    @property
    def label(self) -> str | None: ...


def fetch_baseline(
    hub: Hub, repo_id: str, filename: str, *, hook_layer: int, revision: str | None, model_name: str
) -> Sae:
    """The SAE that variants are derived from, in whichever format `filename` is; it must be of layer `hook_layer`."""
    sae = _fetch(hub, repo_id, filename, revision)
    if sae.card.site.layer != hook_layer:
        raise UserError(
            f"baseline_sae: hook_layer is {hook_layer}, but {filename} of {repo_id!r} was trained on layer "
            f"{sae.card.site.layer}; correct hook_layer or filename"
        )
    if _last_part(sae.card.model_name) != _last_part(model_name):
        log.warning(
            "SAE %s was trained on model %s, and is to be put into %s", sae.card.name, sae.card.model_name, model_name
        )
    return sae


def derive_variants(baseline: Sae, wanted: Mapping[str, Mapping[str, Any]]) -> Iterator[Sae]:
    """Pursuit encoders on the baseline's dictionary, its atoms scaled to norm 1: a grid of options by architecture."""
    for architecture, options in wanted.items():
        sae_type = sae_class(architecture)
        place = f"sae_variants.{architecture}"
        if set(sae_type.shapes) != {"W_dec", "b_dec"}:
            raise UserError(f"{place}: {architecture} has tensors of its own; a variant needs the dictionary alone")
        for chosen in combinations(options, sae_type.settings_type, place):
            try:
                yield _variant(baseline, architecture, chosen)
            except UserError as error:
                raise UserError(f"{place}: {error}") from error


def combinations(options: Mapping[str, Any], settings: type, place: str) -> Iterator[dict[str, Any]]:
    """Each combination of the `<setting>_values`, with the fixed `<setting>`s; the first varies fastest."""
    names = [f.name for f in fields(settings)]
    axes: dict[str, list[Any]] = {}
    for key, value in options.items():
        name = key.removesuffix("_values")
        if name not in names:
            valid = ", ".join(["enabled", *names, *(f"{name}_values" for name in names)])
            raise UserError(f"{place}: unknown key {key!r}; valid: {valid}")
        values = value if key != name else [value]
        if not isinstance(values, list | tuple) or len(set(map(str, values))) != len(values):
            raise UserError(f"{place}.{key}: got {value!r}, expected a list without repetition")
        axes[name] = list(values)
    for values in product(*reversed(axes.values())):
        yield dict(zip(axes, reversed(values), strict=True))


def fetch_comparison(hub: Hub, entry: ComparisonEntry) -> Iterator[Sae]:
    """The SAEs that one entry of `comparison_saes` names, one after the other; each that fails is an error."""
    if entry.repo_id is not None and entry.filename is not None:
        yield _fetch(hub, entry.repo_id, entry.filename, entry.revision, label=entry.label)
    elif entry.release is not None and entry.sae_id is not None:
        for sae in read_pretrained(entry.release, entry.sae_id):
            yield _called(sae, entry.label) if entry.label else sae
    else:
        raise UserError("comparison_saes: give either repo_id and filename, or release and sae_id")


def check_fits(card: SaeCard, *, width: int, n_layers: int) -> None:
    """Refuse an SAE whose site the language model does not have, or has with another width."""
    if card.site.layer >= n_layers:
        raise UserError(f"{_beyond(card, n_layers)}; is it of another model?")
    check_width(card, width)


def check_width(card: SaeCard, width: int) -> None:
    """Refuse an SAE of activations that are wider or narrower than the language model's."""
    if card.d_in != width:
        raise UserError(
            f"SAE {card.name!r} has d_in = {card.d_in}, but the model's activations at {card.site.hook_name} have "
            f"{width} dimensions; it is of another model (it says {card.model_name!r})"
        )


def warn_beyond(card: SaeCard, n_layers: int) -> None:
    """Says which SAE will fail in every eval because the language model has no such layer: the others go on."""
    if card.site.layer >= n_layers:
        log.warning("%s: its evals will fail, those of the other SAEs go on", _beyond(card, n_layers))


def _beyond(card: SaeCard, n_layers: int) -> str:
    return f"SAE {card.name!r} is of layer {card.site.layer}, but the model has layers 0 to {n_layers - 1}"


def write_saes(
    saes: Iterable[Sae], folder: Path, *, model: Mapping[str, Any], scratch: Path | None = None
) -> dict[str, Any]:
    """Makes `folder` hold exactly `saes`, a sub-folder each, and their manifest, which is returned.

    Nothing there changes before all SAEs are written to `scratch` (default: a hidden folder beside `folder`, on the
    same file system). An unchanged SAE's folder is left alone. Without a manifest the folder is unfinished.
    `saes` may be an iterator: each is let go once it is written.
    """
    workshop = scratch or folder.parent / f".{folder.name}.part"
    try:
        with explained_disk_errors(folder), temporary_folder(workshop) as draft:
            entries = _write_all(saes, draft)
            text = manifest_text(model, entries)
            _publish(draft, folder, [entry["name"] for entry in entries], text)
    finally:
        if scratch is None:
            shutil.rmtree(workshop, ignore_errors=True)
    return json.loads(text)


def _fetch(hub: Hub, repo_id: str, filename: str, revision: str | None, *, label: str | None = None) -> Sae:
    snapshot = hub.file(repo_id, filename, revision=revision)
    for other in companions_of(filename):
        hub.file(repo_id, other, revision=revision)
    name = _short_name(repo_id, filename)
    source = {"repo_id": repo_id, "filename": filename, "revision": snapshot.revision}
    return _called(read_sae(snapshot.path, name=name, source=source), label)


def _called(sae: Sae, label: str | None) -> Sae:
    """`sae` itself under `label`, by default its architecture, with which its name then starts."""
    sae.card = replace(sae.card, label=label or "")
    start, name = label or sae.card.architecture, sae.card.name
    return sae if name.startswith(start) else rename(sae, f"{start}_{name}")


def _variant(baseline: Sae, architecture: str, options: Mapping[str, Any]) -> Sae:
    card = baseline.card
    shown = {key: value for key, value in options.items() if value is not False}
    suffix = "_".join(key if value is True else f"{key}{value}" for key, value in shown.items())
    variant = replace(
        card,
        name=f"{card.name}_{architecture}_{suffix}",
        architecture=architecture,
        hyperparameters=dict(options),
        label="",
        source={**card.source, "baseline": card.name, "baseline_digest": card.digest},
    )
    return build_sae(variant, {"W_dec": unit_atoms(baseline.W_dec), "b_dec": baseline.b_dec})


def _short_name(repo_id: str, filename: str) -> str:
    """What tells a checkpoint from its neighbours: the folder of `ae.pt`, the last folder of a path, the repository."""
    path = PurePosixPath(filename)
    parts = [part for part in path.parts if part not in {".", "checkpoints"}]
    shown = parts[-1:]
    if path.suffix == ".pt":
        shown = parts[-2:-1] if path.name == "ae.pt" else [*parts[-2:-1], path.stem]
    return slug("_".join(shown) or _last_part(repo_id))


def slug(text: str) -> str:
    """`text` as a file name: letters, digits, dots, dashes and underscores."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("._") or "sae"


def _last_part(name: str) -> str:
    return name.rstrip("/").rsplit("/", 1)[-1]


def _write_all(saes: Iterable[Sae], draft: Path) -> list[dict[str, Any]]:
    """Writes every SAE under a name of its own; their manifest entries."""
    taken: set[str] = set()
    entries = []
    for sae in saes:
        named = rename(sae, _free_name(sae.card, taken))
        taken.add(named.card.name.casefold())
        write_folder(named, draft / named.card.name)
        entries.append(named.describe())
    return entries


def _free_name(card: SaeCard, taken: set[str]) -> str:
    """The card's name; on a clash (letter case aside, as some file systems have it) with a digest prefix."""
    name = slug(card.name)
    if len(name) > _LONGEST_NAME or name == MANIFEST_FILE:
        name = f"{name[: _LONGEST_NAME - 9]}_{card.digest[:8]}"
    if name.casefold() not in taken:
        return name
    distinct = f"{name[: _LONGEST_NAME - 9]}_{card.digest[:8]}"
    candidates = [distinct, *(f"{distinct}_{number}" for number in range(2, len(taken) + 3))]
    return next(candidate for candidate in candidates if candidate.casefold() not in taken)


def _publish(draft: Path, folder: Path, names: Sequence[str], text: str) -> None:
    """Brings `folder` to what `draft` holds; the manifest goes first and comes back last."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / MANIFEST_FILE
    changed = [name for name in names if not _same_files(draft / name, folder / name)]
    extra = [path for path in folder.iterdir() if path.name not in {*names, MANIFEST_FILE}]
    if not changed and not extra and manifest.is_file() and manifest.read_text(encoding="utf-8") == text:
        return
    manifest.unlink(missing_ok=True)
    for name in changed:
        replace_folder(draft / name, folder / name)
    for path in extra:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    write_atomically(manifest, text, scratch=draft)


def _same_files(a: Path, b: Path) -> bool:
    """Whether two folders hold the same files with the same bytes."""
    if not b.is_dir():
        return False
    names = sorted(path.name for path in a.iterdir())
    if names != sorted(path.name for path in b.iterdir()):
        return False
    return filecmp.cmpfiles(a, b, names, shallow=False)[0] == names
