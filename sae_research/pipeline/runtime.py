"""Sets a process up to run a stage: threads, memory, signals, logging. Called before torch is imported."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import FrameType
from typing import NoReturn

from sae_research.errors import UserError
from sae_research.files import disk_message
from sae_research.sources.endpoint import check_endpoint

log = logging.getLogger(__name__)

_INTERRUPTED = 130
"""Exit code after Ctrl-C or SIGTERM, as shells have it."""
_CLEAN_UP_SECONDS = 3
_NOTICED_AFTER = 0.2
_PR_SET_PDEATHSIG = 1
_CODE = ("sae_research", "scripts")
_GIT_TIMEOUT = 5.0
_NAMES_SHOWN = 5
_M_MMAP_MAX, _M_TRIM_THRESHOLD, _M_TOP_PAD, _M_ARENA_MAX = -4, -1, -2, -8


def run_script(stage: Callable[[], object], description: str | None) -> NoReturn:
    """Runs `stage` as a script that takes no arguments, and ends the process with its exit code.

    `stage` imports what it needs itself, so that an interruption while it does so is one message, too.
    """
    script_parser(description).parse_args()
    end_process(run_as_stage(stage))


def end_process(code: int) -> NoReturn:
    """Ends the process at once: torch's own end takes up to a second, in which a signal would print a traceback."""
    # What could not be written has been told by `run_as_stage`.
    with contextlib.suppress(OSError):
        _flush_stdout()
    os._exit(code)


def script_parser(description: str | None) -> argparse.ArgumentParser:
    """The parser of the script that is running: `--help` shows `description`, what is not known ends it with 2."""
    return argparse.ArgumentParser(prog=f"python -m scripts.{Path(sys.argv[0]).stem}", description=description)


def run_as_stage(work: Callable[[], object]) -> int:
    """The exit code of `work`: 0, or 1 after a UserError (one message, no traceback).

    An interruption ends the process here, with 130: threads that still compute are not waited for.
    """
    try:
        prepare_process()
        work()
        _flush_stdout()
    except UserError as error:
        log.error("%s", error)
        log.debug("it was raised here:", exc_info=error)
        return 1
    except KeyboardInterrupt:
        log.error("interrupted; finished cells are kept, run again to go on")
        _flush_stdout()
        os._exit(_INTERRUPTED)
    except BrokenPipeError:
        # The reader of stdout (`| head`) has gone; what is left must not be flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        return _report(error)
    return 0


def _flush_stdout() -> None:
    """Writes out what was printed, so that a full disk or a reader that has gone shows here."""
    # Python's stdout is None where the shell closed it (`>&-`).
    if sys.stdout is not None:  # pyright: ignore[reportUnnecessaryComparison]
        sys.stdout.flush()


def _report(error: Exception) -> int:
    """One message for what the disk did to a file that nobody watched over, a traceback for a fault of ours."""
    place = error.filename if isinstance(error, OSError) and error.filename else Path.cwd()
    message = disk_message(error, Path(place))
    if message is None:
        traceback.print_exc()
    else:
        log.error("%s", message)
    return 1


def prepare_process() -> None:
    """Quiet threads, steady memory, termination by signal, log lines on stderr; UserError of a broken HF_ENDPOINT."""
    # On shared cores, OpenMP threads that spin while idle slow everything else by a factor.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    if os.environ.get("SAE_DEBUG"):
        logging.getLogger("sae_research").setLevel(logging.DEBUG)
    for noisy in ("httpx", "httpx2", "huggingface_hub", "transformers", "matplotlib"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    check_endpoint()
    for interruption in (signal.SIGINT, signal.SIGTERM):
        signal.signal(interruption, _interrupt)
    if sys.platform != "win32":
        _notice_all_signals()
    if sys.platform == "linux":
        keep_freed_memory()
    if os.environ.get("DVC_STAGE"):
        if sys.platform == "linux":
            _die_with_parent()
        warn_of_untracked_code(Path(os.environ.get("DVC_ROOT", ".")))


def keep_freed_memory() -> None:
    """glibc hands large tensors back to the kernel at every free; keeping them made a step up to 8x faster."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        libc.mallopt(_M_TOP_PAD, 2**28)
        # What a thread's own arena cannot hold, it would map and hand back each time.
        libc.mallopt(_M_ARENA_MAX, 1)


def _die_with_parent() -> None:
    """A killed DVC must not leave a stage running that holds the GPU. By hand a script may outlive its shell."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    parent, session = os.getppid(), os.getsid(0)
    # DVC may have gone before that call: then another process, of another session, has adopted this one.
    if parent and session != os.getpid() and os.getsid(parent) != session:
        raise KeyboardInterrupt


def _interrupt(signum: int, frame: FrameType | None) -> None:
    """Unwinds, and has the kernel end the process where that takes too long.

    Raised inside Python's own locks, the exception can leave one taken, and whoever waits for it then waits for ever.
    """
    if sys.platform != "win32":
        signal.alarm(_CLEAN_UP_SECONDS)
    raise KeyboardInterrupt


@cache
def _notice_all_signals() -> None:
    """Has the main thread notice a signal that came just as it began to wait for a lock.

    Python would notice it when that wait ends, or with the next signal. So another, without consequence, follows it.
    """
    heard, told = os.pipe()
    os.set_blocking(told, False)
    signal.signal(signal.SIGURG, lambda _signum, _frame: None)
    signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    threading.Thread(target=_wake_main_thread, args=(heard,), name="signals", daemon=True).start()


def _wake_main_thread(heard: int) -> None:
    main = threading.main_thread().ident
    assert main is not None
    while True:
        if os.read(heard, 1)[0] in (signal.SIGINT, signal.SIGTERM):
            time.sleep(_NOTICED_AFTER)
            signal.pthread_kill(main, signal.SIGURG)


def warn_of_untracked_code(repository: Path) -> None:
    """Says which modules of `repository` git does not know: queued and temporary experiments run without them."""
    command = ["git", "ls-files", "--others", "--exclude-standard", "--", *_CODE]
    try:
        listed = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=_GIT_TIMEOUT)
    except (OSError, subprocess.TimeoutExpired):
        return
    names = listed.stdout.split("\n")[:-1] if listed.returncode == 0 else []
    if names:
        shown = ", ".join(names[:_NAMES_SHOWN]) + (", ..." if len(names) > _NAMES_SHOWN else "")
        log.warning(
            "not in git, so `dvc exp run --temp` and `--queue` run without it: %s; `git add` what belongs there", shown
        )
