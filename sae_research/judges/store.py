"""Answers on disk, one file per request and judge: what was asked once is not asked again."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sae_research.files import write_atomically
from sae_research.judges.records import Answer

log = logging.getLogger(__name__)

_DAMAGE = (OSError, ValueError, TypeError)


class AnswerStore:
    """The answers under `folder`, or in memory where it is None; a damaged file counts as no answer."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._in_memory: dict[str, Answer] = {}

    def get(self, digest: str) -> Answer | None:
        """The answer to the request of that digest, or None."""
        if self._folder is None:
            return self._in_memory.get(digest)
        path = _path(self._folder, digest)
        if not path.is_file():
            return None
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            return Answer(**document["answer"]) if document["digest"] == digest else None
        except (*_DAMAGE, KeyError):
            log.warning("%s is damaged; its request is asked again", path)
            return None

    def put(self, digest: str, answer: Answer) -> None:
        """Keeps `answer`; it is whole on disk when this returns."""
        if self._folder is None:
            self._in_memory[digest] = answer
            return
        document = {"digest": digest, "answer": asdict(answer)}
        write_atomically(_path(self._folder, digest), json.dumps(document, sort_keys=True))

    def adopt(self, answers: Mapping[str, Mapping[str, Any]]) -> None:
        """Adds those answers of a result, by digest, that the store lacks: DVC pulled them from another machine."""
        for digest, answer in answers.items():
            if self.get(digest) is None:
                self.put(digest, Answer(**answer))


def _path(folder: Path, digest: str) -> Path:
    return folder / digest[:2] / f"{digest}.json"
