"""Source code in five programming languages: codeparrot/github-code, and the world's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sae_research.data.family import ONE_GROUP, Columns, Family, Pool, class_codes, read_splits
from sae_research.data.parquet import column_names, read_file, split_files
from sae_research.sources.hub import Hub, RemoteFiles

_REPOSITORY = "codeparrot/github-code"
_WORLD = "embedded/code"
_ENDINGS = {
    "C": (".c", ".h"),
    "Python": (".py",),
    "HTML": (".html",),
    "Java": (".java",),
    "PHP": (".php", ".php3", ".php4", ".php5", ".phps", ".phpt"),
}
"""SAEBench's five languages; the raw files tell a language by the ending of the path alone."""
_SKIPPED = 150
"""Characters cut from the beginning, about 50 tokens: the licence header (Gurnee et al. 2023, as in SAEBench)."""
_SHORTEST = _SKIPPED + 3 * 128
"""A file must have more characters than this: a context of 128 tokens at 3 characters, after the cut."""


class GithubCode(Family):
    """The programming language of a file; the hub's has no test split, the world's has and is not cut."""

    names = (_REPOSITORY, _WORLD)

    @classmethod
    def repository(cls, name: str) -> str:
        return name

    @classmethod
    def read(cls, hub: Hub, name: str, *, n_texts: int) -> Pool:
        if name == _WORLD:
            return read_splits(hub, name, Columns("code", "language"), class_codes(hub, name, "language"))
        files = split_files(hub, name, "train")
        found: dict[str, list[str]] = {language: [] for language in _ENDINGS}
        for code, language in _codes(files):
            texts = found.get(language or "")
            if texts is not None and len(texts) <= n_texts and len(code or "") > _SHORTEST:
                texts.append(code[_SKIPPED:])
                if all(len(enough) > n_texts for enough in found.values()):
                    break
        train = {language: {ONE_GROUP: texts} for language, texts in found.items()}
        return Pool(files.revision, train=train, test=None, codes={language: language for language in _ENDINGS})


def _codes(files: RemoteFiles) -> Iterator[tuple[str, str | None]]:
    """(code, language) of all files: from the raw columns, or from those of a parquet conversion."""
    for name in files.names:
        path = files.fetch(name)
        present = column_names(path)
        text = "content" if "content" in present else "code"
        label = "language" if "language" in present else "path"
        for code, value in read_file(path, [text, label]):
            yield code, value if label == "language" else language_of(value)


def language_of(path: Any) -> str | None:
    """The language that the ending of a file's path means, None for any but the five."""
    for language, endings in _ENDINGS.items():
        if Path(str(path)).suffix in endings:
            return language
    return None
