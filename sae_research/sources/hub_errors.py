"""Errors of the hub's client: turned into one message that says what to do, or answered by asking again."""

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

_WAITS = (1.0, 4.0)
"""Seconds before the second and the third attempt if the hub does not say how long to wait."""
_LONGEST_WAIT = 300.0
"""Seconds to wait at most; the hub counts requests in windows of five minutes."""
_BUSY = (408, 429, 500, 502, 503, 504)
_LOGIN = "log in with `hf auth login` or set HF_TOKEN"


def noun(kind: Kind) -> str:
    """What a user calls a repository of this kind."""
    return "model" if kind == "model" else "data set"


def with_retries(what: str, ask: Callable[[], Answer]) -> Answer:
    """What `ask` returns; it is called up to three times while the hub is busy or breaks off a transfer."""
    for default in _WAITS:
        try:
            return ask()
        except Exception as error:
            wait = _wait_before_retry(error, default)
            if wait is None:
                raise
            log.warning("%s: %s; asking again in %.0f s", what, _first_line(error), wait)
        time.sleep(wait)
    return ask()


def is_unreachable(error: Exception) -> bool:
    """Whether the hub itself did not answer: no connection, too busy, or a login page in its place."""
    from huggingface_hub import errors

    if isinstance(error, errors.HfHubHTTPError):
        return error.response.status_code in _BUSY
    return isinstance(error, _connection_errors()) or _is_not_from_a_hub(error)


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
    """The error behind `error` if the client wrapped it, which hides the hub's answer."""
    from huggingface_hub import errors

    wrapped = isinstance(error, errors.LocalEntryNotFoundError) or type(error) is ValueError
    return error.__cause__ if wrapped and isinstance(error.__cause__, Exception) else error


def _reason(error: Exception, repo_id: str, kind: Kind) -> str | None:
    """What went wrong and what to do; None if the hub had no part in it."""
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
    if _is_not_from_a_hub(error):
        return (
            f"{constants.ENDPOINT} does not answer as a hub does ({type(error).__name__}: {_first_line(error)}); "
            "a login page or a proxy may have answered instead: check the connection and HF_ENDPOINT"
        )
    return None


def _remedy(error: Any, repo_id: str, kind: Kind) -> str:
    """The status in an HfHubHTTPError, and what to do about it."""
    status = error.response.status_code
    if status in (401, 403):
        return f"{status}, access denied; {_LOGIN}, with access to {_page(repo_id, kind)}"
    if status == 404:
        return "404, not found; correct the id, the file's name or 'revision', or HF_ENDPOINT"
    if status == 429:
        wait = _requested_wait(error)
        when = "later" if wait is None else f"in {wait:.0f} s"
        return f"429, too many requests; try again {when}; with a login (`hf auth login` or HF_TOKEN) more are allowed"
    if status in _BUSY or status >= 500:
        return f"{status}; try again later"
    return f"{status} ({error.server_message or 'without a reason'}); correct the id or HF_ENDPOINT"


def _page(repo_id: str, kind: Kind) -> str:
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{'' if kind == 'model' else 'datasets/'}{repo_id}"


def _wait_before_retry(error: Exception, default: float) -> float | None:
    """Seconds to wait before asking again; None if that would not help or takes too long.

    What the client has already retried on its own arrives wrapped, and is not retried here.
    """
    from huggingface_hub import errors

    if isinstance(error, errors.HfHubHTTPError):
        if error.response.status_code not in _BUSY:
            return None
        requested = _requested_wait(error)
        wait = default if requested is None else requested
        return wait if wait <= _LONGEST_WAIT else None
    http = importlib.import_module(errors.HfHubHTTPError.__bases__[0].__module__.partition(".")[0])
    cut_off = isinstance(error, (http.ReadError, http.RemoteProtocolError)) or _is_cut_short(error)
    return default if cut_off else None


def _requested_wait(error: Any) -> float | None:
    """Seconds that the hub asks us to wait, in Retry-After or as the reset time of its rate limit."""
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
    """Whether the client complains about a file that is shorter than announced; that error has no type of its own."""
    return type(error) is OSError and error.errno is None and str(error).startswith("Consistency check failed")


def _is_not_from_a_hub(error: Exception) -> bool:
    """Whether the client failed to read the answer as a hub's: it was HTML, null, or lacked fields."""
    from huggingface_hub import errors

    unreadable = (errors.FileMetadataError, ValueError, TypeError, KeyError, AttributeError)
    return isinstance(error, unreadable) and not isinstance(error, errors.HFValidationError)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
