"""SAELens folders (`cfg.json` + `sae_weights.safetensors`): read in version 6 and before, written in version 6.

Also the form in which the project keeps every SAE. What SAELens has no field for stands in `cfg.json` under
`sae_research`; SAELens ignores that key and reads relu, topk, batchtopk, jumprelu and gated folders as its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
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
from sae_research.saes.registry import sae_class

CONFIG, WEIGHTS, RUNNER = "cfg.json", "sae_weights.safetensors", "runner_cfg.json"
OURS = "sae_research"
SCHEMA = 1
# The version of the layout, which SAELens asks for; not that of an installed library.
_LAYOUT_VERSION = "6.0.0"

_OUR_NAME = {
    "standard": "relu", "topk": "topk", "jumprelu": "jumprelu", "gated": "gated",
    "batchtopk": "batchtopk", "matryoshka_batchtopk": "batchtopk",
}  # fmt: skip
# Trained as these, SAELens saves them as jumprelu.
_BATCHTOPK = {"batchtopk", "matryoshka_batchtopk"}
_LENS_NAME = {"relu": "standard", "batchtopk": "jumprelu"}


@dataclass(frozen=True)
class _Parsed:
    """A `cfg.json` in our terms."""

    architecture: str
    site: Site
    model_name: str
    hyperparameters: dict[str, Any]


def recognises(path: Path) -> bool:
    """A folder with `cfg.json` and `sae_weights.safetensors`."""
    return (path / CONFIG).is_file() and (path / WEIGHTS).is_file()


def companions(_filename: str) -> tuple[str, ...]:
    """None: the folder is all."""
    return ()


def short_name(_filename: str) -> None:
    """The folder's own name."""
    return None


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
    kept = config[OURS]
    tensors = read_safetensors(folder / WEIGHTS, sae=folder.name)
    with naming_file(folder):
        sae = _from_ours(kept, config, tensors, name=kept["name"], source=kept["source"])
    if sae.card.digest != kept["digest"]:
        raise UserError(
            f"SAE {sae.card.name!r}: the content of {folder} is not what was written (its digest differs); "
            "delete the folder and run the setup stage again"
        )
    return sae


def save_sae(sae: Sae, folder: Path, *, scratch: Path | None = None) -> None:
    """Writes `folder` in SAELens' layout, whole or not at all, always the same bytes for the same SAE.

    It is made in `scratch` (default: beside `folder`), which must be on the same file system.
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

    Atoms come in norm 1 where that changes nothing else, as SAEBench has it; a TopK decoder stays as it is, unless
    it was trained with `rescale_acts_by_decoder_norm`.
    """
    config = _modern(config)
    _refuse_unsupported(config, name)
    parsed = _parsed(config, name)
    weights = _weights(config, tensors, parsed.architecture, name)
    card = SaeCard(
        name=name,
        architecture=parsed.architecture,
        site=parsed.site,
        d_in=_whole(config, "d_in", name),
        d_sae=_whole(config, "d_sae", name),
        model_name=parsed.model_name,
        hyperparameters=parsed.hyperparameters,
        source=source,
        training_tokens=training_tokens if isinstance(training_tokens, int) else None,
    )
    check_tensors(card, sae_class(parsed.architecture).shapes, weights)
    return build_sae(card, fold_atom_norms(parsed.architecture, weights))


