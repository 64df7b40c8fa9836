"""Goodfire's SAEs of Llama: a `.pth` or `.pt` file with two nn.Linear, `encoder_linear` and `decoder_linear`.

relu(x W_enc + b_enc), nothing subtracted from x. Atoms that died in training have a norm near 0; they are kept, so that
latents have the numbers that they are known by.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sae_research.formats.layout import Layout
from sae_research.formats.peeking import PICKLED, shapes_in
from sae_research.formats.plain_relu import Origin, read_plain_relu
from sae_research.lm.site import Site
from sae_research.saes.base import Sae

_LAYOUT = Layout(
    {
        "encoder_linear.weight": "W_enc", "encoder_linear.bias": "b_enc",
        "decoder_linear.weight": "W_dec", "decoder_linear.bias": "b_dec",
    }
)  # fmt: skip
_PUBLISHED = {
    "Llama-3.1-8B-Instruct-SAE-l19.pth": Origin(Site(19, "resid_post"), "meta-llama/Llama-3.1-8B-Instruct"),
    "Llama-3.3-70B-Instruct-SAE-l50.pt": Origin(Site(50, "resid_post"), "meta-llama/Llama-3.3-70B-Instruct"),
}
"""Site and model of the files that are published, which say neither."""


def recognises(path: Path) -> bool:
    """A pickled file with `encoder_linear.weight`."""
    return path.suffix in PICKLED and "encoder_linear.weight" in shapes_in(path)


def companions(_filename: str) -> tuple[str, ...]:
    """None: the file has everything."""
    return ()


def read(path: Path, *, name: str, source: Mapping[str, Any]) -> Sae:
    """The SAE in the file; site and model are stated unless it is one of the published ones."""
    return read_plain_relu(path, _LAYOUT, _PUBLISHED, name=name, source=source)
