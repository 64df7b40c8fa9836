"""The stage that DVC always runs: it writes down what lies in local folders, which DVC itself does not look at."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping

from sae_research.digests import digest_of
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


def write_local_folders(params: Params, paths: Paths) -> dict[str, dict[str, str]]:
    """Writes the revisions of local folders that `params` name, by the stage that reads them: `setup`, or an eval's.

    `digests` has one value for each stage, on which DVC lets it depend: the names of places are too long to be keys in
    `dvc.lock`. What is gone keeps the revision written last: on a machine without the folder, results that were pulled
    stay what they are.
    """
    content = read_note(paths.local_folders)
    before = content.get("places") if isinstance(content, dict) else None
    revisions = local_revisions(params, paths)
    places = {
        stage: _with_gone(of_stage, before.get(stage) if isinstance(before, dict) else None)
        for stage, of_stage in {"setup": revisions.setup, **revisions.data}.items()
    }
    digests = {stage: digest_of(of_stage) for stage, of_stage in places.items()}
    text = json.dumps({"digests": digests, "places": places}, indent=2, sort_keys=True) + "\n"
    write_atomically(paths.local_folders, text, scratch=paths.scratch)
    return places


def _with_gone(revisions: Mapping[str, str | None], before: object) -> dict[str, str]:
    known = before if isinstance(before, dict) else {}
    missing = [place for place, revision in revisions.items() if revision is None]
    gone = {place: revision for place, revision in known.items() if any(is_at(place, other) for other in missing)}
    for place in gone:
        log.warning("%s is not on this machine; nothing tells whether it has changed", place)
    return {**present(revisions), **gone}
