"""SAELens folders (`cfg.json` + `sae_weights.safetensors`): version 6 and older ones are read, version 6 is written.

The project stores every SAE in this form. What SAELens has no field for is in `cfg.json` under `sae_research`. SAELens
ignores that key and loads the folders of architectures that it knows (`About.sae_lens_names`) as its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from sae_research.errors import UserError
from sae_research.files import folder_in_the_making, write_atomically
from sae_research.formats.folding import fold_atom_norms, scale_latents
from sae_research.formats.reading import naming_file, read_json, read_safetensors, required
from sae_research.lm.site import Site
from sae_research.saes.base import Sae, SaeCard, check_tensors
from sae_research.saes.build import build_sae, held_tensors
from sae_research.saes.registry import about, architectures, sae_class

CONFIG, WEIGHTS, RUNNER = "cfg.json", "sae_weights.safetensors", "runner_cfg.json"
OURS = "sae_research"
SCHEMA = 1
# The version of the layout, which SAELens asks for; not that of an installed library.
_LAYOUT_VERSION = "6.0.0"


def recognises(path: Path) -> bool:
    """A folder with `cfg.json` and `sae_weights.safetensors`."""
    return (path / CONFIG).is_file() and (path / WEIGHTS).is_file()


def companions(_filename: str) -> tuple[str, ...]:
    """None: the folder has everything."""
    return ()


def read(path: Path, *, name: str, source: Mapping[str, Any]) -> Sae:
    """The SAE in a SAELens folder, called `name`."""
    config = read_json(path / CONFIG, sae=name)
    runner = read_json(path / RUNNER, sae=name) if (path / RUNNER).is_file() else {}
    tensors = read_safetensors(path / WEIGHTS, sae=name)
    with naming_file(path):
        if OURS in config:
            return _from_ours(config[OURS], config, tensors, name=name, source=source)
        tokens = runner.get("training_tokens")
        return from_lens(config, tensors, name=name, source=source, training_tokens=tokens)


def load_sae(folder: Path) -> Sae:
    """The SAE that `save_sae` wrote into `folder`, its digest checked."""
    config = read_json(folder / CONFIG, sae=folder.name)
    if OURS not in config:
        raise UserError(f"SAE {folder.name!r}: {folder} was not written by this project; run the setup stage")
    block = config[OURS]
    tensors = read_safetensors(folder / WEIGHTS, sae=folder.name)
    with naming_file(folder):
        sae = _from_ours(block, config, tensors, name=block["name"], source=block["source"])
    if sae.card.digest != block["digest"]:
        raise UserError(
            f"SAE {sae.card.name!r}: the content of {folder} is not what was written: its digest differs; "
            "delete the folder and run the setup stage again"
        )
    return sae


def save_sae(sae: Sae, folder: Path, *, scratch: Path | None = None) -> None:
    """Writes `folder` in SAELens' layout, whole or not at all, always the same bytes for the same SAE.

    The files are first written to `scratch` (default: beside `folder`), which must be on the same file system.
    """
    with folder_in_the_making(folder, scratch=scratch or folder.parent) as draft:
        write_folder(sae, draft)


def write_folder(sae: Sae, folder: Path) -> None:
    """Writes the files of an SAE's folder."""
    write_atomically(folder / WEIGHTS, safetensors_bytes(held_tensors(sae)))
    text = json.dumps(_config(sae.card), indent=2, sort_keys=True, allow_nan=False)
    write_atomically(folder / CONFIG, text + "\n")


def from_lens(
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    *,
    name: str,
    source: Mapping[str, Any],
    training_tokens: int | None = None,
) -> Sae:
    """The SAE that SAELens' configuration and state describe.

    Atoms are scaled to norm 1 if that changes nothing else, as in SAEBench. A TopK decoder is left alone, unless it was
    trained with `rescale_acts_by_decoder_norm`.
    """
    config = _modern(config)
    _refuse_unsupported(config, name)
    architecture = _architecture(config, name)
    weights = _weights(config, tensors, architecture, name)
    card = SaeCard(
        name=name,
        architecture=architecture,
        site=_site(config["metadata"].get("hook_name"), name),
        d_in=required(config, "d_in", int, sae=name, path=Path(CONFIG)),
        d_sae=required(config, "d_sae", int, sae=name, path=Path(CONFIG)),
        model_name=str(config["metadata"].get("model_name") or "unknown"),
        hyperparameters=_options(config, architecture, name),
        source=source,
        training_tokens=training_tokens if isinstance(training_tokens, int) else None,
    )
    check_tensors(card, sae_class(architecture).shapes, weights)
    return build_sae(card, fold_atom_norms(architecture, weights))


def _from_ours(
    block: Mapping[str, Any],
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    *,
    name: str,
    source: Mapping[str, Any],
) -> Sae:
    if block.get("schema") != SCHEMA:
        raise UserError(f"SAE {name!r}: its schema is {block.get('schema')!r}, expected {SCHEMA}; run setup again")
    card = SaeCard(
        name=name,
        architecture=block["architecture"],
        site=Site.parse(config["metadata"]["hook_name"]),
        d_in=config["d_in"],
        d_sae=config["d_sae"],
        model_name=config["metadata"]["model_name"],
        hyperparameters=block["hyperparameters"],
        source=source,
        training_tokens=block["training_tokens"],
    )
    return build_sae(card, tensors)


