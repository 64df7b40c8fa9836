"""Checkpoints of dictionary_learning: `ae.pt` (a state_dict) with `config.json` beside it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from sae_research.errors import UserError
from sae_research.foreign import shown
from sae_research.formats.folding import fold_atom_norms
from sae_research.formats.peeking import shapes_in
from sae_research.formats.readers import qwen_scope
from sae_research.formats.reading import (
    naming_file,
    optional,
    printable,
    read_json,
    read_pickled,
    require_floats,
    required,
)
from sae_research.lm.site import Site
from sae_research.saes.base import Sae, SaeCard
from sae_research.saes.build import build_sae
from sae_research.saes.registry import sae_class

CONFIG, WEIGHTS = "config.json", "ae.pt"

_optional, _printable = partial(optional, path=Path(CONFIG)), partial(printable, path=Path(CONFIG))


@dataclass(frozen=True)
class Layout:
    """How one of dictionary_learning's classes maps onto ours."""

    architecture: str
    keys: Mapping[str, str]
    """Its name of a tensor -> ours."""
    subtract_b_dec: bool = True
    """Whether its encoder sees x - b_dec."""
    ignored: frozenset[str] = frozenset()
    """Entries that do not affect the codes."""


_LINEAR = {"encoder.weight": "W_enc", "encoder.bias": "b_enc", "decoder.weight": "W_dec"}
_PLAIN = {name: name for name in ("W_enc", "b_enc", "W_dec", "b_dec", "threshold")}
_GATED = {
    "encoder.weight": "W_enc", "decoder.weight": "W_dec", "decoder_bias": "b_dec",
    "r_mag": "r_mag", "gate_bias": "b_gate", "mag_bias": "b_mag",
}  # fmt: skip

_LAYOUTS = {
    "AutoEncoder": Layout("relu", {**_LINEAR, "bias": "b_dec"}),
    "AutoEncoderNew": Layout("relu", {**_LINEAR, "decoder.bias": "b_dec"}, subtract_b_dec=False),
    "GatedAutoEncoder": Layout("gated", _GATED),
    # The class can use the threshold instead, but by default it and SAEBench take the k largest.
    "AutoEncoderTopK": Layout("topk", {**_LINEAR, "b_dec": "b_dec"}, ignored=frozenset({"k", "threshold"})),
    "BatchTopKSAE": Layout(
        "batchtopk", {**_LINEAR, "b_dec": "b_dec", "threshold": "threshold"}, ignored=frozenset({"k"})
    ),
    "MatryoshkaBatchTopKSAE": Layout("batchtopk", _PLAIN, ignored=frozenset({"k", "group_sizes"})),
    "JumpReluAutoEncoder": Layout("jumprelu", _PLAIN, subtract_b_dec=False),
}
_CLASS_OF_TRAINER = {
    "StandardTrainer": "AutoEncoder",
    "StandardTrainerAprilUpdate": "AutoEncoder",
    "PAnnealTrainer": "AutoEncoder",
    "GatedSAETrainer": "GatedAutoEncoder",
    "GatedAnnealTrainer": "GatedAutoEncoder",
    "TopKTrainer": "AutoEncoderTopK",
    "BatchTopKTrainer": "BatchTopKSAE",
    "MatryoshkaBatchTopKTrainer": "MatryoshkaBatchTopKSAE",
    "JumpReluTrainer": "JumpReluAutoEncoder",
}
# nn.Linear keeps its weight as (out, in), the transpose of ours. Used only if d_in = d_sae, when the shape cannot tell.
_TRANSPOSED = {"encoder.weight", "decoder.weight"}
_OF_OTHERS = {"k_tensor", "ae.k_tensor", "pre_bias", "encoder_linear.weight"}
"""Entries that only other projects' files have: seed 001's, OpenAI's, Goodfire's."""
# In a training backup these still have to be multiplied by the norm that activations were divided by.
_IN_UNITS_OF_X = {"b_enc", "b_dec", "threshold", "b_gate", "b_mag"}


def recognises(path: Path) -> bool:
    """A `.pt` file with a `config.json` beside it or one folder up, or a folder with both, and not another format's."""
    weights = path / WEIGHTS if path.is_dir() else path
    if weights.suffix != ".pt" or not weights.is_file() or not config_path_of(weights).is_file():
        return False
    return not _OF_OTHERS & set(shapes_in(weights)) and not qwen_scope.recognises(weights)


def companions(filename: str) -> tuple[str, ...]:
    """`config.json` beside a `.pt` file, or above it if the file is one of a run's `checkpoints/`."""
    path = PurePosixPath(filename)
    return ((_run_folder(path) / CONFIG).as_posix(),) if path.suffix == ".pt" else ()


