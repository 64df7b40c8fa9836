"""OpenMOSS' configurations, of Llama Scope and today's Llamascopium, and what they make of the tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from sae_research.errors import UserError
from sae_research.foreign import shown
from sae_research.formats.folding import scale_latents
from sae_research.formats.layout import assembled
from sae_research.formats.reading import optional, printable, read_json, read_pickled, read_safetensors, required
from sae_research.formats.refused import TRANSCODER
from sae_research.formats.stated import UNKNOWN_MODEL
from sae_research.lm.site import Site
from sae_research.saes.base import Sae

LM_CONFIG = "lm_config.json"
_ARCHITECTURES = ("relu", "jumprelu", "topk")
_SUFFIXES = (".safetensors", ".pt")
# In the order in which Llamascopium looks for them.
_WEIGHTS = tuple(
    place + suffix for place in ("sae_weights", "checkpoints/pruned", "checkpoints/final") for suffix in _SUFFIXES
)

AnyPath = TypeVar("AnyPath", Path, PurePosixPath)


@dataclass(frozen=True)
class Options:
    """What a configuration says of the SAE."""

    site: Site
    architecture: str
    k: int | None
    subtract_b_dec: bool
    gates_by_atom_norm: bool
    """Whether the activation function sees what the code contributes, pre-activation times norm of the atom."""
    norm_activation: str
    hooks: tuple[str, str]
    """Its names of where it reads and where it writes."""


class Files(NamedTuple):
    """Those of one SAE."""

    config: Path
    weights: Path
    lm_config: Path
    """May be missing."""


def files_at(path: Path, config: str) -> Files | None:
    """The files of the SAE whose folder or whose weights are at `path`; None if its configuration has another name."""
    if path.is_dir():
        weights = next((path / name for name in _WEIGHTS if (path / name).is_file()), None)
    else:
        weights = path if path.suffix in _SUFFIXES and path.is_file() else None
    folder = path if path.is_dir() else _folder_of(path)
    if weights is None or not (folder / config).is_file():
        return None
    return Files(folder / config, weights, folder / LM_CONFIG)


def companions_of(filename: str, config: str) -> tuple[str, ...]:
    """The configurations of an SAE and of its language model, where `filename` is its weights."""
    path = PurePosixPath(filename)
    names = (config, LM_CONFIG) if path.suffix in _SUFFIXES else ()
    return tuple((_folder_of(path) / name).as_posix() for name in names)


def name_of(filename: str) -> str | None:
    """The SAE's folder, where `filename` is its weights; None for other files."""
    if filename.endswith(_WEIGHTS):
        return _folder_of(PurePosixPath(filename)).name
    return None


def _folder_of(weights: AnyPath) -> AnyPath:
    return weights.parent.parent if weights.parent.name == "checkpoints" else weights.parent


def read_state(files: Files, *, sae: str) -> dict[str, Any]:
    """The tensors by name."""
    if files.weights.suffix == ".safetensors":
        return dict(read_safetensors(files.weights, sae=sae))
    content = read_pickled(files.weights, sae=sae)
    return required(content, "sae", dict, sae=sae, path=files.weights)


def options_of(config: Mapping[str, Any], path: Path, sae: str) -> Options:
    """The configuration's options; whatever would lead to other codes if it were ignored is refused."""

    def get(key: str, kind: type, default: Any) -> Any:
        value = optional(config, key, kind, sae=sae, path=path)
        return default if value is None else value

    hook_in = required(config, "hook_point_in", str, sae=sae, path=path)
    hook_out = get("hook_point_out", str, hook_in)
    if hook_in != hook_out:
        raise UserError(
            f"SAE {sae!r}: {path}: hook_point_in is {shown(hook_in)}, hook_point_out {shown(hook_out)}: {TRANSCODER}"
        )
    if get("use_glu_encoder", bool, False):
        raise UserError(f"SAE {sae!r}: {path}: use_glu_encoder is not supported; choose an SAE without it")
    architecture = required(config, "act_fn", str, sae=sae, path=path).lower()
    if architecture not in _ARCHITECTURES:
        raise UserError(
            f"SAE {sae!r}: {path}: act_fn is {shown(architecture)}, expected one of {', '.join(_ARCHITECTURES)}"
            + ("; its codes depend on the batch: convert it to jumprelu" if "topk" in architecture else "")
        )
    return Options(
        site=Site.parse(hook_in),
        architecture=architecture,
        k=required(config, "top_k", int, sae=sae, path=path) if architecture == "topk" else None,
        subtract_b_dec=get("apply_decoder_bias_to_pre_encoder", bool, False),
        gates_by_atom_norm=get("sparsity_include_decoder_norm", bool, True),
        norm_activation=required(config, "norm_activation", str, sae=sae, path=path),
        hooks=(hook_in, hook_out),
    )


