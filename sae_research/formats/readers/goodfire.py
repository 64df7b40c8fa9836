"""Goodfire's SAEs of Llama: a `.pth` or `.pt` file with two nn.Linear, `encoder_linear` and `decoder_linear`.

relu(x W_enc + b_enc), nothing subtracted from x. Atoms that died in training have a norm near 0; they are kept, so that
latents have the numbers that they are known by.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sae_research.formats.layout import Layout, assembled, tensors_of
from sae_research.formats.peeking import PICKLED, shapes_in
from sae_research.formats.reading import naming_file, read_pickled
from sae_research.formats.stated import UNKNOWN_MODEL, stated_site
from sae_research.lm.site import Site
from sae_research.saes.base import Sae

_LAYOUT = Layout(
    {
        "encoder_linear.weight": "W_enc", "encoder_linear.bias": "b_enc",
        "decoder_linear.weight": "W_dec", "decoder_linear.bias": "b_dec",
    }
)  # fmt: skip
_PUBLISHED = {
    "Llama-3.1-8B-Instruct-SAE-l19.pth": (Site(19, "resid_post"), "meta-llama/Llama-3.1-8B-Instruct"),
    "Llama-3.3-70B-Instruct-SAE-l50.pt": (Site(50, "resid_post"), "meta-llama/Llama-3.3-70B-Instruct"),
}
"""Site and model of the files that are published, which say neither."""


def recognises(path: Path) -> bool:
    """A pickled file with `encoder_linear.weight`."""
    return path.suffix in PICKLED and "encoder_linear.weight" in shapes_in(path)


def companions(_filename: str) -> tuple[str, ...]:
    """None: the file has everything."""
    return ()


def read(path: Path, *, name: str, source: Mapping[str, Any]) -> Sae:
    """The SAE in the file; site and model are stated where it is none of the published ones."""
    site, model_name = _PUBLISHED.get(path.name) or (stated_site(source, sae=name), UNKNOWN_MODEL)
    content = read_pickled(path, sae=name)
    with naming_file(path):
        return assembled(
            tensors_of(content, _LAYOUT, sae=name),
            name=name,
            architecture="relu",
            site=site,
            model_name=model_name,
            hyperparameters={"subtract_b_dec": False},
            source=source,
        )
