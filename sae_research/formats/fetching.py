"""Fetches checkpoints with the files that belong to them, by repository and file or by a published SAE's short name."""

from __future__ import annotations

from sae_research.errors import UserError
from sae_research.formats.aliases import PublishedSae, published_sae, require_published
from sae_research.formats.registry import companions_of, read_sae
from sae_research.saes.base import Sae
from sae_research.sources.hub import Hub, Snapshot


def fetch_checkpoint(hub: Hub, repo_id: str, filename: str, *, revision: str | None = None) -> Snapshot:
    """The checkpoint on this machine, and beside it what its reader looks at."""
    snapshot = hub.file(repo_id, filename, revision=revision)
    if snapshot.path.is_file():  # A folder, whatever its name ends with, is complete.
        hub.fetch_present(repo_id, companions_of(filename), revision=snapshot.revision)
    return snapshot


def check_published(hub: Hub, sae: PublishedSae, *, revision: str | None = None) -> None:
    """UserError with the nearest ones where the repository has no such SAE."""
    require_published(sae, hub.names(sae.repo_id, revision=revision).names)


def fetch_published(hub: Hub, alias: str, *, name: str | None = None) -> Sae:
    """The SAE behind a short name, called `name` or else `alias`."""
    try:
        published = published_sae(alias)
    except ValueError as error:
        raise UserError(str(error)) from error
    check_published(hub, published)
    snapshot = fetch_checkpoint(hub, published.repo_id, published.filename)
    source = {"repo_id": published.repo_id, "filename": published.filename, "revision": snapshot.revision}
    return read_sae(snapshot.path, name=name or alias, source=source)
