"""What the page computes paired differences from, a file an eval: deviations of replicates from the number itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sae_research.page.fleet import FleetMember
from sae_research.page.levels import Level, places_of_all
from sae_research.page.packing import floats
from sae_research.page.run import Run
from sae_research.results.columns import Column
from sae_research.results.pairing import paired_numbers


def replicates_chunk(
    name: str, runs: Sequence[Run], fleet: Sequence[FleetMember], levels: Sequence[Level]
) -> dict[str, Any]:
    """The columns of an eval: by run, because different runs may have other test units."""
    places = places_of_all(fleet, levels)
    blocks = [
        {"column": column.name, **_block(column, run, places)}
        for run in runs
        for column in run.columns
        if column.eval == name and column.measured
    ]
    return {"eval": name, "blocks": blocks}


def _block(column: Column, run: Run, places: Mapping[tuple[str, str], int]) -> dict[str, Any]:
    """Of the SAEs and baselines of one run in a column.

    Float32 is enough for deviations, but not for the replicates themselves.
    """
    paired, everyone = paired_numbers(column), column.everyone
    here = [row for row, name in enumerate(everyone) if (run.name, name) in places]
    value = np.array([m.value for m in everyone.values()], dtype=np.float64)[here]
    block = {
        "places": [places[run.name, name] for name in everyone if (run.name, name) in places],
        "groups": paired.whole.shape[1],
        "whole": floats(paired.whole[here] - value[:, None], "f4"),
    }
    if not paired.seeds:
        return block
    of_seed = paired.values[here]
    drawn = paired.drawn[here] - of_seed[..., None]
    return {
        **block,
        "seeds": len(paired.seeds),
        "seed_groups": drawn.shape[-1],
        "seed_values": floats(of_seed, "f8"),
        "drawn": floats(drawn, "f4"),
    }
