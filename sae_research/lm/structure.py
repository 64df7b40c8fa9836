"""Finds the parts of a Hugging Face decoder by its structure, which makes a list of model names unnecessary."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers.modeling_outputs import BaseModelOutput

from sae_research.errors import UserError
from sae_research.lm.site import Site

_MLP_NAMES = ("mlp", "feed_forward", "feedforward", "ffn", "block_sparse_moe")
_MLP_POST_NORM_NAMES = ("post_feedforward_layernorm", "post_mlp_layernorm")
"""Names of a norm between the MLP and the residual stream; TransformerLens' `hook_mlp_out` comes after it."""
_ATTENTION_NAMES = ("self_attn", "attention", "attn", "self_attention")
_PROJECTION_NAMES = ("o_proj", "out_proj", "c_proj", "dense", "wo", "out_lin")


@dataclass(frozen=True)
class Decoder:
    """A causal language model taken apart."""

    model: nn.Module
    """The whole model, with its head: `model(input_ids).logits`."""
    backbone: nn.Module
    """The module that embeds, runs the layers and applies the final norm."""
    layers: nn.ModuleList

    def with_modules_of_its_own(self) -> Decoder:
        """The same tensors in new module objects, which another thread may change temporarily."""
        return deepcopy(self, {id(t): t for t in (*self.model.parameters(), *self.model.buffers())})

    def mlp_output(self, layer: int) -> nn.Module:
        """The module whose output the MLP of `layer` adds to the residual stream."""
        block = self.layers[layer]
        return _child(block, _MLP_POST_NORM_NAMES) or _needed(_child(block, _MLP_NAMES), "MLP", block)

    def width(self, site: Site) -> int:
        """The number of dimensions of the activation at `site`."""
        config: Any = self.model.config
        d_model = int(config.get_text_config().hidden_size)
        if site.kind != "attn_z":
            return d_model
        weight: Any = self.attention_projection(site.layer).weight
        return weight.numel() // d_model

    def layer_arity(self) -> int | None:
        """How many values a layer returns, None if it returns a bare tensor; determined by running two tokens."""
        seen: list[int | None] = []

        def look(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
            seen.append(len(output) if isinstance(output, tuple) else None)

        tokens = torch.zeros((1, 2), dtype=torch.long, device=next(self.model.parameters()).device)
        handle = self.layers[0].register_forward_hook(look)
        try:
            with torch.no_grad():
                self.backbone(input_ids=tokens, use_cache=False)
        finally:
            handle.remove()
        return seen[0]

    def attention_projection(self, layer: int) -> nn.Module:
        """The module whose input is attention's z, the outputs of all heads side by side."""
        block = self.layers[layer]
        attention = _needed(_child(block, _ATTENTION_NAMES), "attention", block)
        inner = _child(attention, _ATTENTION_NAMES) or attention
        return _needed(_child(inner, _PROJECTION_NAMES), "attention output projection", inner)


class BackboneOutput(BaseModelOutput):
    """Final hidden states; anything else that a head may ask for (router logits, ...) is None."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


def take_apart(model: nn.Module, n_layers: int) -> Decoder:
    """The parts of `model`; its layers are the outermost list of `n_layers` blocks of one class that have attention."""
    candidates = [
        (path.count("."), path, module)
        for path, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and _is_layer_list(module, n_layers)
    ]
    if not candidates:
        raise UserError(
            f"{type(model).__name__}: no list of {n_layers} decoder layers found; "
            "only decoder-only transformers of the Hugging Face library can be measured"
        )
    _, path, layers = min(candidates, key=lambda candidate: candidate[:2])
    backbone = model.get_submodule(path.rpartition(".")[0])
    return Decoder(model=model, backbone=backbone, layers=layers)


def _is_layer_list(modules: nn.ModuleList, n_layers: int) -> bool:
    one_class = len({type(module) for module in modules}) == 1
    return len(modules) == n_layers and one_class and _child(modules[0], _ATTENTION_NAMES) is not None


def _child(module: nn.Module, names: tuple[str, ...]) -> nn.Module | None:
    children = dict(module.named_children())
    return next((children[name] for name in names if name in children), None)


def _needed(module: nn.Module | None, part: str, parent: nn.Module) -> nn.Module:
    if module is None:
        names = ", ".join(name for name, _ in parent.named_children())
        raise UserError(
            f"{type(parent).__name__}: no {part} found among {names}; use a residual site "
            "(blocks.N.hook_resid_pre, blocks.N.hook_resid_post)"
        )
    return module
