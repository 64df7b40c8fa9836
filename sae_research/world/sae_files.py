"""Writes the world's SAEs in the formats of published ones: dictionary_learning's and SAELens'."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as safetensors_bytes

from sae_research.files import write_atomically
from sae_research.world.sae_plan import HOOK_LAYER, HOOK_NAME
from sae_research.world.sae_training import MadeSae
from sae_research.world.settings import Recipe

MODEL_NAME = "embedded/lm"
_LAYOUT_VERSION = "6.0.0"
_SAVED_AS = {"batchtopk": "jumprelu"}


def write_sae(made: MadeSae, models: Path, recipe: Recipe) -> None:
    """Writes the SAE's files at its place below `models`."""
    folder = models / made.plan.folder
    if made.plan.architecture == "relu":
        _write_dictionary_learning(made, folder, recipe)
    else:
        _write_saelens(made, folder, recipe)


def _write_dictionary_learning(made: MadeSae, folder: Path, recipe: Recipe) -> None:
    """`ae.pt`, the state of an `AutoEncoder`, and `config.json`."""
    tensors = made.tensors
    state = {
        "bias": tensors["b_dec"].clone(),
        "encoder.weight": tensors["W_enc"].T.contiguous(),
        "encoder.bias": tensors["b_enc"].clone(),
        "decoder.weight": tensors["W_dec"].T.contiguous(),
    }
    d_sae, d_in = tensors["W_dec"].shape
    trainer = {
        "trainer_class": "StandardTrainer", "dict_class": "AutoEncoder", "activation_dim": d_in, "dict_size": d_sae,
        "layer": HOOK_LAYER, "lm_name": MODEL_NAME, "submodule_name": f"resid_post_layer_{HOOK_LAYER}",
        "steps": recipe.sae_steps, "target_l0": made.plan.sparsity,
    }  # fmt: skip
    buffer = {"ctx_len": recipe.context_size, "d_submodule": d_in, "io": "out", "out_batch_size": recipe.sae_batch_size}
    content = io.BytesIO()
    torch.save(state, content)
    write_atomically(folder / "ae.pt", content.getvalue())
    _write_json(folder / "config.json", {"trainer": trainer, "buffer": buffer})


def _write_saelens(made: MadeSae, folder: Path, recipe: Recipe) -> None:
    """`sae_weights.safetensors`, `cfg.json` and `runner_cfg.json` of SAELens 6."""
    tensors = {name: tensor.contiguous() for name, tensor in made.tensors.items()}
    write_atomically(folder / "sae_weights.safetensors", safetensors_bytes(tensors))
    _write_json(folder / "cfg.json", _saelens_config(made, recipe))
    _write_json(folder / "runner_cfg.json", {"training_tokens": made.training_tokens})


def _saelens_config(made: MadeSae, recipe: Recipe) -> dict[str, Any]:
    plan = made.plan
    d_sae, d_in = made.tensors["W_dec"].shape
    architecture = _SAVED_AS.get(plan.architecture, plan.architecture)
    metadata: dict[str, Any] = {
        "context_size": recipe.context_size,
        "dataset_path": "embedded/text",
        "exclude_special_tokens": True,
        "hook_head_index": None,
        "hook_name": HOOK_NAME,
        "model_name": MODEL_NAME,
        "prepend_bos": True,
        "sae_lens_training_version": None,
        "sae_lens_version": _LAYOUT_VERSION,
        "sequence_separator_token": "bos",
        "training_architecture": plan.architecture,
        "training_tokens": made.training_tokens,
    }
    if plan.architecture == "batchtopk":
        metadata["training_architecture_details"] = {"k": plan.sparsity}
    return {
        "apply_b_dec_to_input": True,
        "architecture": architecture,
        "d_in": d_in,
        "d_sae": d_sae,
        "device": "cpu",
        "dtype": "float32",
        "metadata": metadata,
        "normalize_activations": "none",
        "reshape_activations": "none",
        **({"k": plan.sparsity, "rescale_acts_by_decoder_norm": False} if architecture == "topk" else {}),
    }


def _write_json(path: Path, value: Any) -> None:
    write_atomically(path, json.dumps(value, indent=2, sort_keys=True) + "\n")
