"""SAELens' `cfg.json`, old and new: brought to one form, refused where it cannot be followed, and what it reads."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from sae_research.errors import UserError
from sae_research.foreign import shown
from sae_research.formats.lens_scaler import SCALER, Scaler
from sae_research.formats.reading import optional, required
from sae_research.formats.refused import PREDICTS, TRANSCODER
from sae_research.lm.site import Site
from sae_research.saes.normalisation import NORMALISATIONS, Normalisation

log = logging.getLogger(__name__)

CONFIG = "cfg.json"
CENTRED = "center_writing_weights"
"""The option with which TransformerLens subtracts from everything that writes into the residual stream its mean."""
BY_FACTOR, WHITENED = "expected_average_only_in", "covariance_whitening"
"""The normalisations that are one affine map for all activations, which is folded into the weights."""
_ACTIVATIONS = ("relu", "topk")
_KEYS = (
    "apply_b_dec_to_input", "architecture", "d_in", "d_sae", "device", "dtype", "metadata", "normalize_activations",
    "rescale_acts_by_decoder_norm", "reshape_activations",
)  # fmt: skip
"""All that finished SAEs have besides the options of their architecture."""
_TRAINING = "decoder_init_norm"
"""In the configurations of training checkpoints, which hold what the training needed, too."""
_REFUSED = {"transcoder": TRANSCODER, "temporal": PREDICTS}
"""By the last part of SAELens' architecture: why it is refused."""
_SAME_INPUT = (
    "center_unembed", "default_padding_side", "default_prepend_bos", "device", "dtype", "fold_ln", "hf_model",
    "move_to_device", "n_devices", "tokenizer", "torch_dtype", "trust_remote_code",
)  # fmt: skip
"""Options of TransformerLens' loader that leave alone what an SAE reads."""

_HAD_LAYER_NORM = (
    "gpt2",
    "distilgpt2",
    "pythia",
    "gpt-neo",
    "gpt-j",
    "opt-",
    "tiny-stories",
    "tinystories",
    "gelu",
    "solu",
)
"""How the names start of models with LayerNorm that SAEs were trained on before version 3. Until SAELens' pull request
279 they were loaded with `HookedTransformer.from_pretrained`, which centres these by default, and no others."""

_required, _optional = (partial(get, path=Path(CONFIG)) for get in (required, optional))


