"""ReLU SAEs whose file holds their tensors alone, and says neither where they read nor of which model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sae_research.formats.layout import Layout, assembled, tensors_of
from sae_research.formats.reading import naming_file, read_pickled
from sae_research.formats.stated import UNKNOWN_MODEL, stated_site
from sae_research.lm.site import Site
from sae_research.saes.base import Sae


class Origin(NamedTuple):
    """Where a published file's SAE reads."""

    site: Site
    model_name: str


def read_plain_relu(
    path: Path, layout: Layout, published: Mapping[str, Origin], *, name: str, source: Mapping[str, Any]
) -> Sae:
    """The SAE relu(x W_enc + b_enc) in a pickled file; its origin is stated where it is none of the published ones."""
    origin = published.get(path.name) or Origin(stated_site(source, sae=name), UNKNOWN_MODEL)
    content = read_pickled(path, sae=name)
    with naming_file(path):
        return assembled(
            tensors_of(content, layout, sae=name),
            name=name,
            architecture="relu",
            site=origin.site,
            model_name=origin.model_name,
            hyperparameters={"subtract_b_dec": False},
            source=source,
        )
