"""The latents that evals single out for a place, a letter or a data set: files `data/noted-<eval>.js`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from sae_research.page.fleet import FleetMember, members_of_runs
from sae_research.page.run import Run
from sae_research.results.latent_notes import NOTES_FILE, notes_by_sae


def noted_chunks(runs: Sequence[Run], fleet: Sequence[FleetMember]) -> Iterator[tuple[str, dict[str, Any]]]:
    """By eval: its notes that are for a place, each [SAE, latent, place, text, value], places standing there once."""
    members = members_of_runs(fleet)
    by_eval: dict[str, list[list[Any]]] = {}
    places: dict[str, dict[str, int]] = {}
    for run in runs:
        notes_file = run.results and run.results / "merged" / NOTES_FILE
        for sae, notes in notes_by_sae(notes_file).items() if notes_file and notes_file.exists() else ():
            for note in notes:
                if note.at != "{}" and (run.name, sae) in members:
                    of_eval = places.setdefault(note.eval, {})
                    place = of_eval.setdefault(note.at, len(of_eval))
                    line = [members[run.name, sae], note.latent, place, note.text, note.value]
                    by_eval.setdefault(note.eval, []).append(line)
    for name, lines in by_eval.items():
        yield name, {"eval": name, "places": [json.loads(at) for at in places[name]], "notes": lines}
