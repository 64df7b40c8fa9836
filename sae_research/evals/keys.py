"""Everything that determines an eval's numbers, as the JSON values behind a key. Needs no torch."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from sae_research.digests import digest_of
from sae_research.evals.base import Eval
from sae_research.sources.described import DescribedSet
from sae_research.sources.folders import FOLDER_REVISION
from sae_research.sources.hub import Hub


def plain(settings: Any) -> dict[str, Any]:
    """A settings record as JSON values."""
    return json.loads(json.dumps(dataclasses.asdict(settings)))


def shared_parts(
    evaluated: Eval, settings: Any, *, engine: str, model: Mapping[str, Any], hub: Hub, seed: int
) -> dict[str, Any]:
    """The parts of a key that all SAEs of one eval share; `model` holds name, revision and dtype."""
    data = evaluated.data(settings)
    described = {d.name: _meaning(hub.described[d.name]) for d in data if d.name in hub.described}
    return {
        "eval": evaluated.name,
        "engine": engine,
        "settings": {name: value for name, value in plain(settings).items() if name not in evaluated.chooses_saes},
        "model": dict(model),
        "data": {data_set.name: data_set.revision(hub) for data_set in data},
        **({"data_sets": described} if described else {}),
        "seed": seed,
    }


def _meaning(described: DescribedSet) -> dict[str, Any]:
    """What the columns of a data set hold; what they contain, its revision says, wherever it lies."""
    return {name: value for name, value in plain(described).items() if name != "repo"}


def key_of(parts: Mapping[str, Any]) -> str:
    """The digest of all that determines a result; a model in a folder counts by its content, not by where that lies."""
    match parts:
        case {"model": {"name": _, "revision": str(revision), **others}} if revision.startswith(FOLDER_REVISION):
            return digest_of({**parts, "model": {**others, "revision": revision}})
    return digest_of(parts)