def short_name(filename: str) -> str | None:
    """The folder of the training run, and the file if it is not the run's last; None for other formats' files."""
    path = PurePosixPath(filename)
    if re.fullmatch(r"ae(_\w+)?\.pt", path.name) is None:
        return None
    parts = [_run_folder(path).name, "" if path.name == WEIGHTS else path.stem]
    return "_".join(filter(None, parts))


def _run_folder(weights: PurePosixPath) -> PurePosixPath:
    return weights.parent.parent if weights.parent.name == "checkpoints" else weights.parent


def architecture_of(class_name: str) -> str | None:
    """Our architecture for a class or trainer of dictionary_learning; None where there is none."""
    layout = _LAYOUTS.get(_CLASS_OF_TRAINER.get(class_name, class_name))
    return layout.architecture if layout is not None else None


def read(path: Path, *, name: str, source: Mapping[str, Any]) -> Sae:
    """The SAE in `ae.pt`, its atoms scaled to norm 1 if that changes nothing else (`Sae.scaled_with_atoms`)."""
    weights = path / WEIGHTS if path.is_dir() else path
    config_path = config_path_of(weights)
    config = read_json(config_path, sae=name)
    trainer = required(config, "trainer", dict, sae=name, path=config_path)
    with naming_file(config_path):
        class_name = _class_name(trainer, name)
        site = trainer_site(trainer, name)
        model_name = _printable(trainer, "lm_name", sae=name) or "unknown"
        training_tokens = _training_tokens(config, weights, name)
    layout = _LAYOUTS[class_name]
    content = read_pickled(weights, sae=name)
    with naming_file(weights):
        tensors = _tensors(content, layout, trainer, class_name, name)
        d_sae, d_in = tensors["W_dec"].shape
        hyperparameters: dict[str, Any] = {"subtract_b_dec": layout.subtract_b_dec}
        if "k" in (option.name for option in fields(sae_class(layout.architecture).settings_type)):
            hyperparameters["k"] = _k(trainer, content, name)
        card = SaeCard(
            name=name,
            architecture=layout.architecture,
            site=site,
            d_in=d_in,
            d_sae=d_sae,
            model_name=model_name,
            hyperparameters=hyperparameters,
            source={**source, "dict_class": class_name, "trainer_class": trainer.get("trainer_class")},
            training_tokens=training_tokens,
        )
        return build_sae(card, fold_atom_norms(layout.architecture, tensors))


def config_path_of(weights: Path) -> Path:
    beside = weights.parent / CONFIG
    return weights.parent.parent / CONFIG if weights.parent.name == "checkpoints" and not beside.is_file() else beside


def _class_name(trainer: Mapping[str, Any], name: str) -> str:
    stated = _optional(trainer, "dict_class", str, sae=name)
    trainer_class = _printable(trainer, "trainer_class", sae=name)
    class_name = stated or _CLASS_OF_TRAINER.get(trainer_class or "")
    if class_name not in _LAYOUTS:
        raise UserError(
            f"SAE {name!r}: dict_class {shown(stated)}, trainer_class {shown(trainer_class)} is not supported; "
            f"supported: {', '.join(_LAYOUTS)}"
        )
    return str(class_name)


def trainer_site(trainer: Mapping[str, Any], name: str) -> Site:
    """From `layer` and `submodule_name`, for example 4 and `resid_post_layer_4`; by default the residual stream."""
    layer = trainer.get("layer")
    if not isinstance(layer, int) or isinstance(layer, bool) or not 0 <= layer < 10**6:
        raise UserError(f"SAE {name!r}: trainer.layer is {shown(layer)}, expected a layer number; correct the config")
    submodule = _optional(trainer, "submodule_name", str, sae=name)
    if submodule is None:
        return Site(layer, "resid_post")
    match = re.fullmatch(r"(resid_pre|resid_post|mlp_out|attn_out)(?:_layer_?([0-9]{1,6}))?", submodule)
    if match is None:
        raise UserError(
            f"SAE {name!r}: submodule_name {shown(submodule)} is not supported; "
            "supported: resid_pre, resid_post, mlp_out, attn_out"
        )
    if match[2] is not None and int(match[2]) != layer:
        raise UserError(f"SAE {name!r}: submodule_name {submodule!r} and trainer.layer {layer} disagree; correct one")
    return Site.parse(f"blocks.{layer}.hook_{match[1]}")


