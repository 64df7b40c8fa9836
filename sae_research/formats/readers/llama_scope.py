"""Llama Scope: `hyperparams.json` and `checkpoints/final.safetensors`, two nn.Linear called `encoder` and `decoder`.

relu(a) where a |atom| > jump_relu_threshold, one number for all, with a = y W_enc + b_enc and y = x sqrt(d_in) / (the
average norm of x); the reconstruction is scaled back. He et al. 2024, https://arxiv.org/abs/2410.20526
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from sae_research.errors import UserError
from sae_research.formats.layout import LINEAR, tensors_of
from sae_research.formats.openmoss import LM_CONFIG, assemble, folder_of, options_of, weights_in
from sae_research.formats.reading import naming_file, optional, read_json, read_tensors, required
from sae_research.saes.base import Sae

CONFIG = "hyperparams.json"


def recognises(path: Path) -> bool:
    """A folder with `hyperparams.json` and weights, or these weights."""
    folder = folder_of(path, CONFIG)
    return folder is not None and (weights_in(folder) if path.is_dir() else path) is not None


def companions(filename: str) -> tuple[str, ...]:
    """The configurations of the SAE and of its language model, beside `checkpoints/`."""
    folder = PurePosixPath(filename).parent.parent
    return tuple((folder / name).as_posix() for name in (CONFIG, LM_CONFIG)) if filename.endswith(".safetensors") else ()


def short_name(filename: str) -> str | None:
    """The folder of the SAE, where `filename` is its weights."""
    path = PurePosixPath(filename)
    return path.parent.parent.name if path.parent.name == "checkpoints" and path.suffix == ".safetensors" else None


def read(path: Path, *, name: str, source: Mapping[str, Any]) -> Sae:
    """The SAE in the folder."""
    folder = folder_of(path, CONFIG)
    weights = weights_in(path) if path.is_dir() else path
    assert folder is not None and weights is not None
    config_path = folder / CONFIG
    config = read_json(config_path, sae=name)
    options = options_of(config, config_path, name)
    state = read_tensors(weights, sae=name)
    with naming_file(weights):
        tensors = tensors_of(state, LINEAR, sae=name)
        if options.architecture == "jumprelu":
            tensors["threshold"] = torch.full_like(tensors["b_enc"], _number(config, "jump_relu_threshold", config_path, name))
        _check_sizes(config, tensors, config_path, name)
        norms = optional(config, "dataset_average_activation_norm", dict, sae=name, path=config_path) or {}
        return assemble(
            tensors,
            options,
            average_norm=_number(norms, "in", config_path, name) if norms else None,
            name=name,
            source=source,
            lm_config=folder / LM_CONFIG,
        )
