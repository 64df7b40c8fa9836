"""What determines a trained SAE, as a key. Needs no torch."""

from __future__ import annotations

from typing import NamedTuple

from sae_research.code_version import code_version
from sae_research.digests import digest_of
from sae_research.sources.hub import is_of_folder
from sae_research.training.settings import TrainSettings

_CODE = tuple(f"sae_research.training.{name}" for name in ("learner", "lens", "stream"))
_READING = ("sae_research.data.text", "sae_research.lm.tokens")
"""Modules that decide what trainers see. Those that run the model are left out: they must give what a plain run gives,
and a change of them is no reason to train for days again."""


class TrainedModel(NamedTuple):
    """The language model whose activations are trained on."""

    name: str
    revision: str
    dtype: str


class Request(NamedTuple):
    """An SAE that is wanted."""

    settings: TrainSettings
    key: str
    lens: str
    """The version of SAELens that trains it."""


def request_for(
    settings: TrainSettings, *, d_in: int, model: TrainedModel, dataset_revision: str, lens: str
) -> Request:
    """The SAE of these settings with its key: the digest of settings, model, text, SAELens and our own code.

    What lies in local folders counts by its content alone.
    """
    model_parts = {"revision": model.revision, "dtype": model.dtype}
    if not is_of_folder(model.revision):
        model_parts["name"] = model.name
    values = settings.influential(d_in)
    if is_of_folder(dataset_revision):
        del values["dataset"]
    parts = {
        "settings": values,
        "model": model_parts,
        "dataset_revision": dataset_revision,
        "sae_lens": lens,
        "code": code_version(alone=[*_CODE, *_READING]),
    }
    return Request(settings, digest_of(parts)[:40], lens)
