"""qresearch's SAE of DeepSeek-R1-Distill-Llama-8B: a bare state_dict with two nn.Linear, `encoder` and `decoder`.

relu(x W_enc + b_enc), nothing subtracted from x. Any such file without a companion is read so.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sae_research.formats.layout import LINEAR, assembled, tensors_of
from sae_research.formats.peeking import PICKLED, shapes_in
from sae_research.formats.readers import apollo, dictionary_learning
from sae_research.formats.reading import naming_file, read_pickled
from sae_research.formats.stated import UNKNOWN_MODEL, stated_site
from sae_research.lm.site import Site
from sae_research.saes.base import Sae

_PUBLISHED = {
    "DeepSeek-R1-Distill-Llama-8B-SAE-l19.pt": (Site(19, "resid_post"), "deepseek-ai/DeepSeek-R1-Distill-Llama-8B")
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
    """The SAE in the file; site and model are stated where it is not the published one."""
    site, model_name = _PUBLISHED.get(path.name) or (stated_site(source, sae=name), UNKNOWN_MODEL)
    content = read_pickled(path, sae=name)
    with naming_file(path):
        return assembled(
            tensors_of(content, LINEAR, sae=name),
            name=name,
            architecture="relu",
            site=site,
            model_name=model_name,
            hyperparameters={"subtract_b_dec": False},
            source=source,
        )
