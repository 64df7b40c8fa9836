"""What evals say of single latents, in one table: whoever looks closer at latents looks at these."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sae_research.results.merge import Entry
from sae_research.results.rows import place_text, read_records

NOTES_FILE = "latent_notes.parquet"
"""The table's name in `eval_results/merged/`."""


@dataclass(frozen=True)
class NoteRow:
    """A `LatentNote`, and of what it is."""

    sae: str
    eval: str
    latent: int
    name: str
    text: str | None
    value: float | None
    low: float | None
    high: float | None
    reason: str | None
    at: str
    """As in the table of results."""


def all_notes(entries: Sequence[Entry]) -> list[NoteRow]:
    """Every note, in the order of the entries."""
    return [
        NoteRow(sae=entry.sae_name, eval=entry.eval_name, **{**asdict(note), "at": place_text(note.at)})
        for entry in entries
        for note in entry.notes
    ]


def notes_by_sae(path: Path) -> Mapping[str, list[NoteRow]]:
    """The notes in a file that `process_results` wrote, by the SAE's name."""
    by_sae: dict[str, list[NoteRow]] = defaultdict(list)
    for row in read_records(path, NoteRow):
        by_sae[row.sae].append(row)
    return by_sae