def _from_ours(
    kept: Mapping[str, Any],
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    *,
    name: str,
    source: Mapping[str, Any],
) -> Sae:
    if kept.get("schema") != SCHEMA:
        raise UserError(f"SAE {name!r}: written in form {kept.get('schema')!r}, expected {SCHEMA}; run setup again")
    card = SaeCard(
        name=name,
        architecture=kept["architecture"],
        site=Site.parse(config["metadata"]["hook_name"]),
        d_in=config["d_in"],
        d_sae=config["d_sae"],
        model_name=config["metadata"]["model_name"],
        hyperparameters=kept["hyperparameters"],
        source=source,
        training_tokens=kept["training_tokens"],
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
    return {
        "architecture": _LENS_NAME.get(card.architecture, card.architecture),
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
    """A configuration of SAELens before version 6 in the terms of version 6; a newer one as it is."""
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
    """Refuses whatever would be computed wrongly if it were passed over."""
    architecture = config.get("architecture")
    if architecture not in _OUR_NAME:
        raise UserError(
            f"SAE {name!r}: SAELens architecture {architecture!r} is not supported; supported: {', '.join(_OUR_NAME)}"
        )
    normalised = config.get("normalize_activations", "none")
    if normalised != "none":
        raise UserError(
            f"SAE {name!r}: normalize_activations = {normalised!r} is not supported, expected 'none'; fold the "
            "normalisation into the weights first (SAELens: fold_activation_norm_scaling_factor)"
        )
    if config["metadata"].get("hook_head_index") is not None:
        raise UserError(f"SAE {name!r}: it reads a single attention head (hook_head_index), which is not supported")
    hook_name = str(config["metadata"].get("hook_name"))
    if config.get("reshape_activations", "none") not in {"none", "hook_z" if hook_name.endswith("hook_z") else "none"}:
        raise UserError(f"SAE {name!r}: reshape_activations = {config['reshape_activations']!r} is not supported")


def _parsed(config: Mapping[str, Any], name: str) -> _Parsed:
    metadata = config["metadata"]
    if not isinstance(metadata.get("hook_name"), str):
        raise UserError(f"SAE {name!r}: {CONFIG} names no hook (metadata.hook_name); add it")
    lens_name = config["architecture"]
    as_batchtopk = lens_name == "jumprelu" and metadata.get("training_architecture") in _BATCHTOPK
    architecture = "batchtopk" if as_batchtopk else _OUR_NAME[lens_name]
    hyperparameters: dict[str, Any] = {"subtract_b_dec": bool(config.get("apply_b_dec_to_input", True))}
    if architecture == "topk":
        hyperparameters["k"] = _whole(config, "k", name)
    if architecture == "batchtopk":
        k = (metadata.get("training_architecture_details") or {}).get("k", config.get("k"))
        hyperparameters["k"] = None if k is None else float(k)
    model_name = str(metadata.get("model_name") or "unknown")
    return _Parsed(architecture, _site(metadata["hook_name"], name), model_name, hyperparameters)


def _site(hook_name: str, name: str) -> Site:
    try:
        return Site.parse(hook_name)
    except UserError as error:
        raise UserError(f"SAE {name!r}: {error}") from error


def _weights(
    config: Mapping[str, Any], tensors: Mapping[str, Tensor], architecture: str, name: str
) -> dict[str, Tensor]:
    """The tensors of an SAE at inference, from those of a finished one or of a training checkpoint."""
    weights = {key: value.float() for key, value in tensors.items()}
    scaling = weights.pop("scaling_factor", None)
    if scaling is not None and not torch.allclose(scaling, torch.ones_like(scaling)):
        raise UserError(f"SAE {name!r}: it was fine-tuned with a scaling_factor, which is not supported")
    if architecture == "jumprelu" and "log_threshold" in weights:
        weights["threshold"] = weights.pop("log_threshold").exp()
    rescaled = bool(config.get("rescale_acts_by_decoder_norm")) and {"W_enc", "b_enc", "W_dec"} <= set(weights)
    if rescaled:
        weights = scale_latents(weights, ("W_enc", "b_enc"))
    if architecture == "batchtopk" and "topk_threshold" in weights and "b_enc" in weights:
        weights["threshold"] = torch.full_like(weights["b_enc"], float(weights.pop("topk_threshold")))
    return weights


def _whole(config: Mapping[str, Any], key: str, name: str) -> int:
    return required(config, key, int, sae=name, path=Path(CONFIG))
