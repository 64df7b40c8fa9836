"""What can be said of an SAE without its weights: from its configuration, and where that is silent from its path.

For lists that people choose from. Nothing is computed from what a path seems to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sae_research.saes.registry import architecture_called

_IN_PATH: Mapping[str, str] = {
    "layer": r"(?:layers?[._-]?|blocks\.|(?<![a-z])l(?=[0-9]+[rma]))([0-9]{1,4})(?![0-9])",
    "hook_name": r"(?:^|/)(blocks\.[0-9]+\.(?:attn\.|mlp\.|ln2\.)?hook_[a-z]+(?:_[a-z]+)*)",
    "width": r"(?:width[._-]|(?<![a-z0-9])w)([0-9]+[km]|2pow[0-9]+)(?![0-9a-z])",
    "l0": r"(?<![a-z0-9])l0[._-]([0-9]+(?:\.[0-9]+)?)(?![0-9])",
}
"""In lower case: `layer_12/width_16k/average_l0_71`, `llama3_1-8b-base-l20r-8x`, `blocks.3.hook_mlp_out__trainer_1`."""
_KEYS: Mapping[str, tuple[str, ...]] = {
    "model": ("lm_name", "model_name", "model"),
    "d_in": ("d_in", "activation_dim", "d_model"),
    "d_sae": ("d_sae", "dict_size", "num_latents"),
    "layer": ("layer", "hook_layer", "hook_point_layer"),
    "hook_name": ("hook_name", "hook_point", "submodule_name"),
    "architecture": ("architecture", "dict_class", "trainer_class"),
    "k": ("k",),
}
"""Our name -> what the configurations of SAELens, dictionary_learning and sparsify call it."""
_BLOCKS = ("metadata", "trainer", "activation_fn_kwargs")
"""Where those keys stand besides the top."""
_TYPES: Mapping[str, type] = {"model": str, "hook_name": str, "architecture": str}
_DICTIONARY_LEARNING = r"(resid_pre|resid_post|mlp_out|attn_out)(?:_layer_?[0-9]+)?"
"""What it calls a site, besides the layer."""
_LONGEST = 100
"""Letters of a text that a table shows; what is longer is none of these names."""


@dataclass(frozen=True)
class Outline:
    """What is known of an SAE that was not fetched; None where nothing says it."""

    path: str
    """What params.yaml calls it: `filename`, or in SAELens' registry `sae_id`."""
    release: str | None = None
    """Its release in SAELens' registry."""
    repo_id: str | None = None
    model: str | None = None
    architecture: str | None = None
    """Ours, or as its configuration calls it where we have none of that name."""
    d_in: int | None = None
    d_sae: int | None = None
    width: str | None = None
    """How wide its path says that it is: `16k`."""
    hook_name: str | None = None
    layer: int | None = None
    l0: float | None = None
    """From the registry, the path, or the k of its configuration."""


def outlined(outline: Outline, config: Mapping[str, Any], *further_paths: str) -> Outline:
    """`outline` with what `config` says, then what its path and the further ones seem to say."""
    facts: dict[str, Any] = {name: value for name in _KEYS if (value := _stated(config, name)) is not None}
    facts["architecture"] = _architecture(facts.get("architecture"), is_topk="k" in facts)
    module = re.fullmatch(_DICTIONARY_LEARNING, facts.get("hook_name", ""))
    if module and "layer" in facts:
        facts["hook_name"] = f"blocks.{facts['layer']}.hook_{module[1]}"
    k = facts.pop("k", None)
    for path in (facts.get("hook_name", ""), outline.path, *further_paths):
        for name, value in _in_path(path).items():
            facts.setdefault(name, value)
    if k is not None:
        facts["l0"] = float(k)
    return replace(outline, **{name: value for name, value in facts.items() if getattr(outline, name) is None})


def _stated(config: Mapping[str, Any], name: str) -> Any:
    kind = _TYPES.get(name, int)
    places = [config, *(block for key in _BLOCKS if isinstance(block := config.get(key), Mapping))]
    for value in (place.get(key) for key in _KEYS[name] for place in places):
        if kind is int and isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
        if kind is str and isinstance(value, str) and value.isprintable() and 0 < len(value) <= _LONGEST:
            return value
    return None


def _architecture(stated: str | None, *, is_topk: bool) -> str | None:
    """Ours for what SAELens or dictionary_learning call it; SAELens' old `standard` with a k is TopK."""
    from sae_research.formats.readers.dictionary_learning import architecture_of

    if stated is None:
        return "topk" if is_topk else None
    ours = architecture_of(stated) or architecture_called(stated) or stated
    return "topk" if is_topk and ours == "relu" else ours


def _in_path(path: str) -> dict[str, Any]:
    return dict(_matches(path.lower()))


def _matches(path: str) -> Iterator[tuple[str, Any]]:
    for name, pattern in _IN_PATH.items():
        match = re.search(pattern, path)
        if match:
            text = match[1]
            yield name, int(text) if name == "layer" else float(text) if name == "l0" else text
