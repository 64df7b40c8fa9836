"""The kinds of device that computed the results, where there are several: numbers may differ in their last digits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sae_research.results.markdown import code, listed, table
from sae_research.results.merge import Entry

_UNKNOWN = "not noted, as of results that were pulled"


@dataclass(frozen=True)
class DeviceKind:
    """One kind, and what it computed."""

    device: str
    cells: int
    evals: tuple[str, ...]


def device_kinds(entries: Sequence[Entry], device_of: Mapping[str, str]) -> list[DeviceKind]:
    """The kinds in the order of their names, then what nobody has noted; nothing where one kind or none is known.

    `device_of` is the device by the key of a cell.
    """
    evals: dict[str, list[str]] = {}
    for entry in entries:
        if entry.source == "computed" and entry.result is not None:
            evals.setdefault(device_of.get(entry.result.key, _UNKNOWN), []).append(entry.eval_name)
    known = sorted(evals.keys() - {_UNKNOWN})
    if len(known) < 2:
        return []
    return [
        DeviceKind(kind, len(evals[kind]), tuple(dict.fromkeys(evals[kind])))
        for kind in (*known, *(evals.keys() & {_UNKNOWN}))
    ]


def devices_section(kinds: Sequence[DeviceKind]) -> str:
    """A line per kind, and the evals whose SAEs were not all measured on one; empty without kinds."""
    if not kinds:
        return ""
    names = dict.fromkeys(name for kind in kinds for name in kind.evals)
    mixed = [code(name) for name in names if sum(name in kind.evals for kind in kinds) > 1]
    text = "Several kinds of device computed these results. Kernels are chosen by device, so last digits may differ."
    if mixed:
        text += f" SAEs are compared across kinds in {listed(mixed)}."
    rows = [[kind.device, ", ".join(kind.evals), str(kind.cells)] for kind in kinds]
    return "\n\n".join(["## Devices", text, table(["device", "evals", "cells"], rows, numbers_from=2)])
