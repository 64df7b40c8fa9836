"""What core records of each latent, in two arrays: 131,072 latents take 2 MB, their records in JSON 40."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_FIELDS = ("feature_density", "max_decoder_cosine_sim")


@dataclass(frozen=True, eq=False)
class Latents:
    """A number per latent; NaN where there is none."""

    density: np.ndarray
    """The share of real tokens on which it fires."""
    decoder_cosine: np.ndarray
    """The largest cosine of its decoder row with that of another latent."""


def latents_of(records: Sequence[Mapping[str, Any]]) -> Latents | None:
    """From core's `eval_result_details`; None where they are not core's."""
    if not records or not all(name in records[0] for name in _FIELDS):
        return None
    return Latents(*(np.array([_number(record[name]) for record in records]) for name in _FIELDS))


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
