"""The SAEs of a run: the baseline, its variants and the comparison SAEs, kept in one folder with a manifest."""

from __future__ import annotations

import filecmp
import json
import logging
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from torch import Tensor

from sae_research.errors import UserError
from sae_research.files import (
    explained_disk_errors,
    remove_stale,
    replace_folder,
    require_own_folder,
    temporary_folder,
    write_atomically,
)
from sae_research.foreign import shown
from sae_research.formats.aliases import published_sae
from sae_research.formats.checkpoints import matching_checkpoints
from sae_research.formats.fetching import check_published, fetch_checkpoint
from sae_research.formats.pretrained import read_pretrained
from sae_research.formats.readers.saelens import write_folder
from sae_research.formats.registry import path_name_of, read_sae, read_saes, short_name_of
from sae_research.lm.load import ModelShape
from sae_research.pipeline.manifest import MANIFEST_FILE, manifest_text
from sae_research.pipeline.names import slug
from sae_research.pipeline.sections import FILES_KEY, BaselineSae, ComparisonSae, stated
from sae_research.saes.base import Sae, SaeCard
from sae_research.saes.build import build_sae, rename, unit_atoms
from sae_research.saes.registry import sae_class
from sae_research.sources.hub import Hub

log = logging.getLogger(__name__)

_WRITTEN_FILE = ".written.json"
"""Lists the SAE folders that are ours while there is no manifest to say so."""
# Keeps `<name>_eval_results.json` below the 255 bytes that file systems allow.
_LONGEST_NAME = 120


def fetch_baseline(hub: Hub, entry: BaselineSae, trained: Iterable[Sae] = (), *, model_name: str) -> Sae:
    """The SAE that variants are derived from, in any format; it must be of layer `entry.hook_layer`.

    `trained` holds the SAE of an entry that has it trained.
    """
    if entry.repo_id is not None and entry.filename is not None:
        path, name, source = _fetch(hub, entry.repo_id, entry.filename, entry.revision, stated(entry))
        sae = _named_by_label(read_sae(path, name=name, source=source), None)
    else:
        sae = next(iter(trained))
    card = sae.card
    if card.site.layer != entry.hook_layer:
        raise UserError(
            f"baseline_sae: hook_layer is {entry.hook_layer}, but {entry.shown} was trained on layer "
            f"{card.site.layer}; correct hook_layer, or name another SAE"
        )
    if _last_part(card.model_name) != _last_part(model_name):
        log.warning("SAE %s was trained on %s but will be evaluated on %s", card.name, card.model_name, model_name)
    return sae


def fetch_comparison(hub: Hub, entry: ComparisonSae, trained: Iterable[Sae] = ()) -> Iterator[Sae]:
    """The SAEs that one entry of `comparison_saes` names, one after the other; the first that fails is an error.

    `trained` are those of an entry that has SAEs trained.
    """
    for sae in _fetch_entry(hub, entry, trained):
        sae.card = replace(sae.card, control=entry.control)
        yield sae


def _fetch_entry(hub: Hub, entry: ComparisonSae, trained: Iterable[Sae]) -> Iterator[Sae]:
    if entry.alias is not None:
        published = published_sae(entry.alias)
        check_published(hub, published, revision=entry.revision)
        yield from _fetch_saes(hub, entry, published.filename, entry.revision, name=entry.alias)
    elif entry.repo_id is not None and entry.filename is not None:
        yield from _fetch_saes(hub, entry, entry.filename, entry.revision)
    elif entry.repo_id is not None and entry.files is not None:
        listing = hub.names(entry.repo_id, revision=entry.revision)
        revision = listing.revision or entry.revision
        for filename in matching_checkpoints(listing.names, entry.files, repo_id=entry.repo_id, key=FILES_KEY):
            yield from _fetch_saes(hub, entry, filename, revision, name=path_name_of(filename))
    else:
        if entry.release is not None and entry.sae_id is not None:
            trained = read_pretrained(entry.release, entry.sae_id)
        for sae in trained:
            yield _named_by_label(sae, entry.label) if entry.label else sae


def _fetch_saes(
    hub: Hub, entry: ComparisonSae, filename: str, revision: str | None, *, name: str | None = None
) -> Iterator[Sae]:
    """The SAEs in one checkpoint of the entry's repository."""
    repo_id = entry.written_out.repo_id
    assert repo_id is not None
    path, sae_name, source = _fetch(hub, repo_id, filename, revision, stated(entry), name=name)
    for sae in read_saes(path, name=sae_name, source=source):
        # A short name says what the SAE is.
        yield sae if entry.alias and not entry.label else _named_by_label(sae, entry.label)


class Fetched(NamedTuple):
    """A checkpoint on this machine."""

    path: Path
    name: str
    """What its SAE is called, architecture or label aside."""
    source: Mapping[str, Any]


