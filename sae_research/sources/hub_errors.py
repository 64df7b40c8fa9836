"""What the hub's client raises: as one message that says what to do, and which of it is worth asking again."""

from __future__ import annotations

import importlib
import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

from sae_research.errors import UserError

log = logging.getLogger(__name__)

Kind = Literal["model", "dataset"]
Answer = TypeVar("Answer")

_PAUSES = (1.0, 4.0)
"""Seconds before the second and the third attempt, where the hub names no time of its own."""
_LONGEST_PAUSE = 300.0
"""Seconds that are waited at most; the hub counts requests in windows of five minutes."""
_BUSY = (408, 429, 500, 502, 503, 504)
_LOGIN = "log in with `hf auth login` or set HF_TOKEN"


def noun(kind: Kind) -> str:
    """What a user calls a repository of this kind."""
    return "model" if kind == "model" else "data set"


def ask_again(what: str, ask: Callable[[], Answer]) -> Answer:
    """The answer of `ask`, asked up to three times while the hub is busy or cuts the transfer off."""
    for default in _PAUSES:
        try:
            return ask()
        except Exception as error:
            pause = _pause(error, default)
            if pause is None:
                raise
            log.warning("%s: %s; asking again in %.0f s", what, _first_line(error), pause)
        time.sleep(pause)
    return ask()


def is_out_of_reach(error: Exception) -> bool:
    """Whether the hub itself gave no answer: no connection, too busy, or a proxy's page in its place."""
    from huggingface_hub import errors

    if isinstance(error, errors.HfHubHTTPError):
        return error.response.status_code in _BUSY
    return isinstance(error, _connection_errors()) or _is_of_a_stranger(error)


@contextmanager
def explained(repo_id: str, kind: Kind, wanted: str) -> Iterator[None]:
    """Turns what huggingface_hub raises into one UserError: which repository, which file, what to do."""
    try:
        yield
    except Exception as error:
        reason = _reason(_cause(error), repo_id, kind)
        if reason is None:
            raise
        raise UserError(f"{noun(kind)} {repo_id!r}: {wanted}: {reason}") from error


def _cause(error: Exception) -> Exception:
    """What stands behind the errors in which the client wraps an answer that kept it from a file."""
    from huggingface_hub import errors

    wrapped = isinstance(error, errors.LocalEntryNotFoundError) or type(error) is ValueError
    return error.__cause__ if wrapped and isinstance(error.__cause__, Exception) else error


def _reason(error: Exception, repo_id: str, kind: Kind) -> str | None:
    """What went wrong and what to do; None where it was not the hub's doing."""
    from huggingface_hub import constants, errors

    if isinstance(error, errors.GatedRepoError):
        return f"access is gated; ask for access at {_page(repo_id, kind)}, then {_LOGIN}"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"no such repository; correct the id, or if it is private {_LOGIN}"
    if isinstance(error, errors.RevisionNotFoundError):
        return "no such revision; correct or remove 'revision'"
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return "the repository has no such file; correct its name"
    if isinstance(error, errors.HFValidationError):
        return "not a hub id ('owner/name') and not an existing folder; correct it"
    if isinstance(error, errors.HfHubHTTPError):
        return f"the hub {constants.ENDPOINT} answered {_remedy(error, repo_id, kind)}"
    if isinstance(error, (errors.LocalEntryNotFoundError, *_connection_errors())):
        if constants.HF_HUB_OFFLINE:
            return "not in the local cache, and offline mode is on; unset HF_HUB_OFFLINE, or give a local folder"
        return (
            f"cannot reach the hub {constants.ENDPOINT} ({type(error).__name__}); check the connection or HF_ENDPOINT; "
            "with a filled cache set HF_HUB_OFFLINE=1, or give a local folder, or use `profile embedded`"
        )
    if isinstance(error, RuntimeError) or type(error).__module__.startswith("hf_xet"):
        return (
            f"its transfer from the hub's Xet storage failed ({_first_line(error)}); try again later, or set "
            "HF_HUB_DISABLE_XET=1 for a plain download"
        )
    if _is_cut_short(error):
        return f"the hub {constants.ENDPOINT} sent fewer bytes than it announced; try again later"
    if _is_of_a_stranger(error):
        return (
            f"{constants.ENDPOINT} does not answer as a hub does ({type(error).__name__}: {_first_line(error)}); "
            "a login page or a proxy may stand in its place: check the connection and HF_ENDPOINT"
        )
    return None


def _remedy(error: Any, repo_id: str, kind: Kind) -> str:
    """The status of a HfHubHTTPError, and what to do about it."""
    status = error.response.status_code
    if status in (401, 403):
        return f"{status}, access denied; {_LOGIN}, with access to {_page(repo_id, kind)}"
    if status == 404:
        return "404, not found; correct the id, the file's name or 'revision', or HF_ENDPOINT"
    if status == 429:
        wait = _asked_pause(error)
        when = "later" if wait is None else f"in {wait:.0f} s"
        return f"429, too many requests; try again {when}, logged in (`hf auth login` or HF_TOKEN) more are allowed"
    if status in _BUSY or status >= 500:
        return f"{status}; try again later"
    return f"{status} ({error.server_message or 'without a reason'}); correct the id or HF_ENDPOINT"


def _page(repo_id: str, kind: Kind) -> str:
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{'' if kind == 'model' else 'datasets/'}{repo_id}"


def _pause(error: Exception, default: float) -> float | None:
    """Seconds after which to ask again; None where that would not help, or takes too long.

    What the client has itself asked for again and again comes wrapped, and is left at that.
    """
    from huggingface_hub import errors

    if isinstance(error, errors.HfHubHTTPError):
        if error.response.status_code not in _BUSY:
            return None
        asked = _asked_pause(error)
        pause = default if asked is None else asked
        return pause if pause <= _LONGEST_PAUSE else None
    http = importlib.import_module(errors.HfHubHTTPError.__bases__[0].__module__.partition(".")[0])
    cut_off = isinstance(error, (http.ReadError, http.RemoteProtocolError)) or _is_cut_short(error)
    return default if cut_off else None


def _asked_pause(error: Any) -> float | None:
    """Seconds that the hub asks to wait, by Retry-After or by the reset time of its rate limit."""
    headers = error.response.headers
    after = headers.get("retry-after", "").strip()
    if after.isdigit():
        return float(after)
    used_up = re.search(r"\br=0;\s*t=(\d+)", headers.get("ratelimit", ""))
    return float(used_up[1]) if used_up else None


def _connection_errors() -> tuple[type[Exception], ...]:
    """What the hub's HTTP client raises when no answer comes (httpx or its successor, by version)."""
    from huggingface_hub import errors

    return (ConnectionError, TimeoutError, errors.HfHubHTTPError.__bases__[0])


def _is_cut_short(error: Exception) -> bool:
    """The client's complaint about a file that is shorter than announced; it has no type of its own."""
    return type(error) is OSError and error.errno is None and str(error).startswith("Consistency check failed")


def _is_of_a_stranger(error: Exception) -> bool:
    """What the client trips over when it reads something else than a hub's answer: HTML, null, missing fields."""
    from huggingface_hub import errors

    strange = (errors.FileMetadataError, ValueError, TypeError, KeyError, AttributeError)
    return isinstance(error, strange) and not isinstance(error, errors.HFValidationError)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
