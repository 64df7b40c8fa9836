"""The Hugging Face hub: lists a repository's files and fetches one, with errors that say what to do."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path, PurePosixPath

from sae_research.errors import UserError
from sae_research.sources.blobs import is_intact, promised_digest
from sae_research.sources.endpoint import check_endpoint
from sae_research.sources.hub_errors import Kind, explained, is_unreachable, noun, with_retries
from sae_research.sources.listings import Listing, is_commit, remember, remembered, repository_folder

log = logging.getLogger(__name__)

_TIMEOUT = 15.0
"""Seconds to wait for the hub to answer a listing."""


def list_files(repo_id: str, kind: Kind, revision: str) -> Listing:
    """The repository's files at `revision`: from the hub, or as remembered if the hub is out of reach."""
    check_endpoint()
    from huggingface_hub import constants

    known = remembered(repo_id, kind, revision)
    if known is not None and (known.commit == revision or constants.HF_HUB_OFFLINE):
        return known
    wanted = f"the list of its files at revision {revision!r}"
    with explained(repo_id, kind, wanted):
        try:
            ask = partial(_ask_for_listing, repo_id, kind, revision)
            listing = ask() if known is not None else with_retries(f"{noun(kind)} {repo_id!r}: {wanted}", ask)
        except Exception as error:
            if known is None or not is_unreachable(error):
                raise
            log.warning("hub out of reach: %s %r is used as cached, revision %s", kind, repo_id, known.commit)
            return known
    remember(listing, repo_id, kind, revision)
    return listing


def fetch(repo_id: str, kind: Kind, name: str, commit: str) -> Path:
    """The file in the local cache; it is downloaded if it is missing or damaged."""
    check_endpoint()
    what = f"{noun(kind)} {repo_id!r}: file {name!r} at revision {commit!r}"
    repository = repository_folder(repo_id, kind)
    path = _download(repo_id, kind, name, commit, what=what)
    if is_intact(path, repository):
        return path
    damage = f"{what}: {path} is damaged, its SHA-256 is not {promised_digest(path)}"
    log.warning("%s; it is fetched again", damage)
    try:
        path = _download(repo_id, kind, name, commit, what=what, anew=True)
    except UserError as error:
        raise UserError(f"{damage}, and it cannot be fetched again: {error}") from error
    if not is_intact(path, repository):
        raise UserError(f"{damage}, not even fetched again; a proxy or mirror may change it: check HF_ENDPOINT")
    return path


def _ask_for_listing(repo_id: str, kind: Kind, revision: str) -> Listing:
    from huggingface_hub import HfApi, constants

    ask = HfApi().model_info if kind == "model" else HfApi().dataset_info
    info = ask(repo_id, revision=revision, timeout=_TIMEOUT)
    names = tuple(sibling.rfilename for sibling in info.siblings or ())
    if not is_commit(str(info.sha)):
        raise UserError(
            f"{noun(kind)} {repo_id!r}: the hub {constants.ENDPOINT} names no commit of revision {revision!r} "
            f"(got {info.sha!r}), without which its content is not determined; check HF_ENDPOINT"
        )
    outside = [name for name in names if name.startswith("/") or ".." in PurePosixPath(name).parts]
    if outside:
        raise UserError(
            f"{noun(kind)} {repo_id!r}: the hub {constants.ENDPOINT} lists {outside[0]!r}, which would lie outside the "
            "repository; check HF_ENDPOINT"
        )
    return Listing(str(info.sha), names)


def _download(repo_id: str, kind: Kind, name: str, commit: str, *, what: str, anew: bool = False) -> Path:
    from huggingface_hub import hf_hub_download

    ask = partial(hf_hub_download, repo_id, name, repo_type=kind, revision=commit, force_download=anew)
    with explained(repo_id, kind, f"file {name!r} at revision {commit!r}"):
        path = Path(with_retries(what, ask))
    if commit not in path.parts:
        raise UserError(f"{what}: the hub sent it at another revision, {path}; check HF_ENDPOINT")
    return path
