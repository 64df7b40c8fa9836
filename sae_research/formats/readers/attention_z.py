"""Kissane's attention SAEs: `{name}.pt` with `W_enc`, `W_dec`, `b_enc`, `b_dec`, and `{name}_cfg.json` beside it.

relu((x - b_dec) W_enc + b_enc). At `attn.hook_z`, x has all heads one after the other. Neel Nanda's 1L SAEs have the
same form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from sae_research.errors import UserError
from sae_research.formats.layout import Layout, assembled, tensors_of
from sae_research.formats.peeking import PICKLED, shapes_in
from sae_research.formats.reading import naming_file, optional, printable, read_json, read_pickled, required
from sae_research.formats.stated import UNKNOWN_MODEL
from sae_research.lm.site import Site
from sae_research.saes.base import Sae

_LAYOUT = Layout({name: name for name in ("W_enc", "b_enc", "W_dec", "b_dec")}, transposed=frozenset())


def recognises(path: Path) -> bool:
    """A pickled file with these tensors and its `_cfg.json`."""
    return path.suffix in PICKLED and _config_path(path).is_file() and set(_LAYOUT.keys) <= set(shapes_in(path))


def companions(filename: str) -> tuple[str, ...]:
    """`{name}_cfg.json` of `{name}.pt`."""
    path = PurePosixPath(filename)
    return (path.with_name(f"{path.stem}_cfg.json").as_posix(),) if path.suffix in PICKLED else ()


def read(path: Path, *, name: str, source: Mapping[str, Any]) -> Sae:
    """The SAE in the file."""
    config_path = _config_path(path)
    config = read_json(config_path, sae=name)
    content = read_pickled(path, sae=name)
    with naming_file(path):
        tensors = tensors_of(content, _LAYOUT, sae=name)
        for key, size in (("act_size", tensors["W_enc"].shape[0]), ("dict_size", tensors["W_enc"].shape[1])):
            stated = optional(config, key, int, sae=name, path=config_path)
            if stated is not None and stated != size:
                raise UserError(f"SAE {name!r}: {config_path.name} says {key} = {stated}, the weights have {size}")
        return assembled(
            tensors,
            name=name,
            architecture="relu",
            site=_site(required(config, "act_name", str, sae=name, path=config_path)),
            model_name=printable(config, "model_name", sae=name, path=config_path) or UNKNOWN_MODEL,
            hyperparameters={"subtract_b_dec": True},
            source=source,
        )


def _config_path(path: Path) -> Path:
    return path.with_name(f"{path.stem}_cfg.json")


def _site(act_name: str) -> Site:
    """Its trainer loads models as TransformerLens does by default, so that the residual stream has no mean."""
    site = Site.parse(act_name)
    return replace(site, centred=site.kind != "attn_z")
