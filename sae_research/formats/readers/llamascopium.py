"""Llamascopium (OpenMOSS): `config.json` and `sae_weights.safetensors` with `W_E`, `b_E`, `W_D`, `b_D`.

Llama Scope R1-Distill is of an earlier version: `encoder.weight` and so on. a = y W_enc + b_enc with y = x sqrt(d_in) /
(the average norm of x, which the file has); ReLU, JumpReLU and TopK decide by a |atom|; the reconstruction is scaled
back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sae_research.errors import UserError
from sae_research.foreign import read_json_object, shown
from sae_research.formats import openmoss
from sae_research.formats.layout import LINEAR, Layout, tensors_of
from sae_research.formats.reading import naming_file, optional, read_json, required
from sae_research.saes.base import Sae

CONFIG = "config.json"
_NORM = "dataset_average_activation_norm."
_TODAY = Layout({"W_E": "W_enc", "b_E": "b_enc", "W_D": "W_dec", "b_D": "b_dec"}, transposed=frozenset())
_THRESHOLDS = ("activation_function.log_jumprelu_threshold", "log_jumprelu_threshold")


def recognises(path: Path) -> bool:
    """A folder with weights and a `config.json` that says `hook_point_in` and `norm_activation`, or these weights."""
    files = openmoss.files_at(path, CONFIG)
    if files is None:
        return False
    try:
        config = read_json_object(files.config, remedy="")
    except UserError:
        return False
    return {"hook_point_in", "norm_activation"} <= set(config) or "sae_type" in config


def companions(filename: str) -> tuple[str, ...]:
    """The configurations of the SAE and of its language model."""
    return openmoss.companions_of(filename, CONFIG)


def short_name(filename: str) -> str | None:
    """The folder of the SAE."""
    return openmoss.name_of(filename)


def read(path: Path, *, name: str, source: Mapping[str, Any]) -> Sae:
    """The SAE in the folder."""
    files = openmoss.files_at(path, CONFIG)
    assert files is not None
    config = read_json(files.config, sae=name)
    kind = optional(config, "sae_type", str, sae=name, path=files.config) or "sae"
    if kind != "sae":
        raise UserError(
            f"SAE {name!r}: {files.config}: sae_type is {shown(kind)}; only 'sae' reconstructs the activation that it "
            "reads, which is what is measured"
        )
    options = openmoss.options_of(config, files.config, name)
    state = openmoss.read_state(files, sae=name)
    with naming_file(files.weights):
        norms = {key.removeprefix(_NORM): state.pop(key) for key in list(state) if key.startswith(_NORM)}
        average_norm = norms.get(options.hooks[0])
        tensors = _tensors(state, config, files.config, name, has_threshold=options.architecture == "jumprelu")
        openmoss.check_sizes(config, tensors, files.config, name)
        return openmoss.assemble(
            tensors,
            options,
            average_norm=None if average_norm is None else float(average_norm),
            files=files,
            name=name,
            source=source,
        )


def _tensors(
    state: Mapping[str, Any], config: Mapping[str, Any], path: Path, name: str, *, has_threshold: bool
) -> dict[str, Tensor]:
    """The tensors under our names, a missing decoder bias as zeros."""
    layout = _TODAY if "W_E" in state else LINEAR
    bias = next(key for key, ours in layout.keys.items() if ours == "b_dec")
    if optional(config, "use_decoder_bias", bool, sae=name, path=path) is False:
        state = {**state, bias: torch.zeros(required(config, "d_model", int, sae=name, path=path))}
    if has_threshold:
        key = next((key for key in _THRESHOLDS if key in state), _THRESHOLDS[0])
        layout = replace(layout, keys={**layout.keys, key: "threshold"})
    tensors = tensors_of(state, layout, sae=name)
    if has_threshold:
        tensors["threshold"] = tensors["threshold"].exp()
    return tensors
