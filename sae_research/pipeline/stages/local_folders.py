"""The stage that DVC always runs: it writes down what lies in local folders, which DVC itself does not look at."""

from __future__ import annotations

import json
import logging

from sae_research.files import write_atomically
from sae_research.pipeline.local_folders import is_at, local_revisions, present
from sae_research.pipeline.params import Params, load_params
from sae_research.pipeline.paths import Paths, find_paths
from sae_research.sources.listings import read_note

log = logging.getLogger(__name__)


def local_folders_stage() -> None:
    """Runs the stage in the current folder."""
    paths = find_paths()
    write_local_folders(load_params(paths.params), paths)


def write_local_folders(params: Params, paths: Paths) -> dict[str, str]:
    """Writes the revisions of the local folders that `params` name, on which the setup stage depends.

    What is gone keeps the revision written last: on a machine without the folder, results that were pulled stay what
    they are.
    """
    content = read_note(paths.local_folders)
    before = content if isinstance(content, dict) else {}
    revisions = local_revisions(params, paths)
    missing = [place for place, revision in revisions.items() if revision is None]
    gone = {place: revision for place, revision in before.items() if any(is_at(place, other) for other in missing)}
    for place in gone:
        log.warning("%s is not on this machine; nothing tells whether it has changed", place)
    written = {**present(revisions), **gone}
    text = json.dumps(written, indent=2, sort_keys=True) + "\n"
    write_atomically(paths.local_folders, text, scratch=paths.store / "scratch")
    return written