def _fetch(
    hub: Hub, repo_id: str, filename: str, revision: str | None, statements: Mapping[str, str | int], *,
    name: str | None = None,
) -> Fetched:  # fmt: skip
    snapshot = fetch_checkpoint(hub, repo_id, filename, revision=revision)
    sae_name = slug(name or short_name_of(filename) or _last_part(repo_id))
    source = {"repo_id": repo_id, "filename": filename, "revision": snapshot.revision, **statements}
    return Fetched(snapshot.path, sae_name, source)


def _named_by_label(sae: Sae, label: str | None) -> Sae:
    """`sae` itself with this label; its name now starts with the label, or without one with its architecture."""
    sae.card = replace(sae.card, label=label or "")
    start, name = label or sae.card.architecture, sae.card.name
    return sae if name.startswith(start) else rename(sae, f"{start}_{name}")


def _last_part(name: str) -> str:
    return name.rstrip("/").rsplit("/", 1)[-1]


def derive_variants(baseline: Sae, grids: Mapping[str, Mapping[str, Any]]) -> Iterator[Sae]:
    """SAEs that encode with the baseline's atoms, scaled to norm 1: by architecture, every combination of options."""
    card = baseline.card
    for architecture, options in variant_encoders(grids):
        name = variant_name(card, architecture, options)
        source = {**card.source, "baseline": card.name, "baseline_digest": card.digest}
        named = replace(card, name=name, label="", source=source)
        yield encode_with(named, architecture, options, unit_atoms(baseline.W_dec), baseline.b_dec)


