"""What decoders of the Hugging Face library call the parts of a layer, and which activation a module's path names."""

from __future__ import annotations

import re
from typing import Literal

Kind = Literal["resid_pre", "resid_post", "mlp_out", "attn_out", "attn_z", "mlp_module", "attn_module"]

MLP = ("mlp", "feed_forward", "feedforward", "ffn", "block_sparse_moe")
ATTENTION = ("self_attn", "attention", "attn", "self_attention")
ATTENTION_PROJECTIONS = ("o_proj", "out_proj", "c_proj", "dense", "wo", "out_lin")
MLP_PROJECTIONS = ("down_proj", "c_proj", "dense_4h_to_h", "fc2", "fc_out")
POST_NORMS = (
    ("post_attention_layernorm", "post_feedforward_layernorm"),
    ("post_self_attn_layernorm", "post_mlp_layernorm"),
)
"""Pairs of norms: between attention and the residual stream, and between the MLP and the residual stream. A layer that
has no such second norm may have the first under the same name, but then in front of its MLP."""

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBER = re.compile(r"[0-9]{1,6}")
_LENS = "blocks"
"""Where TransformerLens' names begin; they are no module paths."""


def named_activation(path: str) -> tuple[int, Kind] | None:
    """The layer and the activation that SAELens reads at the module `path`; None if that is no site.

    A path is `<anything>.<layer>` and a module in the layer: `model.layers.9`, `transformer.h.9.mlp`. What is read is
    the module's output; a last part `input` or `output`, as Gemma Scope has it, says which.
    """
    parts = path.split(".")
    at = next((i for i, part in enumerate(parts) if _NUMBER.fullmatch(part)), 0)
    names = [*parts[:at], *parts[at + 1 :]]
    if at == 0 or parts[0] == _LENS or not all(map(_IDENTIFIER.fullmatch, names)):
        return None
    inside = parts[at + 1 :]
    is_input = inside[-1:] == ["input"]
    kind = _kind(inside[:-1] if inside[-1:] in (["input"], ["output"]) else inside, is_input=is_input)
    return None if kind is None else (int(parts[at]), kind)


def _kind(inside: list[str], *, is_input: bool) -> Kind | None:
    """The activation at a module that is called `inside` a layer."""
    match inside, is_input:
        case [], _:
            return "resid_pre" if is_input else "resid_post"
        case [part], False if part in MLP:
            return "mlp_module"
        case [part], False if part in ATTENTION:
            return "attn_module"
        case [part], False if part in {mlp for _, mlp in POST_NORMS}:
            return "mlp_out"
        case [part, last], False if part in MLP and last in MLP_PROJECTIONS:
            return "mlp_module"
        case [part, last], False if part in ATTENTION and last in ATTENTION:
            return "attn_module"
        case [part, *_, last], _ if part in ATTENTION and last in ATTENTION_PROJECTIONS:
            return "attn_z" if is_input else "attn_module"
    return None