def _config(card: SaeCard) -> dict[str, Any]:
    """`cfg.json` of an SAE: SAELens' fields, then ours."""
    metadata: dict[str, Any] = {
        "hook_head_index": None,
        "hook_name": card.site.hook_name,
        "model_name": card.model_name,
        "sae_lens_version": _LAYOUT_VERSION,
        "sae_lens_training_version": None,
    }
    options = {key: value for key, value in card.hyperparameters.items() if key in {"k", "s"} and value is not None}
    declared = about(card.architecture)
    usual_name = next(iter(declared.sae_lens_names), card.architecture)
    return {
        "architecture": declared.sae_lens_saves_as or usual_name,
        "apply_b_dec_to_input": card.hyperparameters.get("subtract_b_dec", True),
        "d_in": card.d_in,
        "d_sae": card.d_sae,
        "device": "cpu",
        "dtype": "float32",
        "metadata": metadata,
        "normalize_activations": "none",
        "reshape_activations": "hook_z" if card.site.kind == "attn_z" else "none",
        **options,
        OURS: {
            "architecture": card.architecture,
            "digest": card.digest,
            "hyperparameters": dict(card.hyperparameters),
            "name": card.name,
            "schema": SCHEMA,
            "source": dict(card.source),
            "training_tokens": card.training_tokens,
        },
    }


def _modern(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration of SAELens in the terms of version 6."""
    if "metadata" in config:
        return dict(config)
    kwargs = config.get("activation_fn_kwargs") or {}
    activation = config.get("activation_fn_str") or config.get("activation_fn") or "relu"
    is_topk = activation == "topk" and "k" in kwargs
    normalised = config.get("normalize_activations")
    metadata = {
        "hook_name": config.get("hook_name") or config.get("hook_point"),
        "hook_head_index": config.get("hook_head_index", config.get("hook_point_head_index")),
        "model_name": config.get("model_name"),
    }
    return {
        **config,
        "metadata": metadata,
        "architecture": "topk" if is_topk else config.get("architecture", "standard"),
        **({"k": kwargs["k"]} if is_topk else {}),
        "normalize_activations": {True: "expected_average_only_in", False: "none", None: "none"}.get(
            normalised, normalised
        ),
    }


def _refuse_unsupported(config: Mapping[str, Any], name: str) -> None:
    """Refuses whatever would lead to wrong numbers if it were ignored."""
    normalised = config.get("normalize_activations", "none")
    if normalised != "none":
        raise UserError(
            f"SAE {name!r}: normalize_activations = {normalised!r} is not supported, expected 'none'; fold the "
            "normalisation into the weights first (SAELens: fold_activation_norm_scaling_factor)"
        )
    if config["metadata"].get("hook_head_index") is not None:
        raise UserError(
            f"SAE {name!r}: it reads a single attention head (hook_head_index), which is not supported; "
            "choose an SAE of all heads"
        )
    hook_name = str(config["metadata"].get("hook_name"))
    if config.get("reshape_activations", "none") not in {"none", "hook_z" if hook_name.endswith("hook_z") else "none"}:
        raise UserError(
            f"SAE {name!r}: reshape_activations = {config['reshape_activations']!r} is not supported at {hook_name}; "
            "expected 'none', or 'hook_z' at a hook that ends in hook_z"
        )


def _architecture(config: Mapping[str, Any], name: str) -> str:
    """Ours for SAELens' `architecture`, or for what it was trained as if that is saved under another's name."""
    stated, trained_as = config.get("architecture"), config["metadata"].get("training_architecture")
    by_name = {lens_name: ours for ours in architectures() for lens_name in about(ours).sae_lens_names}
    if stated not in by_name:
        raise UserError(
            f"SAE {name!r}: SAELens architecture {stated!r} is not supported; supported: {', '.join(sorted(by_name))}"
        )
    trained = by_name.get(trained_as)
    return trained if trained is not None and about(trained).sae_lens_saves_as == stated else by_name[stated]


def _options(config: Mapping[str, Any], architecture: str, name: str) -> dict[str, Any]:
    """The options of the architecture, as far as the configuration has them."""
    stated = {**config, **(config["metadata"].get("training_architecture_details") or {})}
    options: dict[str, Any] = {}
    for option in fields(sae_class(architecture).settings_type):
        if option.name == "subtract_b_dec":
            options["subtract_b_dec"] = bool(config.get("apply_b_dec_to_input", True))
        elif stated.get(option.name) is not None:
            options[option.name] = stated[option.name]
        elif option.default is MISSING and option.default_factory is MISSING:
            raise UserError(f"SAE {name!r}: {CONFIG} gives no {option.name!r}; it has: {', '.join(config)}")
    return options


def _site(hook_name: Any, name: str) -> Site:
    if not isinstance(hook_name, str):
        raise UserError(f"SAE {name!r}: {CONFIG} names no hook; add metadata.hook_name")
    try:
        return Site.parse(hook_name)
    except UserError as error:
        raise UserError(f"SAE {name!r}: {error}") from error


def _weights(
    config: Mapping[str, Any], tensors: Mapping[str, Tensor], architecture: str, name: str
) -> dict[str, Tensor]:
    """The tensors that inference needs, from those of a finished SAE or of a training checkpoint."""
    weights = {key: value.float() for key, value in tensors.items()}
    scaling = weights.pop("scaling_factor", None)
    if scaling is not None and not torch.allclose(scaling, torch.ones_like(scaling)):
        raise UserError(
            f"SAE {name!r}: it was fine-tuned with a scaling_factor, which is not supported; use the SAE from before"
        )
    has_threshold = "threshold" in sae_class(architecture).shapes
    if has_threshold and "log_threshold" in weights:
        weights["threshold"] = weights.pop("log_threshold").exp()
    if config.get("rescale_acts_by_decoder_norm") and {"W_enc", "b_enc", "W_dec"} <= set(weights):
        weights = scale_latents(weights, ("W_enc", "b_enc"))
    if has_threshold and {"topk_threshold", "b_enc"} <= set(weights):
        weights["threshold"] = torch.full_like(weights["b_enc"], float(weights.pop("topk_threshold")))
    return weights
