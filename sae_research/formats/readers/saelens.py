"""SAELens folders (`cfg.json` + `sae_weights.safetensors`): version 6 and older ones are read, version 6 is written.

The project stores every SAE in this form. What SAELens has no field for is in `cfg.json` under `sae_research`. SAELens
ignores that key and loads the folders of architectures that it knows (`About.sae_lens_names`) as its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from sae_research.errors import UserError
from sae_research.files import folder_in_the_making, write_atomically
from sae_research.foreign import reading, shown
from sae_research.formats.folding import fold_atom_norms, scale_latents
from sae_research.formats.lens_config import (
    BY_FACTOR,
    CENTRED,
    CONFIG,
    WHITENED,
    begins_with_bos,
    folded,
    input_norm_of,
    modern,
    refuse_unknown_keys,
    refuse_unsupported,
    site_of,
    warn_of_other_input,
)
from sae_research.formats.lens_scaler import UNSCALED, Scaler, fold_factor, fold_whitening, read_scaler
from sae_research.formats.reading import (
    naming_file,
    optional,
    printable,
    read_json,
    read_safetensors,
    require_floats,
    required,
)
from sae_research.saes.base import Sae, SaeCard, check_tensors
from sae_research.saes.build import build_sae, held_tensors
from sae_research.saes.registry import about, architectures, sae_class

WEIGHTS, RUNNER = "sae_weights.safetensors", "runner_cfg.json"
OURS = "sae_research"
SCHEMA = 1
# The version of the layout, which SAELens asks for; not that of an installed library.
_LAYOUT_VERSION = "6.0.0"

_required, _optional, _printable = (partial(get, path=Path(CONFIG)) for get in (required, optional, printable))


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
    scaler = read_scaler(path, sae=name)
    with naming_file(path):
        if OURS in config:
            return _from_ours(config, tensors, name=name, source=source)
        tokens = runner.get("training_tokens")
        return from_lens(config, tensors, name=name, source=source, scaler=scaler, training_tokens=tokens)


def load_sae(folder: Path) -> Sae:
    """The SAE that `save_sae` wrote into `folder`, its digest checked."""
    config = read_json(folder / CONFIG, sae=folder.name)
    if OURS not in config:
        raise UserError(f"SAE {folder.name!r}: {folder} was not written by this project; run the setup stage")
    tensors = read_safetensors(folder / WEIGHTS, sae=folder.name)
    with reading(folder, remedy="run the setup stage again"), naming_file(folder):
        block = _required(config, OURS, dict, sae=folder.name)
        field = partial(_required, block, sae=folder.name)
        return _from_ours(config, tensors, name=field("name", str), source=field("source", dict))


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
    scaler: Scaler = UNSCALED,
    training_tokens: int | None = None,
) -> Sae:
    """The SAE that SAELens' configuration and state describe.

    Atoms are scaled to norm 1 if that changes nothing else, as in SAEBench. A TopK decoder is left alone, unless it was
    trained with `rescale_acts_by_decoder_norm`.
    """
    stated, config = config, modern(config, name)
    refuse_unsupported(config, scaler, name)
    warn_of_other_input(config, name)
    architecture = _architecture(config, name)
    refuse_unknown_keys(stated, (option.name for option in fields(sae_class(architecture).settings_type)), name)
    weights = _weights(config, tensors, architecture, scaler, name)
    card = SaeCard(
        name=name,
        architecture=architecture,
        site=site_of(config["metadata"], name),
        d_in=_required(config, "d_in", int, sae=name),
        d_sae=_required(config, "d_sae", int, sae=name),
        model_name=_printable(config["metadata"], "model_name", sae=name) or "unknown",
        hyperparameters=_options(config, architecture, scaler, name),
        source=source,
        training_tokens=training_tokens if isinstance(training_tokens, int) else None,
        prepend_bos=begins_with_bos(config["metadata"], name),
        input_norm=input_norm_of(config, name),
    )
    check_tensors(card, sae_class(architecture).shapes, weights)
    return build_sae(card, fold_atom_norms(architecture, weights))


def _from_ours(
    config: Mapping[str, Any], tensors: Mapping[str, Tensor], *, name: str, source: Mapping[str, Any]
) -> Sae:
    """The SAE in a folder that the project wrote, its digest checked."""
    field = partial(_required, sae=name)
    block, metadata = field(config, OURS, dict), field(config, "metadata", dict)
    if field(block, "schema", int) != SCHEMA:
        raise UserError(f"SAE {name!r}: its schema is {block['schema']}, expected {SCHEMA}; run setup again")
    require_floats(tensors, sae=name)
    card = SaeCard(
        name=name,
        architecture=field(block, "architecture", str),
        site=site_of(metadata, name),
        d_in=field(config, "d_in", int),
        d_sae=field(config, "d_sae", int),
        model_name=_printable(metadata, "model_name", sae=name) or "unknown",
        hyperparameters=field(block, "hyperparameters", dict),
        source=source,
        training_tokens=_optional(block, "training_tokens", int, sae=name),
        prepend_bos=begins_with_bos(metadata, name),
        input_norm=input_norm_of(config, name),
    )
    sae = build_sae(card, tensors)
    if sae.card.digest != field(block, "digest", str):
        raise UserError(
            f"SAE {name!r}: the content of its folder is not what was written: its digest differs; delete the folder "
            "and run the setup stage again, or fetch it again"
        )
    return sae


def _config(card: SaeCard) -> dict[str, Any]:
    """`cfg.json` of an SAE: SAELens' fields, then ours."""
    metadata: dict[str, Any] = {
        "hook_head_index": None,
        "hook_name": card.site.hook_name,
        "model_name": card.model_name,
        "sae_lens_version": _LAYOUT_VERSION,
        "sae_lens_training_version": None,
        **({"model_from_pretrained_kwargs": {CENTRED: True}} if card.site.centred else {}),
        **({} if card.prepend_bos else {"prepend_bos": False}),
    }
    options = {key: value for key, value in card.hyperparameters.items() if key in {"k", "s"} and value is not None}
    declared = about(card.architecture)
    return {
        "architecture": declared.sae_lens_saves_as or next(iter(declared.sae_lens_names), card.architecture),
        "apply_b_dec_to_input": card.hyperparameters.get("subtract_b_dec", True),
        "d_in": card.d_in,
        "d_sae": card.d_sae,
        "device": "cpu",
        "dtype": "float32",
        "metadata": metadata,
        "normalize_activations": card.input_norm,
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


def _architecture(config: Mapping[str, Any], name: str) -> str:
    """Ours for SAELens' `architecture`, or for what it was trained as if that is saved under another's name."""
    stated = _required(config, "architecture", str, sae=name)
    trained_as = _optional(config["metadata"], "training_architecture", str, sae=name)
    by_name = {lens_name: ours for ours in architectures() for lens_name in about(ours).sae_lens_names}
    if stated not in by_name:
        raise UserError(
            f"SAE {name!r}: SAELens architecture {shown(stated)} is not supported; supported: "
            + ", ".join(sorted(by_name))
        )
    trained = by_name.get(trained_as or "")
    return trained if trained is not None and about(trained).sae_lens_saves_as == stated else by_name[stated]


def _options(config: Mapping[str, Any], architecture: str, scaler: Scaler, name: str) -> dict[str, Any]:
    """The options of the architecture, as far as the configuration has them."""
    details = _optional(config["metadata"], "training_architecture_details", dict, sae=name) or {}
    stated = {**config, **details}
    factor = scaler.factor if folded(config, name) == BY_FACTOR else None
    options: dict[str, Any] = {}
    for option in fields(sae_class(architecture).settings_type):
        if option.name == "subtract_b_dec":
            options["subtract_b_dec"] = _optional(config, "apply_b_dec_to_input", bool, sae=name) is not False
        elif option.name == "residual_threshold" and factor is not None:
            # It is in the units of what the pursuit reads.
            options[option.name] = _required(stated, option.name, float, sae=name) / factor
        elif stated.get(option.name) is not None:
            options[option.name] = stated[option.name]
        elif option.default is MISSING and option.default_factory is MISSING:
            raise UserError(f"SAE {name!r}: {CONFIG} gives no {option.name!r}; it has: {', '.join(config)}")
    return options


def _weights(
    config: Mapping[str, Any], tensors: Mapping[str, Tensor], architecture: str, scaler: Scaler, name: str
) -> dict[str, Tensor]:
    """The tensors that inference needs, from those of a finished SAE or of a training checkpoint."""
    require_floats(tensors, sae=name)
    weights = {key: value.float() for key, value in tensors.items()}
    scaling = weights.pop("scaling_factor", None)
    if scaling is not None and not torch.allclose(scaling, torch.ones_like(scaling)):
        raise UserError(
            f"SAE {name!r}: it was fine-tuned with a scaling_factor, which is not supported; use the SAE from before"
        )
    has_threshold = "threshold" in sae_class(architecture).shapes
    if has_threshold and "log_threshold" in weights:
        weights["threshold"] = weights.pop("log_threshold").exp()
    if has_threshold and {"topk_threshold", "b_enc"} <= set(weights):
        weights["threshold"] = torch.full_like(weights["b_enc"], float(weights.pop("topk_threshold")))
    if set(weights) != set(sae_class(architecture).shapes):
        return weights  # `check_tensors` says what is wrong
    return _as_computed(config, weights, scaler, name)


def _as_computed(config: Mapping[str, Any], weights: dict[str, Tensor], scaler: Scaler, name: str) -> dict[str, Tensor]:
    """The weights with all that SAELens does around them folded in."""
    reads_b_dec = _optional(config, "apply_b_dec_to_input", bool, sae=name) is not False
    if not reads_b_dec and "W_enc" not in weights:
        # Its pursuit of an SAE that does not subtract b_dec does not add it either.
        weights = {**weights, "b_dec": torch.zeros_like(weights["b_dec"])}
    is_jumprelu = config["architecture"] == "jumprelu"  # for which SAELens ignores the option
    rescaled = _optional(config, "rescale_acts_by_decoder_norm", bool, sae=name) and not is_jumprelu
    if rescaled and "b_enc" in weights:
        weights = scale_latents(weights, ("W_enc", "b_enc"))
    normalised = folded(config, name)
    if normalised == BY_FACTOR and scaler.factor is not None:
        weights = fold_factor(weights, scaler.factor)
        if rescaled:
            weights = scale_latents(weights, tuple(key for key in weights if key not in ("W_dec", "b_dec")))
    if normalised == WHITENED and scaler.whitening is not None:
        weights = fold_whitening(weights, scaler.whitening, subtracts_b_dec=reads_b_dec, sae=name)
    return weights
