"""Finished cells on disk, one file per content key; two writers of a key write the same bytes."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sae_research.digests import digest_of
from sae_research.files import write_atomically
from sae_research.results.record import Result
from sae_research.results.saebench import from_document, to_document

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PastCell:
    """What a stored cell was the answer to: kept beside the result so that a plan can say what changed since."""

    eval_name: str
    sae_name: str
    parts: Mapping[str, Any]


class ResultStore:
    """The results under `folder`; what is damaged counts as missing and is computed again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: str) -> Result | None:
        """The result of that key, or None."""
        path = self._path(key)
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (json.JSONDecodeError, UnicodeDecodeError):
            log.warning("%s is damaged and will be computed again", path)
            return None
        if not isinstance(stored, dict) or stored.get("digest") != digest_of(stored.get("document")):
            log.warning("%s does not match its digest and will be computed again", path)
            return None
        try:
            result = from_document(stored["document"])
        except (KeyError, TypeError):
            log.warning("%s was written by another version and will be computed again", path)
            return None
        return result if result.key == key else None

    def put(self, result: Result) -> None:
        """Keeps `result`; it is whole on disk when this returns."""
        document = to_document(result)
        stored = {"document": document, "digest": digest_of(document)}
        text = json.dumps(stored, sort_keys=True, ensure_ascii=False, allow_nan=False)
        path = self._path(result.key)
        past = PastCell(eval_name=result.eval_name, sae_name=result.sae["name"], parts=result.key_parts)
        write_atomically(path.with_suffix(".parts"), json.dumps(dataclasses.asdict(past), sort_keys=True))
        write_atomically(path, text)

    def past_cells(self) -> Iterator[PastCell]:
        """What every stored cell was the answer to; cheap, the numbers are not read."""
        for path in sorted(self._folder.glob("*/*.parts")):
            yield PastCell(**json.loads(path.read_text(encoding="utf-8")))

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.json"
