"""The SAEs that params.yaml names, from wherever they lie, and whether they fit the model."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from sae_research.errors import UserError
from sae_research.formats.aliases import published_sae
from sae_research.formats.checkpoints import matching_checkpoints
from sae_research.formats.fetching import check_published, fetch_checkpoint
from sae_research.formats.pretrained import read_pretrained
from sae_research.formats.registry import path_name_of, read_sae, read_saes, short_name_of
from sae_research.lm.load import ModelShape
from sae_research.pipeline.names import slug
from sae_research.pipeline.sections import FILES_KEY, BaselineSae, ComparisonSae, stated
from sae_research.saes.base import Sae, SaeCard
from sae_research.saes.build import rename
from sae_research.sources.hub import Hub

log = logging.getLogger(__name__)


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
