"""SAEBench's published results of autointerp as a source of examples. Each latent's are in a table in its `logs`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from sae_research.errors import UserError
from sae_research.evals.base import DataSet
from sae_research.evals.sensitivity.settings import SensitivitySettings
from sae_research.foreign import read_json_object, shown
from sae_research.judges.prompts import MarkedText
from sae_research.sources.hub import Hub

_SECTION = re.compile(r"Generation phase\n(.*?)(?:\nScoring phase\n|\Z)", re.DOTALL)
"""The part of a log that holds what the explanation was made from."""
_LINE = re.compile(r"\s*│\s*(-?\d+(?:\.\d+)?)\s*│ ?(.*?) *│\s*")
"""A line of its table: the largest activation, and the text, which may hold the separator itself."""
_MARKED = re.compile(r"<<(.*?)>>", re.DOTALL)
_LINE_BREAK = "↵"
_REMEDY = "name another file in published_files, or remove it"


class PublishedExample(NamedTuple):
    """A window of text, and the largest activation in it."""

    activation: float
    text: MarkedText


def published_data(settings: SensitivitySettings) -> list[DataSet]:
    """The files that are read, if any."""
    if settings.examples == "fresh":
        return []
    names = sorted(set(settings.published_files.values()))

    def revision(hub: Hub) -> str:
        # The data set's own; each name is looked up, so that one that is wrong is found before anything is computed.
        revisions = [hub.dataset_file(settings.published, name).revision for name in names]
        return revisions[0]

    return [DataSet("published", settings.published, revision)]


def read_published_examples(hub: Hub, settings: SensitivitySettings, sae: str, d_sae: int) -> dict[int, Any]:
    """By latent what the file of that SAE says of it: `parse_log` of its log."""
    name = settings.published_files.get(sae)
    if name is None:
        known = ", ".join(sorted(settings.published_files))
        raise UserError(f"published_files names no file with examples of SAE {sae!r}; it has: {known}")
    path: Path = hub.dataset_file(settings.published, name).fetch(name)
    entries = read_json_object(path, remedy=_REMEDY).get("eval_result_unstructured")
    if not isinstance(entries, dict) or not entries:
        raise UserError(f"{path} has no eval_result_unstructured with an entry for each latent; {_REMEDY}")
    by_latent: dict[int, list[PublishedExample]] = {}
    for key, entry in entries.items():
        if not re.fullmatch("[0-9]{1,9}", key) or int(key) >= d_sae or not isinstance(entry, dict):
            raise UserError(
                f"{path}: eval_result_unstructured has {shown(key)}, expected latents from 0 to {d_sae - 1}, those of "
                f"SAE {sae!r}; {_REMEDY}"
            )
        log = entry.get("logs")
        by_latent[int(key)] = parse_log(log) if isinstance(log, str) else []
    return by_latent


def parse_log(log: str) -> list[PublishedExample]:
    """The examples in a latent's log, by falling activation; none where it has no table of them.

    The table has lost spaces at the ends of texts. SAEBench marks each token by itself; runs are put together here.
    """
    section = _SECTION.search(log)
    lines = [] if section is None else [_LINE.fullmatch(line) for line in section[1].split("\n")]
    examples = [PublishedExample(float(line[1]), parse_marks(line[2])) for line in lines if line is not None]
    usable = [example for example in examples if math.isfinite(example.activation) and example.activation > 0]
    return sorted((example for example in usable if example.text), key=lambda example: -example.activation)


def parse_marks(text: str) -> MarkedText:
    """A text with marks around single tokens, as runs."""
    pieces = [(piece.replace(_LINE_BREAK, "\n"), is_marked) for piece, is_marked in _pieces(text) if piece]
    runs = groupby(pieces, key=lambda piece: piece[1])
    return tuple(("".join(piece for piece, _ in run), is_marked) for is_marked, run in runs)


def _pieces(text: str) -> Iterator[tuple[str, bool]]:
    end = 0
    for match in _MARKED.finditer(text):
        yield text[end : match.start()], False
        yield match[1], True
        end = match.end()
    yield text[end:], False
