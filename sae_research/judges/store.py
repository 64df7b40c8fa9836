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
    """The answers under `folder`; a damaged file counts as no answer."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, digest: str) -> Answer | None:
        """The answer to the request of that digest, or None."""
        path = self._path(digest)
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
        write_atomically(self._path(digest), json.dumps({"digest": digest, "answer": asdict(answer)}, sort_keys=True))

    def adopt(self, answers: Mapping[str, Mapping[str, Any]]) -> None:
        """Adds those answers of a result, by digest, that the store lacks: DVC pulled them from another machine."""
        for digest, answer in answers.items():
            if not self._path(digest).exists():
                self.put(digest, Answer(**answer))

    def _path(self, digest: str) -> Path:
        return self._folder / digest[:2] / f"{digest}.json"
