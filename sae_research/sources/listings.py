"""Listings of the hub's repositories, remembered beside the hub's own cache for when it is out of reach."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass
from pathlib import Path

from sae_research.errors import UserError
from sae_research.files import write_atomically
from sae_research.sources.hub_errors import Kind

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listing:
    """The files of a repository at one commit."""

    commit: str
    names: tuple[str, ...]


def is_commit(text: str) -> bool:
    """Whether `text` is the full hash of a commit."""
    return re.fullmatch(r"[0-9a-f]{40}", text) is not None


def hub_cache() -> Path:
    """The folder where the hub's client stores repositories."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE).expanduser()


def notes_folder() -> Path:
    """Our notes about the hub's cache."""
    return hub_cache().parent / "sae_research_listings"


def repository_folder(repo_id: str, kind: Kind) -> str:
    """The name of a repository's folder in the hub's cache."""
    return "--".join([f"{kind}s", *repo_id.split("/")])


def write_note(file: Path, content: object) -> None:
    """Stores `content` as JSON; if that fails, a line in the log says so and later runs do without the note."""
    try:
        write_atomically(file, json.dumps(content))
    except (OSError, UserError) as error:
        log.warning("not remembered for later runs: %s", error)


def read_note(file: Path) -> object:
    """The content of the note `file`; None if it is absent or unreadable."""
    try:
        return json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def remember(listing: Listing, repo_id: str, kind: Kind, revision: str) -> None:
    """Stores a listing under the requested revision and under its commit."""
    for name in {revision, listing.commit}:
        write_note(_note(repo_id, kind, name), {"commit": listing.commit, "names": listing.names})


def remembered(repo_id: str, kind: Kind, revision: str) -> Listing | None:
    """The listing noted by an earlier run, or else what `hf download` left in the hub's own cache."""
    return _from_note(repo_id, kind, revision) or _from_hub_cache(repo_id, kind, revision)


def _note(repo_id: str, kind: Kind, revision: str) -> Path:
    return notes_folder() / f"{'--'.join([repository_folder(repo_id, kind), *revision.split('/')])}.json"


def _from_note(repo_id: str, kind: Kind, revision: str) -> Listing | None:
    match read_note(_note(repo_id, kind, revision)):
        case {"commit": str(commit), "names": list(names)} if all(isinstance(name, str) for name in names):
            return Listing(commit, tuple(names))
    return None


def _from_hub_cache(repo_id: str, kind: Kind, revision: str) -> Listing | None:
    folder = hub_cache() / repository_folder(repo_id, kind)
    try:
        commit = (folder / "refs" / revision).read_text(errors="replace").strip()
    except OSError:
        commit = revision
    if not is_commit(commit):
        return None
    snapshot = folder / "snapshots" / commit
    names = sorted(file.relative_to(snapshot).as_posix() for file in snapshot.rglob("*") if file.is_file())
    return Listing(commit, tuple(names)) if names else None