def _tensors(
    content: Mapping[str, Any], layout: Layout, trainer: Mapping[str, Any], class_name: str, name: str
) -> dict[str, Tensor]:
    """The checkpoint's tensors under our names, in our orientation and in units of the activations."""
    is_backup = isinstance(content.get("ae"), dict)
    state: Mapping[str, Any] = content["ae"] if is_backup else content
    missing = sorted(set(layout.keys) - set(state))
    unexpected = sorted(set(state) - set(layout.keys) - layout.ignored)
    if missing or unexpected:
        raise UserError(
            f"SAE {name!r}: not the checkpoint of a {class_name}: missing {', '.join(missing) or 'nothing'}, "
            f"unexpected {', '.join(unexpected) or 'nothing'}; correct dict_class or the file"
        )
    others = [key for key in layout.keys if not isinstance(state[key], Tensor)]
    if others:
        raise UserError(f"SAE {name!r}: {', '.join(others)} is not a tensor; the checkpoint is damaged, fetch it again")
    require_floats({key: state[key] for key in layout.keys}, sae=name)
    d_in, d_sae = _sizes(state, layout, trainer, name)
    tensors = {ours: _oriented(key, state[key], ours, d_in, d_sae, name) for key, ours in layout.keys.items()}
    factor = _norm_factor(content, name) if is_backup else 1.0
    return {ours: value * factor if ours in _IN_UNITS_OF_X else value for ours, value in tensors.items()}


def _norm_factor(content: Mapping[str, Any], name: str) -> float:
    """What the activations were divided by in training; 1 where the backup does not say."""
    if content.get("norm_factor") is None:
        return 1.0
    factor = _number(content["norm_factor"])
    if factor is None or not 0 < factor < math.inf:
        raise UserError(
            f"SAE {name!r}: norm_factor is {shown(content['norm_factor'])}, expected a number above 0; correct the "
            "backup, or take the run's ae.pt"
        )
    return factor


def _number(value: object) -> float | None:
    """`value`, a number or a tensor with one, as a float; None if it is neither."""
    if isinstance(value, Tensor) and value.numel() == 1 and value.dtype != torch.bool and not value.is_complex():
        return float(value)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _sizes(state: Mapping[str, Any], layout: Layout, trainer: Mapping[str, Any], name: str) -> tuple[int, int]:
    """d_in and d_sae from the biases, with which the config must agree."""
    key_of = {ours: key for key, ours in layout.keys.items()}
    d_in = state[key_of["b_dec"]].numel()
    d_sae = state[key_of["b_enc" if "b_enc" in key_of else "b_mag"]].numel()
    for option, size in (("activation_dim", d_in), ("dict_size", d_sae)):
        stated = _optional(trainer, option, int, sae=name)
        if stated is not None and stated != size:
            raise UserError(
                f"SAE {name!r}: the config says {option} = {stated}, the weights have {size}; are they of one run?"
            )
    return d_in, d_sae


def _oriented(key: str, tensor: Tensor, ours: str, d_in: int, d_sae: int, name: str) -> Tensor:
    """The tensor as (d_in, d_sae) or (d_sae, d_in); a threshold with one entry per latent."""
    if ours == "threshold":
        return _threshold(tensor, d_sae, name)
    if ours not in ("W_enc", "W_dec"):
        return tensor
    expected = (d_in, d_sae) if ours == "W_enc" else (d_sae, d_in)
    if tuple(tensor.shape) not in (expected, expected[::-1]):
        raise UserError(f"SAE {name!r}: {key} has shape {tuple(tensor.shape)}, expected {expected} or its transpose")
    is_transposed = key in _TRANSPOSED if d_in == d_sae else tuple(tensor.shape) != expected
    return tensor.T if is_transposed else tensor


def _threshold(tensor: Tensor, d_sae: int, name: str) -> Tensor:
    """One threshold per latent; a single number is the same for all."""
    if tensor.ndim:
        return tensor
    if float(tensor) < 0:
        raise UserError(
            f"SAE {name!r}: its threshold is {float(tensor):g} (unset), because training ended before it was learnt; "
            "train for longer, or use a later checkpoint"
        )
    return torch.full((d_sae,), float(tensor))


def _k(trainer: Mapping[str, Any], content: Mapping[str, Any], name: str) -> int:
    """k of the config or the checkpoint, which must agree if both have it."""
    state = content["ae"] if isinstance(content.get("ae"), dict) else content
    stated, stored = _optional(trainer, "k", int, sae=name), state.get("k")
    if stored is None:
        if stated is None:
            raise UserError(f"SAE {name!r}: neither config nor checkpoint says what k is; add trainer.k to the config")
        return stated
    number = _number(stored)
    if number is None or not number.is_integer():
        raise UserError(f"SAE {name!r}: its k is {shown(stored)}, expected a whole number; the checkpoint is damaged")
    if stated is not None and number != stated:
        raise UserError(
            f"SAE {name!r}: the checkpoint has k = {int(number)}, its config says k = {stated}; correct one"
        )
    return int(number)


def _training_tokens(config: Mapping[str, Any], weights: Path, name: str) -> int | None:
    """Steps times batch size if both are known; None for checkpoints from the middle of a run."""
    steps = _optional(config["trainer"], "steps", int, sae=name)
    buffer = _optional(config, "buffer", dict, sae=name) or {}
    batch = _optional(buffer, "out_batch_size", int, sae=name)
    if steps is None or batch is None or weights.name != WEIGHTS:
        return None
    return steps * batch
