"""What the page computes paired differences from, a file an eval: deviations of replicates from the number itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sae_research.page.fleet import FleetMember, members_of_runs
from sae_research.page.packing import floats
from sae_research.page.run import Run
from sae_research.results.columns import Column
from sae_research.results.pairing import paired_numbers


def replicates_chunk(name: str, runs: Sequence[Run], fleet: Sequence[FleetMember]) -> dict[str, Any]:
    """The columns of an eval: by run, because different runs may have other test units."""
    places = members_of_runs(fleet)
    blocks = [
        {"column": column.name, **_block(column, run, places)}
        for run in runs
        for column in run.columns
        if column.eval == name and column.measured
    ]
    return {"eval": name, "blocks": blocks}


def _block(column: Column, run: Run, places: Mapping[tuple[str, str], int]) -> dict[str, Any]:
    """Of the SAEs of one run in a column. Float32 is enough for deviations, but not for the replicates themselves."""
    paired, names = paired_numbers(column), list(column.measured)
    here = slice(0, len(names))
    value = np.array([m.value for m in column.measured.values()], dtype=np.float64)
    block = {
        "saes": [places[run.name, name] for name in names],
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
