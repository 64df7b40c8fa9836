"""Source code in five programming languages: codeparrot/github-code, and the embedded world's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sae_research.data.family import ONE_GROUP, Columns, Family, Pool, class_codes, read_splits
from sae_research.data.tables import column_names, read_file, split_files
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
"""SAEBench's five languages; in the raw files only the ending of the path tells the language."""
_SKIPPED = 150
"""Characters cut from the beginning: about 50 tokens of licence header (Gurnee et al. 2023, as in SAEBench)."""
_SHORTEST = _SKIPPED + 3 * 128
"""A file must have more characters than this: after the cut, a context of 128 tokens of 3 characters."""


class GithubCode(Family):
    """By programming language. The hub's data set has no test split; the embedded world's has one and is not cut."""

    names = (_REPOSITORY, _WORLD)

    @classmethod
    def repository(cls, name: str) -> str:
        return name

    @classmethod
    def read(cls, hub: Hub, name: str, *, n_texts: int) -> Pool:
        if name == _WORLD:
            return read_splits(hub, name, Columns("code", "language"), class_codes(hub, name, "language"))
        files = split_files(hub, name, "train")
        by_language: dict[str, list[str]] = {language: [] for language in _ENDINGS}
        for code, language in _codes(files):
            texts = by_language.get(language or "")
            if texts is not None and len(texts) <= n_texts and len(code or "") > _SHORTEST:
                texts.append(code[_SKIPPED:])
                if all(len(texts) > n_texts for texts in by_language.values()):
                    break
        train = {language: {ONE_GROUP: texts} for language, texts in by_language.items()}
        return Pool(files.revision, train=train, test=None, codes={language: language for language in _ENDINGS})


def _codes(files: RemoteFiles) -> Iterator[tuple[str, str | None]]:
    """(code, language) of all files: from the raw columns, or those of a parquet conversion."""
    for name in files.names:
        path = files.fetch(name)
        present = column_names(path)
        text = "content" if "content" in present else "code"
        label = "language" if "language" in present else "path"
        for code, value in read_file(path, [text, label]):
            yield code, value if label == "language" else language_of(value)


def language_of(path: Any) -> str | None:
    """The language that the ending of a file's path implies; None for any but the five."""
    for language, endings in _ENDINGS.items():
        if Path(str(path)).suffix in endings:
            return language
    return None
