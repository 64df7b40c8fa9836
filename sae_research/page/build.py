"""Writes the explorer: `index.html`, and in `data/` what it loads when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sae_research.errors import UserError
from sae_research.files import folder_in_the_making
from sae_research.page.cards import cards_chunk
from sae_research.page.document import index_html
from sae_research.page.fleet import FleetMember, fleet_of, members_of_runs
from sae_research.page.index import columns_at_once, columns_of_rows, index_document
from sae_research.page.latents import chunk_name, latent_chunks
from sae_research.page.levels import Level, levels_of
from sae_research.page.noted import noted_chunks
from sae_research.page.numbers import eval_chunk
from sae_research.page.packing import chunk_text
from sae_research.page.replicates import replicates_chunk
from sae_research.page.run import Run
from sae_research.plots.settings import VisualizationSettings

PAGE_FILE = "index.html"
_DATA = "data"


def require_explorer(folder: Path) -> None:
    """UserError if `folder` holds anything but an explorer, which may be replaced."""
    if folder.is_dir() and any(folder.iterdir()) and {path.name for path in folder.iterdir()} != {PAGE_FILE, _DATA}:
        raise UserError(f"{folder} holds something else than an explorer; name another folder with --out")


def write_page(runs: Sequence[Run], folder: Path, settings: VisualizationSettings, *, scratch: Path) -> int:
    """Makes `folder` hold the explorer of these runs and nothing else; returns the number of its SAEs.

    The same results give the same bytes.
    """
    fleet = fleet_of(runs)
    names: list[str] = []
    with folder_in_the_making(folder, scratch=scratch) as draft:
        (draft / _DATA).mkdir()

        def write_chunk(name: str, content: Mapping[str, Any]) -> None:
            (draft / _DATA / f"{name}.js").write_text(chunk_text(name, content), encoding="utf-8")
            names.append(name)

        columns = columns_of_rows([row for run in runs for row in run.rows])
        levels = levels_of(runs, list(columns_at_once(columns).values()))
        for name, content in _chunks(runs, fleet, levels):
            write_chunk(name, content)
        latents = {}
        for place, content in _latents(runs, fleet):
            latents[place] = chunk_name(str(place))
            write_chunk(latents[place], content)
        index = {**index_document(runs, fleet, levels, settings), "latents": latents, "chunks": sorted(names)}
        (draft / PAGE_FILE).write_text(index_html(index), encoding="utf-8")
    return len(fleet)


def _latents(runs: Sequence[Run], fleet: Sequence[FleetMember]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The latents of the SAEs that have dashboards, by their places. Names can be those of several SAEs."""
    places = members_of_runs(fleet)
    for run in runs:
        for name, content in latent_chunks(run.results) if run.results is not None else ():
            if (run.name, name) in places:
                yield places[run.name, name], content


def _chunks(
    runs: Sequence[Run], fleet: Sequence[FleetMember], levels: Sequence[Level]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """By name what the page loads on demand."""
    rows = [row for run in runs for row in run.rows]
    columns: dict[str, dict[tuple[str, str], str]] = {}
    for (eval_name, column), row in columns_of_rows(rows).items():
        columns.setdefault(eval_name, {})[row.metric or "", row.at] = column
    yield "cards", cards_chunk(fleet)
    for name in dict.fromkeys(row.eval for row in rows if row.metric is not None):
        yield f"numbers-{name}", eval_chunk(name, fleet, columns.get(name, {}))
        replicates = replicates_chunk(name, runs, fleet, levels)
        if replicates["blocks"]:
            yield f"replicates-{name}", replicates
    for name, content in noted_chunks(runs, fleet):
        yield f"noted-{name}", content
