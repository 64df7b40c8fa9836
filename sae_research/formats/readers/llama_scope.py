"""Llama Scope: `hyperparams.json` and `checkpoints/final.safetensors`, two nn.Linear called `encoder` and `decoder`.

relu(a) where a |atom| > jump_relu_threshold, one number for all, with a = y W_enc + b_enc and y = x sqrt(d_in) / (the
average norm of x); the reconstruction is scaled back. He et al. 2024, https://arxiv.org/abs/2410.20526
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from sae_research.formats import openmoss
from sae_research.formats.layout import LINEAR, tensors_of
from sae_research.formats.reading import naming_file, optional, read_json
from sae_research.saes.base import Sae

CONFIG = "hyperparams.json"


def recognises(path: Path) -> bool:
    """A folder with `hyperparams.json` and weights, or these weights."""
    return openmoss.files_at(path, CONFIG) is not None


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
    options = openmoss.options_of(config, files.config, name)
    norms = optional(config, "dataset_average_activation_norm", dict, sae=name, path=files.config)
    average_norm = openmoss.number(norms, "in", files.config, name) if norms else None
    state = openmoss.read_state(files, sae=name)
    with naming_file(files.weights):
        tensors = tensors_of(state, LINEAR, sae=name)
        openmoss.check_sizes(config, tensors, files.config, name)
        if options.architecture == "jumprelu":
            threshold = openmoss.number(config, "jump_relu_threshold", files.config, name)
            tensors["threshold"] = torch.full_like(tensors["b_enc"], threshold)
        return openmoss.assemble(tensors, options, average_norm=average_norm, files=files, name=name, source=source)
