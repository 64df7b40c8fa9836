"""qresearch's SAE of DeepSeek-R1-Distill-Llama-8B: a bare state_dict with two nn.Linear, `encoder` and `decoder`.

relu(x W_enc + b_enc), nothing subtracted from x. Any such file without a companion is read so.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sae_research.formats.layout import LINEAR
from sae_research.formats.peeking import PICKLED, shapes_in
from sae_research.formats.plain_relu import Origin, read_plain_relu
from sae_research.formats.readers import apollo, dictionary_learning
from sae_research.lm.site import Site
from sae_research.saes.base import Sae

_PUBLISHED = {
    "DeepSeek-R1-Distill-Llama-8B-SAE-l19.pt": Origin(
        Site(19, "resid_post"), "deepseek-ai/DeepSeek-R1-Distill-Llama-8B"
    )
}
"""Site and model of the file that is published, which says neither."""


def recognises(path: Path) -> bool:
    """A pickled file with these tensors, beside which nothing says that it is dictionary_learning's or Apollo's."""
    return (
        path.suffix in PICKLED
        and set(LINEAR.keys) <= set(shapes_in(path))
        and not dictionary_learning.recognises(path)
        and not apollo.recognises(path)
    )


def companions(_filename: str) -> tuple[str, ...]:
    """None: the file has everything that there is."""
    return ()


def read(path: Path, *, name: str, source: Mapping[str, Any]) -> Sae:
    """The SAE in the file; site and model are stated unless it is the published one."""
    return read_plain_relu(path, LINEAR, _PUBLISHED, name=name, source=source)