def check_sizes(config: Mapping[str, Any], tensors: Mapping[str, Tensor], path: Path, sae: str) -> None:
    """Refuses tensors of another size than the configuration says."""
    d_sae, d_in = tensors["W_dec"].shape
    for key, size in (("d_model", d_in), ("d_sae", d_sae)):
        stated = optional(config, key, int, sae=sae, path=path)
        if stated is not None and stated != size:
            raise UserError(f"SAE {sae!r}: {path} says {key} = {stated}, the weights have {size}; are they of one SAE?")


def number(config: Mapping[str, Any], key: str, path: Path, sae: str) -> float:
    """`config[key]`, a finite number."""
    value = config.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UserError(f"SAE {sae!r}: {path}: {key} is {shown(value)}, expected a number")
    return float(value)


def assemble(
    tensors: Mapping[str, Tensor],
    options: Options,
    *,
    average_norm: float | None,
    files: Files,
    name: str,
    source: Mapping[str, Any],
) -> Sae:
    """The SAE with our names of its tensors; `average_norm` is that of the data set's activations, if it is known."""
    plain = _gated_by_codes(tensors, options.architecture) if options.gates_by_atom_norm else tensors
    lm = read_json(files.lm_config, sae=name) if files.lm_config.is_file() else {}
    return assembled(
        _in_units_of_x(plain, options, average_norm, name),
        name=name,
        architecture=options.architecture,
        site=options.site,
        model_name=printable(lm, "model_name", sae=name, path=files.lm_config) or UNKNOWN_MODEL,
        prepend_bos=optional(lm, "prepend_bos", bool, sae=name, path=files.lm_config) is not False,
        hyperparameters={
            "subtract_b_dec": options.subtract_b_dec,
            **({} if options.k is None else {"k": options.k}),
        },
        source=source,
        **({"input_norm": "constant_norm_rescale"} if options.norm_activation == "token-wise" else {}),
    )


def _in_units_of_x(
    tensors: Mapping[str, Tensor], options: Options, average_norm: float | None, name: str
) -> dict[str, Tensor]:
    """The tensors of the SAE that does the same to x as this one to x sqrt(d_in) / average_norm."""
    if options.norm_activation in ("inference", "token-wise"):
        return dict(tensors)
    if options.norm_activation != "dataset-wise":
        raise UserError(
            f"SAE {name!r}: norm_activation is {shown(options.norm_activation)}, expected 'dataset-wise', 'token-wise' "
            "or 'inference'; no others are defined outside training"
        )
    if average_norm is None or not (math.isfinite(average_norm) and average_norm > 0):
        raise UserError(
            f"SAE {name!r}: norm_activation is 'dataset-wise', but dataset_average_activation_norm of "
            f"{options.hooks[0]} is {shown(average_norm)}, expected a number above 0"
        )
    scale = math.sqrt(tensors["b_dec"].numel()) / average_norm
    return {
        **tensors,
        "W_enc": tensors["W_enc"] * scale,
        "W_dec": tensors["W_dec"] / scale,
        "b_dec": tensors["b_dec"] / scale,
    }


def _gated_by_codes(tensors: Mapping[str, Tensor], architecture: str) -> dict[str, Tensor]:
    """The tensors of the SAE that decides by pre-activations as this one by their products with atoms' norms."""
    if architecture == "topk":
        return scale_latents(tensors, ("W_enc", "b_enc"))
    if architecture == "relu":
        return dict(tensors)
    limits = torch.finfo(torch.float32)
    norms = tensors["W_dec"].double().norm(dim=1).clamp_min(limits.tiny)
    return {**tensors, "threshold": (tensors["threshold"].double() / norms).clamp_max(limits.max).float()}