def variant_encoders(grids: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each architecture that needs a dictionary alone, with every combination of its options."""
    for architecture, options in grids.items():
        sae_type, place = sae_class(architecture), f"sae_variants.{architecture}"
        if set(sae_type.shapes) != {"W_dec", "b_dec"}:
            raise UserError(
                f"{place}: {architecture} has trained tensors of its own ({', '.join(sae_type.shapes)}), and a variant "
                "gets the baseline's dictionary alone; name such an SAE in comparison_saes"
            )
        for combination in combinations(options, sae_type.settings_type, place):
            yield architecture, combination


def encode_with(card: SaeCard, architecture: str, options: Mapping[str, Any], atoms: Tensor, b_dec: Tensor) -> Sae:
    """The SAE of that architecture on these unit atoms, otherwise as `card` says."""
    card = replace(card, architecture=architecture, hyperparameters=dict(options), d_sae=len(atoms))
    try:
        return build_sae(card, {"W_dec": atoms, "b_dec": b_dec})
    except UserError as error:
        raise UserError(f"sae_variants.{architecture}: {error}") from error


def variant_name(baseline: SaeCard, architecture: str, options: Mapping[str, Any]) -> str:
    """What the variant is called: `relu_trainer_0_ihtp_k5`."""
    return "_".join([baseline.name, architecture, *shown_options(options)])


def shown_options(options: Mapping[str, Any]) -> list[str]:
    """The options as parts of a name: `k5`, `nonneg`."""
    return [f"{key}{'' if value is True else value}" for key, value in options.items() if value is not False]


def combinations(options: Mapping[str, Any], settings: type, place: str) -> Iterator[dict[str, Any]]:
    """Each combination of values: `<setting>: value` is fixed, `<setting>_values` a list; the first varies fastest."""
    names = [f.name for f in fields(settings)]
    valid = {**{name: name for name in names}, **{f"{name}_values": name for name in names}}
    values: dict[str, list[Any]] = {}
    for key, value in options.items():
        if key not in valid:
            raise UserError(f"{place}: unknown key {shown(key)}; valid: {', '.join(['enabled', *valid])}")
        if valid[key] in values:
            raise UserError(f"{place}: {valid[key]} and {valid[key]}_values are both given; remove one")
        if key not in names and not (isinstance(value, list | tuple) and len(set(map(str, value))) == len(value)):
            raise UserError(f"{place}.{key}: got {shown(value)}, expected a list without repetition")
        values[valid[key]] = [value] if key in names else list(value)
    for combination in product(*reversed(values.values())):
        yield dict(zip(values, reversed(combination), strict=True))


def check_baseline(card: SaeCard, model: ModelShape) -> None:
    """Refuse a baseline whose site the language model does not have, or has with another width."""
    missing = _missing_layer(card, model.n_layers)
    if missing is not None:
        raise UserError(f"{missing}; name a baseline of this model in baseline_sae")
    _check_width(card, model)


def check_comparison(card: SaeCard, model: ModelShape) -> None:
    """Refuse an SAE of another width; warn of a layer that is missing, which fails in the evals of this SAE alone."""
    missing = _missing_layer(card, model.n_layers)
    if missing is None or card.site.kind != "attn_z":  # A layer that is missing has no heads to count.
        _check_width(card, model)
    if missing is not None:
        log.warning("%s: its evals will fail, those of the other SAEs will not", missing)


def _check_width(card: SaeCard, model: ModelShape) -> None:
    """Refuse an SAE of activations that are wider or narrower than the language model's."""
    width = model.width(card.site)
    if card.d_in != width:
        raise UserError(
            f"SAE {card.name!r} has d_in = {card.d_in}, but the model's activations at {card.site.hook_name} have "
            f"{width} dimensions; name an SAE of this model (this one was trained on {card.model_name!r})"
        )


def _missing_layer(card: SaeCard, n_layers: int) -> str | None:
    if card.site.layer < n_layers:
        return None
    return f"SAE {card.name!r} is of layer {card.site.layer}, but the model has layers 0 to {n_layers - 1}"


def write_saes(
    saes: Iterable[Sae],
    folder: Path,
    *,
    model: Mapping[str, Any],
    local: Mapping[str, str] = MappingProxyType({}),
    scratch: Path | None = None,
    record_of: Callable[[SaeCard], Path | None] = lambda _: None,
) -> dict[str, Any]:
    """Makes `folder` hold exactly `saes`, a sub-folder each, and their manifest, which is returned.

    Nothing there changes before all SAEs are written to `scratch` (default: a hidden folder beside `folder`, on the
    same file system). An unchanged SAE's folder is left alone. Without a manifest the folder is unfinished. If `saes`
    is an iterator, only one SAE is in memory at a time. What `record_of` names for a card is copied beside the SAE.
    """
    workshop = scratch or folder.parent / f".{folder.name}.part"
    try:
        with explained_disk_errors(folder), temporary_folder(workshop) as draft:
            entries = _write_all(saes, draft, record_of)
            text = manifest_text(model, entries, local)
            _publish(draft, folder, [entry["name"] for entry in entries], text)
    finally:
        if scratch is None:
            shutil.rmtree(workshop, ignore_errors=True)
    return json.loads(text)


def _write_all(saes: Iterable[Sae], draft: Path, record_of: Callable[[SaeCard], Path | None]) -> list[dict[str, Any]]:
    """Writes every SAE under a name that no other has, its record beside it; returns their manifest entries."""
    taken: set[str] = set()
    names: dict[str, str] = {}
    entries = []
    first: dict[str, str] = {}
    for sae in saes:
        name = _free_name(sae.card, taken)
        names.setdefault(sae.card.name, name)
        named = rename(sae, name)
        taken.add(name.casefold())
        same = first.setdefault(named.card.digest, name)
        if same != name:
            log.warning("SAEs %s and %s are the same one, with equal numbers", same, name)
        write_folder(named, draft / name)
        record = record_of(sae.card)
        if record is not None:
            shutil.copyfile(record, draft / name / record.name)
        entry = named.describe()
        entries.append({**entry, "control_for": names.get(entry["control_for"], entry["control_for"])})
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
    require_own_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / MANIFEST_FILE
    changed = [name for name in names if not _same_files(draft / name, folder / name)]
    written = _written_before(folder)
    foreign = sorted(name for name in changed if (folder / name).exists() and name not in written)
    if foreign:
        raise UserError(
            f"{folder / foreign[0]} was not written by the setup stage, and an SAE of this run has its name; move it "
            "out of the folder, or give the SAE a label"
        )
    if not changed and written == set(names) and manifest.read_text(encoding="utf-8") == text:
        remove_stale(folder, written=written, wanted={*names, MANIFEST_FILE})
        return
    # Until the new manifest is there this file says what is ours, also after a kill.
    write_atomically(folder / _WRITTEN_FILE, json.dumps(sorted(written | set(names))) + "\n", scratch=draft)
    manifest.unlink(missing_ok=True)
    for name in changed:
        replace_folder(draft / name, folder / name)
    remove_stale(folder, written=written, wanted={*names, MANIFEST_FILE, _WRITTEN_FILE})
    write_atomically(manifest, text, scratch=draft)
    (folder / _WRITTEN_FILE).unlink()


def _written_before(folder: Path) -> set[str]:
    """The names of the SAE folders that earlier runs of this stage have written, finished or not."""
    names: set[str] = set()
    with suppress(OSError, ValueError, TypeError, KeyError):
        names |= {entry["name"] for entry in json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))["saes"]}
    with suppress(OSError, ValueError, TypeError):
        names |= set(json.loads((folder / _WRITTEN_FILE).read_text(encoding="utf-8")))
    return {name for name in names if isinstance(name, str) and name == Path(name).name}


def _same_files(a: Path, b: Path) -> bool:
    """Whether two folders hold the same files with the same bytes."""
    if not b.is_dir():
        return False
    names = sorted(path.name for path in a.iterdir())
    if names != sorted(path.name for path in b.iterdir()):
        return False
    return filecmp.cmpfiles(a, b, names, shallow=False)[0] == names
