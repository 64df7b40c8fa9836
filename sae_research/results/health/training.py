"""How an SAE was trained: `training.json` in its folder, which `python -m sae_research train` writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from sae_research.foreign import read_json_object
from sae_research.records import read_record
from sae_research.results.merge import Entry

TRAINING_FILE = "training.json"


@dataclass(frozen=True)
class Training:
    """What the record says; None where it does not."""

    tokens: int | None = None
    tokens_per_latent: float | None = None
    dead_share: float | None = None
    """At the end of training."""
    loss: float | None = None
    l0: float | None = None
    steps: int | None = None
    learning_rate: float | None = None
    normalize_activations: str | None = None
    architecture: str | None = None
    dataset: str | None = None
    context_size: int | None = None


def training_records(saes: Path, entries: Iterable[Entry]) -> dict[str, Training]:
    """The records in `saes`, the folder with a folder per SAE, of the SAEs that were measured here, by name."""
    names = dict.fromkeys(entry.sae_name for entry in entries if entry.source == "computed")
    records = {name: read_training(saes / name) for name in names}
    return {name: record for name, record in records.items() if record is not None}


def read_training(folder: Path) -> Training | None:
    """The record in the SAE's `folder`; None where there is none. Further keys do no harm."""
    path = folder / TRAINING_FILE
    if not path.is_file():
        return None
    content = read_json_object(path, remedy="delete it: the health report then gives general advice")
    known = {field.name for field in fields(Training)}
    values: Mapping[str, Any] = {key: value for key, value in content.items() if key in known}
    return read_record(Training, values, where=str(path))