def modern(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A configuration of SAELens in the terms of version 6."""
    if "metadata" in config:
        config = {**config, "metadata": _required(config, "metadata", dict, sae=name)}
        if config.get("max_iterations", 0) is None:
            config["max_iterations"] = config.get("d_in")
        return config
    kwargs = _optional(config, "activation_fn_kwargs", dict, sae=name) or {}
    unknown = [key for key, value in kwargs.items() if key != "k" and value not in (None, False)]
    if unknown:
        raise UserError(
            f"SAE {name!r}: {CONFIG}: activation_fn_kwargs has {shown(', '.join(unknown))}, which is not supported; "
            "expected 'k' alone"
        )
    activation = _optional(config, "activation_fn_str", str, sae=name) or _optional(
        config, "activation_fn", str, sae=name
    )
    if activation == "topk" and "k" not in kwargs and "k" not in config:
        raise UserError(f"SAE {name!r}: {CONFIG}: the activation is 'topk', but activation_fn_kwargs gives no 'k'")
    is_topk = activation == "topk" and "k" in kwargs
    normalised = config.get("normalize_activations")
    if normalised is None or isinstance(normalised, bool):
        normalised = BY_FACTOR if normalised else "none"
    metadata = {
        "hook_name": config.get("hook_name") or config.get("hook_point"),
        "hook_head_index": config.get("hook_head_index", config.get("hook_point_head_index")),
        "model_name": config.get("model_name"),
        "model_from_pretrained_kwargs": _options_of_its_time(config, name),
        "prepend_bos": config.get("prepend_bos"),
    }
    return {
        **config,
        "metadata": metadata,
        "architecture": "topk" if is_topk else config.get("architecture", "standard"),
        **({"k": kwargs["k"]} if is_topk else {}),
        "normalize_activations": normalised,
    }


def _options_of_its_time(config: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    """The options of the model's loader; for a configuration from before version 3 with their defaults of then."""
    options = _optional(config, "model_from_pretrained_kwargs", dict, sae=name)
    model = _optional(config, "model_name", str, sae=name) or ""
    if "hook_point" in config and CENTRED not in (options or {}):
        return {**(options or {}), CENTRED: model.rsplit("/", 1)[-1].lower().startswith(_HAD_LAYER_NORM)}
    return options


def refuse_unknown_keys(config: Mapping[str, Any], options: Iterable[str], name: str) -> None:
    """Refuses what neither we nor the architecture, whose options are given, know of a finished SAE of version 6."""
    known = (*_KEYS, *options)
    unknown = [key for key in config if key not in known]
    if unknown and "metadata" in config and _TRAINING not in config:
        raise UserError(
            f"SAE {name!r}: {CONFIG} has {shown(', '.join(unknown))}, which is not known and might change what it "
            f"computes; remove it if it does not. Known: {', '.join(known)}"
        )


def _refusal(config: Mapping[str, Any]) -> str | None:
    """Why no SAE of this architecture can be used; None if one can."""
    if config["metadata"].get("hook_name_out") is not None:
        return _REFUSED["transcoder"]
    return _REFUSED.get(str(config.get("architecture")).rsplit("_", 1)[-1])


def refuse_unsupported(config: Mapping[str, Any], scaler: Scaler, name: str) -> None:
    """Refuses whatever would lead to wrong numbers if it were ignored."""
    reason = _refusal(config)
    if reason is not None:
        raise UserError(f"SAE {name!r}: architecture {shown(config.get('architecture'))}: {reason}")
    for key in ("activation_fn", "activation_fn_str"):
        activation = _optional(config, key, str, sae=name)
        if activation is not None and activation not in _ACTIVATIONS:
            raise UserError(
                f"SAE {name!r}: {key} = {shown(activation)} is not supported, expected one of {', '.join(_ACTIVATIONS)}"
            )
    _refuse_normalisation(_normalisation(config, name), scaler, name)
    if config["metadata"].get("hook_head_index") is not None:
        raise UserError(
            f"SAE {name!r}: it reads a single attention head (hook_head_index), which is not supported; "
            "choose an SAE of all heads"
        )
    hook_name = _optional(config["metadata"], "hook_name", str, sae=name) or ""
    reshaped = _optional(config, "reshape_activations", str, sae=name) or "none"
    if reshaped not in {"none", "hook_z" if hook_name.endswith("hook_z") else "none"}:
        raise UserError(
            f"SAE {name!r}: reshape_activations = {shown(reshaped)} is not supported at {hook_name}; "
            "expected 'none', or 'hook_z' at a hook that ends in hook_z"
        )


def _refuse_normalisation(normalised: str, scaler: Scaler, name: str) -> None:
    missing = {BY_FACTOR: scaler.factor is None, WHITENED: scaler.whitening is None}
    if normalised in NORMALISATIONS or missing.get(normalised) is False:
        return
    if normalised in missing:
        raise UserError(
            f"SAE {name!r}: normalize_activations = {shown(normalised)}, but the folder does not say by how much: it "
            f"has no {SCALER} of the training run; fetch that too, or fold the normalisation into the weights "
            "(SAELens: fold_activation_norm_scaling_factor, fold_activation_whitening)"
        )
    raise UserError(
        f"SAE {name!r}: normalize_activations = {shown(normalised)} is not supported, expected one of "
        f"{', '.join((*NORMALISATIONS, *missing))}"
    )


def _normalisation(config: Mapping[str, Any], name: str) -> str:
    return _optional(config, "normalize_activations", str, sae=name) or "none"


def input_norm_of(config: Mapping[str, Any], name: str) -> Normalisation:
    """What the SAE does to each token's activation; "none" for what is folded into the weights."""
    normalised = _normalisation(config, name)
    return cast(Normalisation, normalised) if normalised in NORMALISATIONS else "none"


def folded(config: Mapping[str, Any], name: str) -> str | None:
    """The normalisation that has to be folded into the weights; None if there is none."""
    normalised = _normalisation(config, name)
    return normalised if normalised in (BY_FACTOR, WHITENED) else None


def warn_of_other_input(config: Mapping[str, Any], name: str) -> None:
    """Warns of options of the model's loader that changed what the SAE was trained on and that are not followed."""
    options = _loader_options(config["metadata"], name)
    ignored = {
        key: value
        for key, value in options.items()
        if key not in (CENTRED, *_SAME_INPUT) and value not in (None, False)
    }
    if ignored:
        log.warning(
            "SAE %s was trained on a model that was loaded with %s, which is not followed: its input here differs",
            name, ", ".join(f"{key} = {shown(value)}" for key, value in ignored.items()),
        )  # fmt: skip


def site_of(metadata: Mapping[str, Any], name: str) -> Site:
    """Where the SAE reads, and whether without the mean."""
    hook_name = metadata.get("hook_name")
    if not isinstance(hook_name, str):
        raise UserError(f"SAE {name!r}: {CONFIG} names no hook: hook_name is {shown(hook_name)}, expected str")
    try:
        site = Site.parse(hook_name)
    except UserError as error:
        raise UserError(f"SAE {name!r}: {error}") from error
    centred = _optional(_loader_options(metadata, name), CENTRED, bool, sae=name) is True
    # Heads' outputs are no writes into the residual stream.
    return replace(site, centred=centred and site.kind != "attn_z")


def begins_with_bos(metadata: Mapping[str, Any], name: str) -> bool:
    """Whether the SAE's training rows began with BOS, which is SAELens' default."""
    return _optional(metadata, "prepend_bos", bool, sae=name) is not False


def _loader_options(metadata: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return _optional(metadata, "model_from_pretrained_kwargs", dict, sae=name) or {}
