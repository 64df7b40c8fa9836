"""Answers on disk, one file per request and judge: what was asked once is not asked again."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sae_research.errors import UserError
from sae_research.files import write_atomically
from sae_research.judges.records import Answer
from sae_research.records import read_record

log = logging.getLogger(__name__)

_DIGEST = re.compile("[0-9a-f]{64}")
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
            return read_record(Answer, document["answer"], where="answer") if document["digest"] == digest else None
        except (*_DAMAGE, KeyError, UserError):
            log.warning("%s is damaged; its request is asked again", path)
            return None

    def put(self, digest: str, answer: Answer) -> None:
        """Keeps `answer`; it is whole on disk when this returns."""
        if self._folder is None:
            self._in_memory[digest] = answer
            return
        document = {"digest": digest, "answer": asdict(answer)}
        write_atomically(_path(self._folder, digest), json.dumps(document, sort_keys=True))

    def count(self) -> int:
        """How many answers there are, of whatever judge."""
        return len(self._in_memory) if self._folder is None else sum(1 for _ in self._folder.glob("*/*.json"))

    def adopt(self, answers: Mapping[str, Any]) -> int:
        """Adds those answers of a result, by digest, that the store lacks, and returns how many.

        DVC pulled them from another machine, so that what is no answer is passed over.
        """
        n = 0
        for digest, answer in answers.items():
            if _DIGEST.fullmatch(digest) and self.get(digest) is None:
                try:
                    self.put(digest, read_record(Answer, answer, where=digest))
                except UserError as error:
                    log.warning("passed over a stored answer: %s", error)
                else:
                    n += 1
        return n


def _path(folder: Path, digest: str) -> Path:
    return folder / digest[:2] / f"{digest}.json"
