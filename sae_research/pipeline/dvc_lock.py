"""DVC's record of who reads and writes what, `.dvc/tmp/rwlock`: written in place, a kill can leave it broken."""

from __future__ import annotations

import fcntl
import json
import logging
from pathlib import Path

from sae_research.errors import UserError

log = logging.getLogger(__name__)


def remove_broken_lock(root: Path) -> None:
    """Removes the record of the project in `root` where it is no JSON and no dvc is at work on it.

    With a broken record every command of DVC fails, for ever. While DVC edits it, it locks the file beside it.
    """
    record = root / ".dvc" / "tmp" / "rwlock"
    try:
        json.loads(record.read_text(encoding="utf-8"))
        return
    except FileNotFoundError:
        return
    except ValueError:
        pass
    with record.with_name("rwlock.lock").open("a") as guard:
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"{record} is being written by a dvc that runs here; wait until it ends") from None
        record.unlink()
    log.info("removed %s: a dvc was killed while it wrote it; nothing else is lost", record)
