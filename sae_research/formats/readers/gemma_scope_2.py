"""Gemma Scope 2: `{site}/layer_{L}_width_{w}_l0_{v}/params.safetensors` and `config.json` beside it.

JumpReLU: a = x w_enc + b_enc where a > threshold, nothing subtracted from x. The layout is the one that SAELens' loader
reads (`gemma_3`); no such repository was at hand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from sae_research.errors import UserError
from sae_research.foreign import shown
from sae_research.formats.layout import Layout, assembled, tensors_of
from sae_research.formats.peeking import shapes_in
from sae_research.formats.reading import naming_file, printable, read_json, read_safetensors, required
from sae_research.formats.refused import TRANSCODER
from sae_research.formats.stated import UNKNOWN_MODEL, stated_site
from sae_research.lm.site import Site
from sae_research.saes.base import Sae

CONFIG, WEIGHTS = "config.json", "params.safetensors"
ARCHITECTURE = "jump_relu"
_LAYOUT = Layout(
    {"w_enc": "W_enc", "b_enc": "b_enc", "w_dec": "W_dec", "b_dec": "b_dec", "threshold": "threshold"},
    transposed=frozenset(),
)
_SKIP = "affine_skip_connection"
_HF_HOOK_OF_SITE = {
    "resid_post": "model.layers.{}.output",
    "attn_out": "model.layers.{}.self_attn.o_proj.input",
    "mlp_out": "model.layers.{}.post_feedforward_layernorm.output",
}
"""By the start of the folder's name, where there is no config."""
_REPOSITORY = re.compile(r"gemma-scope-2-(\w+-(?:pt|it))")
_FOLDER = re.compile(r"(?:.*/)?(\w+)/(layer_[0-9]{1,6}_width_\w+)")


def recognises(path: Path) -> bool:
    """`params.safetensors` with `w_enc` and `w_dec`, or a folder with it."""
    weights = _weights(path)
    return weights.name == WEIGHTS and {"w_enc", "w_dec"} <= set(shapes_in(weights))


def companions(filename: str) -> tuple[str, ...]:
    """`config.json` beside the file."""
    path = PurePosixPath(filename)
    return (path.with_name(CONFIG).as_posix(),) if path.name == WEIGHTS else ()


def short_name(filename: str) -> str | None:
    """Site, layer, width and L0; None for other formats' files."""
    path = PurePosixPath(filename)
    match = _FOLDER.fullmatch((path.parent if path.name == WEIGHTS else path).as_posix())
    return None if match is None else f"{match[1]}_{match[2]}"


def read(path: Path, *, name: str, source: Mapping[str, Any]) -> Sae:
    """The SAE in the file; where there is no `config.json`, its folder and repository say what it would."""
    weights = _weights(path)
    config_path = weights.with_name(CONFIG)
    config = read_json(config_path, sae=name) if config_path.is_file() else _told_by_path(weights, source)
    state = read_safetensors(weights, sae=name)
    with naming_file(config_path):
        site, model = _place(config, source, name)
    with naming_file(weights):
        if _SKIP in state:
            raise UserError(f"SAE {name!r}: {TRANSCODER}")
        return assembled(
            tensors_of(state, _LAYOUT, sae=name),
            name=name,
            architecture="jumprelu",
            site=site,
            model_name=model,
            hyperparameters={"subtract_b_dec": False},
            source=source,
        )


def _weights(path: Path) -> Path:
    return path / WEIGHTS if path.is_dir() else path


def _told_by_path(weights: Path, source: Mapping[str, Any]) -> dict[str, Any] | None:
    """What `config.json` would say; None if the folders are not called as in the repository."""
    folders = (weights.parent.as_posix(), PurePosixPath(str(source.get("filename", ""))).as_posix())
    folder = next((match for match in map(_FOLDER.match, folders) if match is not None), None)
    if folder is None or source.get("hook_name") is not None:
        return None
    layer, kind = folder[2].split("_")[1], folder[1].removesuffix("_all")
    names = (PurePosixPath(str(source.get("repo_id", ""))).name, *reversed(weights.resolve().parts))
    repository = next((match for match in map(_REPOSITORY.fullmatch, names) if match is not None), None)
    hook = _HF_HOOK_OF_SITE.get(kind, f"{kind} of layer {{}}").format(layer)
    told = {"architecture": ARCHITECTURE, "hf_hook_point_in": hook}
    if kind in ("transcoder", "clt"):
        told["hf_hook_point_out"] = "another"
    return told if repository is None else {**told, "model_name": f"gemma-3-{repository[1]}"}


def _place(config: Mapping[str, Any] | None, source: Mapping[str, Any], name: str) -> tuple[Site, str]:
    """The site, and the name of the model."""
    if config is None:
        return stated_site(source, sae=name), UNKNOWN_MODEL
    architecture = required(config, "architecture", str, sae=name, path=Path(CONFIG))
    if architecture != ARCHITECTURE:
        raise UserError(f"SAE {name!r}: architecture is {shown(architecture)}, expected {ARCHITECTURE!r}")
    if config.get("hf_hook_point_out") not in (None, config.get("hf_hook_point_in")):
        raise UserError(f"SAE {name!r}: {TRANSCODER}")
    return _site(config, name), _model(config, name)


def _site(config: Mapping[str, Any], name: str) -> Site:
    hook = required(config, "hf_hook_point_in", str, sae=name, path=Path(CONFIG))
    try:
        return Site.parse(hook)
    except UserError as error:
        raise UserError(f"SAE {name!r}: hf_hook_point_in is no place that is measured here: {error}") from error


def _model(config: Mapping[str, Any], name: str) -> str:
    """Such as google/gemma-3-270m; the config may say gemma-v3-270m-pt, which the hub has without -pt."""
    stated = printable(config, "model_name", sae=name, path=Path(CONFIG))
    if stated is None:
        return UNKNOWN_MODEL
    model = (stated if stated.startswith("google/") else f"google/{stated}").replace("-v3", "-3")
    return model.removesuffix("-pt") if "270m" in model else model
