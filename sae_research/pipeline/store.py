"""Finished cells on disk, a document and its tables per content key; two writers of a key write the same bytes."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sae_research.errors import UserError
from sae_research.files import write_atomically
from sae_research.measurements import Result
from sae_research.results.document import BLOCK, from_document, is_intact, read_tables, write_result
from sae_research.results.table_files import table_path

log = logging.getLogger(__name__)

# What anything but a cell can raise where a cell should be: a folder, text that is no JSON, JSON of another form.
_DAMAGE = (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError, UserError)


@dataclass(frozen=True)
class PastCell:
    """What a stored result was computed for. It is kept beside the result, so a plan can say what has changed."""

    eval_name: str
    sae_name: str
    parts: Mapping[str, Any]
    made: Mapping[str, Any] = field(default_factory=dict)
    """What computed it: device, threads, the SAEs that shared the pass, the seconds until this one was known."""


def read_intact(path: Path) -> Result | None:
    """The result in a file of ours, or None where it or a table of it is damaged, altered, or of another version."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return from_document(document, read_tables(path, document)) if is_intact(document) else None
    except _DAMAGE:
        return None


def _key_in(path: Path) -> str | None:
    """The key of the result in a file of ours; its tables are not read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))[BLOCK]["key"]
    except _DAMAGE:
        return None


def results_in(folder: Path) -> Iterator[Result]:
    """The results in an output folder, damaged ones left out."""
    for path in sorted(folder.glob("*.json")):
        result = read_intact(path)
        if result is not None:
            yield result


def is_or_was_ours(path: Path) -> bool:
    """Whether this project wrote the file: it has our block, or is damaged so that no block can be read."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except _DAMAGE:
        return True
    return isinstance(document, dict) and BLOCK in document


class ResultStore:
    """The results under `folder`; a damaged one counts as missing and is computed again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: str) -> Result | None:
        """The result of that key, or None."""
        path = self._path(key)
        if not path.exists():
            return None
        result = read_intact(path)
        if result is None:
            log.warning("%s is damaged or of another version and will be computed again", path)
        return result if result is not None and result.key == key else None

    def put(self, result: Result, *, made: Mapping[str, Any] = MappingProxyType({})) -> None:
        """Keeps `result`; it is whole on disk when this returns. `made`, what computed it, changes no document."""
        path = self._path(result.key)
        for place in (path, path.with_suffix(".parts"), *(table_path(path, name) for name in result.output.tables)):
            if place.is_dir():
                shutil.rmtree(place)
        past = PastCell(
            eval_name=result.eval_name, sae_name=result.sae["name"], parts=result.key_parts, made=dict(made)
        )
        write_atomically(path.with_suffix(".parts"), json.dumps(dataclasses.asdict(past), sort_keys=True))
        write_result(path, result)

    def adopt(self, folder: Path) -> None:
        """Adds the results of an output folder that the store lacks: those that DVC pulled from another machine."""
        for path in sorted(folder.glob("*.json")):
            key = _key_in(path)
            if not isinstance(key, str) or self._path(key).exists():
                continue
            result = read_intact(path)
            if result is not None:
                self.put(result)

    def devices(self, keys: Iterable[str]) -> dict[str, str]:
        """By key the kind of device that computed a result, where it is known: pulled results do not say it."""
        devices: dict[str, str] = {}
        for key in keys:
            with suppress(*_DAMAGE):
                devices[key] = json.loads(self._path(key).with_suffix(".parts").read_text("utf-8"))["made"]["device"]
        return devices

    def past_cells(self) -> Iterator[PastCell]:
        """What every stored result was computed for; cheap, since the numbers are not read."""
        for path in sorted(self._folder.glob("*/*.parts")):
            try:
                past = PastCell(**json.loads(path.read_text(encoding="utf-8")))
                past.parts["sae"]
            except _DAMAGE:
                log.warning("%s is damaged or of another version and is passed over", path)
            else:
                yield past

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.json"
