"""The Hugging Face hub: lists a repository's files and fetches one, with errors that say what to do."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sae_research.errors import UserError

logger = logging.getLogger(__name__)

Kind = Literal["model", "dataset"]

_TIMEOUT = 15.0
"""Seconds to wait for the hub to answer a listing."""


@dataclass(frozen=True)
class Listing:
    """The files of a repository at one commit."""

    commit: str
    names: tuple[str, ...]


def noun(kind: Kind) -> str:
    """What a user calls a repository of this kind."""
    return "model" if kind == "model" else "data set"


def list_files(repo_id: str, kind: Kind, revision: str) -> Listing:
    """The repository's files at `revision`: asked of the hub, or as remembered where the hub is out of reach."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    remembered = _remembered(repo_id, kind, revision)
    if remembered is not None and (remembered.commit == revision or constants.HF_HUB_OFFLINE):
        return remembered
    with _explained(repo_id, kind, f"the list of its files at revision {revision!r}"):
        try:
            ask = HfApi().model_info if kind == "model" else HfApi().dataset_info
            info = ask(repo_id, revision=revision, timeout=_TIMEOUT)
        except (OfflineModeIsEnabled, *_connection_errors()) as error:
            if remembered is None or isinstance(error, HfHubHTTPError):
                raise
            logger.warning("hub out of reach: %s %r is used as cached, revision %s", kind, repo_id, remembered.commit)
            return remembered
    found = Listing(str(info.sha), tuple(sibling.rfilename for sibling in info.siblings or ()))
    _remember(found, repo_id, kind, revision)
    return found


def _memory(repo_id: str, kind: Kind, revision: str) -> Path:
    from huggingface_hub import constants

    name = "--".join([f"{kind}s", *repo_id.split("/"), *revision.split("/")])
    return Path(constants.HF_HUB_CACHE).expanduser().parent / "sae_research_listings" / f"{name}.json"


def _remember(listing: Listing, repo_id: str, kind: Kind, revision: str) -> None:
    for name in {revision, listing.commit}:
        file = _memory(repo_id, kind, name)
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_suffix(f".{os.getpid()}.tmp")
        draft.write_text(json.dumps({"commit": listing.commit, "names": listing.names}))
        draft.replace(file)


def _remembered(repo_id: str, kind: Kind, revision: str) -> Listing | None:
    """The listing kept from an earlier look, else what `hf download` left in the hub's own cache."""
    from huggingface_hub import constants

    file = _memory(repo_id, kind, revision)
    if file.exists():
        values = json.loads(file.read_text())
        return Listing(values["commit"], tuple(values["names"]))
    folder = Path(constants.HF_HUB_CACHE).expanduser() / "--".join([f"{kind}s", *repo_id.split("/")])
    ref = folder / "refs" / revision
    commit = ref.read_text().strip() if ref.is_file() else revision
    snapshot = folder / "snapshots" / commit
    if not snapshot.is_dir():
        return None
    files = (file.relative_to(snapshot) for file in snapshot.rglob("*") if file.is_file())
    return Listing(commit, tuple(file.as_posix() for file in files))


def fetch(repo_id: str, kind: Kind, name: str, commit: str) -> Path:
    """The file in the local cache, downloaded where it was not there."""
    from huggingface_hub import hf_hub_download

    with _explained(repo_id, kind, f"file {name!r} at revision {commit!r}"):
        return Path(hf_hub_download(repo_id, name, repo_type=kind, revision=commit))


def _connection_errors() -> tuple[type[Exception], ...]:
    """What the hub's HTTP client raises when no answer comes (httpx or its successor, by version)."""
    from huggingface_hub import errors

    return (ConnectionError, TimeoutError, errors.HfHubHTTPError.__bases__[0])


@contextmanager
def _explained(repo_id: str, kind: Kind, wanted: str) -> Iterator[None]:
    """Turns what huggingface_hub raises into one UserError: which repository, which file, what to do."""
    from huggingface_hub import constants, errors

    what = f"{noun(kind)} {repo_id!r}: {wanted}"
    login = "log in with `hf auth login` or set HF_TOKEN"
    try:
        yield
    except errors.GatedRepoError as error:
        page = f"{constants.ENDPOINT}/{'' if kind == 'model' else 'datasets/'}{repo_id}"
        raise UserError(f"{what}: access is gated; ask for access at {page}, then {login}") from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(f"{what}: no such repository; correct the id, or if it is private {login}") from error
    except errors.RevisionNotFoundError as error:
        raise UserError(f"{what}: no such revision; correct or remove 'revision'") from error
    except errors.RemoteEntryNotFoundError as error:
        raise UserError(f"{what}: the repository has no such file; correct its name") from error
    except errors.HFValidationError as error:
        raise UserError(f"{what}: not a hub id ('owner/name') and not an existing folder; correct it") from error
    except (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, *_connection_errors()) as error:
        raise UserError(f"{what}: {_why_no_answer(error)}") from error


def _why_no_answer(error: Exception) -> str:
    from huggingface_hub import constants, errors

    if constants.HF_HUB_OFFLINE:
        return "not in the local cache, and offline mode is on; unset HF_HUB_OFFLINE, or give a local folder"
    if isinstance(error, errors.HfHubHTTPError):
        status = error.response.status_code
        remedy = "log in with `hf auth login` or set HF_TOKEN" if status in (401, 403) else "try again later"
        return f"the hub {constants.ENDPOINT} answered {status}; {remedy}"
    return (
        f"cannot reach the hub {constants.ENDPOINT} ({type(error).__name__}); check the connection or HF_ENDPOINT; "
        "with a filled cache set HF_HUB_OFFLINE=1, or give a local folder, or use `profile embedded`"
    )
