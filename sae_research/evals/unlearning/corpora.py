"""Texts about what a model should forget, and other texts: parquet files, or one JSON object per line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sae_research.data.tables import read_files, split_files
from sae_research.errors import UserError
from sae_research.sources.hub import Hub, RemoteFiles


@dataclass(frozen=True)
class Corpus:
    """A source of texts: a split of a data set in parquet, or one file of it."""

    dataset: str
    """A hub id, a local folder, or `embedded/<name>`."""
    config: str | None = None
    """Its configuration, if it has several."""
    split: str = "train"
    file: str | None = None
    """A file with one JSON object per line; replaces `config` and `split`."""
    column: str = "text"
    """The column of the text, or its key in each object."""

    def __post_init__(self) -> None:
        if self.file is not None and not self.file.endswith(".jsonl"):
            raise ValueError(f"file is {self.file!r}, expected a name that ends in .jsonl; parquet needs no file")


def corpus_files(hub: Hub, corpus: Corpus) -> RemoteFiles:
    """The files with the texts, none fetched yet."""
    if corpus.file is None:
        return split_files(hub, corpus.dataset, corpus.split, config=corpus.config)
    try:
        return hub.dataset_file(corpus.dataset, corpus.file)
    except UserError as error:
        raise UserError(f"corpus file {corpus.file!r}: {error}") from error


def load_corpus(hub: Hub, corpus: Corpus, *, shortest: int) -> list[str]:
    """All texts of more than `shortest` characters, in the order of the files."""
    files = corpus_files(hub, corpus)
    if corpus.file is None:
        texts = (text for (text,) in read_files(files, [corpus.column]))
    else:
        texts = _read_lines(files.fetch(corpus.file), corpus.column)
    long_enough = [text for text in texts if text is not None and len(text) > shortest]
    if not long_enough:
        raise UserError(f"data set {corpus.dataset!r} has no text of more than {shortest} characters")
    return long_enough


def _read_lines(path: Path, key: str) -> Iterator[str]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                yield str(json.loads(line)[key])
            except (json.JSONDecodeError, KeyError, TypeError) as error:
                raise UserError(
                    f"{path}, line {number}: expected a JSON object with the key {key!r} ({type(error).__name__})"
                ) from error
