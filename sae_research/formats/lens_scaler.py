"""The scaling of activations that SAELens keeps beside a training checkpoint, folded into the weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from sae_research.errors import UserError
from sae_research.foreign import shown
from sae_research.formats.reading import read_json, read_safetensors, require_floats

SCALER, WHITENING = "activation_scaler.json", "activation_whitening.safetensors"
_SHIFTED = ("b_enc", "b_gate", "b_mag")
"""Biases of encoders that see the activation without `b_dec` subtracted."""


class Scaler(NamedTuple):
    """y = (x - mean) matrix, or y = x factor; an SAE in terms of y becomes one in terms of x."""

    factor: float | None = None
    whitening: Mapping[str, Tensor] | None = None
    """`mean` (d_in), `matrix` and `inverse_matrix` (d_in, d_in)."""


UNSCALED = Scaler()


def read_scaler(folder: Path, *, sae: str) -> Scaler:
    """What the folder says about the scaling; nothing if it has no `activation_scaler.json`."""
    path = folder / SCALER
    if not path.is_file():
        return UNSCALED
    config = read_json(path, sae=sae)
    factor = config.get("scaling_factor")
    is_number = isinstance(factor, int | float) and not isinstance(factor, bool)
    if factor is not None and not (is_number and 0 < factor < float("inf")):
        raise UserError(f"SAE {sae!r}: {path}: scaling_factor is {shown(factor)}, expected a number above 0")
    whitening = None
    if (folder / WHITENING).is_file() and config.get("has_whitening", True) is not False:
        whitening = read_safetensors(folder / WHITENING, sae=sae)
        require_floats(whitening, sae=sae)
    return Scaler(factor, whitening)


def fold_factor(tensors: Mapping[str, Tensor], factor: float) -> dict[str, Tensor]:
    """The SAE of x that encodes as the given one encodes x times `factor`.

    Codes are the same, but for those of a pursuit: they are divided by `factor`, and its atoms stay.
    """
    changed = {"b_dec": tensors["b_dec"].double() / factor}
    if "W_enc" in tensors:
        changed |= {"W_dec": tensors["W_dec"].double() / factor, "W_enc": tensors["W_enc"].double() * factor}
    return {**tensors, **{name: tensor.float() for name, tensor in changed.items()}}


def fold_whitening(
    tensors: Mapping[str, Tensor], whitening: Mapping[str, Tensor], *, subtracts_b_dec: bool, sae: str
) -> dict[str, Tensor]:
    """The SAE of x that encodes as the given one encodes (x - mean) matrix. Codes are the same."""
    d_in = len(tensors["b_dec"])
    mean = _checked(whitening, "mean", (d_in,), sae)
    matrix = _checked(whitening, "matrix", (d_in, d_in), sae)
    inverse = _checked(whitening, "inverse_matrix", (d_in, d_in), sae)
    W_enc = matrix @ tensors["W_enc"].double()
    changed = {
        "W_enc": W_enc,
        "W_dec": tensors["W_dec"].double() @ inverse,
        "b_dec": tensors["b_dec"].double() @ inverse + mean,
    }
    if not subtracts_b_dec:
        shift = mean @ W_enc
        for name in _SHIFTED:
            if name in tensors:
                gain = tensors["r_mag"].double().exp() if name == "b_mag" else 1
                changed[name] = tensors[name].double() - shift * gain
    return {**tensors, **{name: tensor.float() for name, tensor in changed.items()}}


def _checked(whitening: Mapping[str, Tensor], name: str, shape: tuple[int, ...], sae: str) -> Tensor:
    tensor = whitening.get(name)
    if tensor is None or tuple(tensor.shape) != shape or not bool(torch.isfinite(tensor).all()):
        got = "none" if tensor is None else f"one of shape {tuple(tensor.shape)}"
        raise UserError(f"SAE {sae!r}: {WHITENING} should hold a finite {name} of shape {shape}, it has {got}")
    return tensor.double()
