"""Finds the parts of a Hugging Face decoder by its structure, which makes a list of model names unnecessary."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput

from sae_research.errors import UserError
from sae_research.lm.hooks import change_input, change_output
from sae_research.lm.module_names import ATTENTION, ATTENTION_PROJECTIONS, MLP, POST_NORMS
from sae_research.lm.site import Site


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

    @property
    def device(self) -> torch.device:
        """Where the model computes, which is not where weights lie that accelerate has offloaded."""
        embedding: Any = self.model.get_input_embeddings()  # type: ignore[operator]
        device = next(embedding.parameters()).device
        if device.type == "meta":
            device = torch.device(getattr(getattr(embedding, "_hf_hook", None), "execution_device", device))
        return device

    def has_mlp(self, layer: int) -> bool:
        """Whether the MLP of `layer` is a module."""
        return _child(self.layers[layer], MLP) is not None

    def writer(self, site: Site) -> nn.Module:
        """The module that returns the activation at a site of attention or of the MLP."""
        block = self.layers[site.layer]
        attention_norm, mlp_norm = _post_norms(block)
        match site.kind:
            case "mlp_out" if mlp_norm is not None:
                return mlp_norm
            case "attn_out" if attention_norm is not None:
                return attention_norm
            case "mlp_out" | "mlp_module":
                return _needed(_child(block, MLP), "MLP", block)
            case "attn_out" | "attn_module":
                return _needed(_child(block, ATTENTION), "attention", block)
        raise AssertionError(f"{site.hook_name} is what no single module returns")

    def attention_projection(self, layer: int) -> nn.Module:
        """The module whose input is attention's z, the outputs of all heads side by side."""
        block = self.layers[layer]
        attention = _needed(_child(block, ATTENTION), "attention", block)
        inner = _child(attention, ATTENTION) or attention
        return _needed(_child(inner, ATTENTION_PROJECTIONS), "attention output projection", inner)

    def canonical(self, site: Site) -> Site:
        """`site` under the name that it shares with others: a module that no norm follows returns what is added."""
        if site.kind not in ("mlp_module", "attn_module") or not 0 <= site.layer < len(self.layers):
            return site
        added = replace(site, kind="mlp_out" if site.kind == "mlp_module" else "attn_out")
        return added if self.writer(added) is self.writer(site) else site

    def width(self, site: Site) -> int:
        """The number of dimensions of the activation at `site`."""
        config: Any = self.model.config
        d_model = int(config.get_text_config().hidden_size)
        if site.kind != "attn_z":
            return d_model
        weight: Any = self.attention_projection(site.layer).weight
        return weight.numel() // d_model

    @contextmanager
    def changed_at(self, site: Site, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
        """Within the block, the activation at `site` becomes `change(activation)`."""
        layer = self.layers[site.layer]
        match site.kind:
            case "resid_pre":
                handle = change_input(layer, change)
            case "resid_post":
                handle = change_output(layer, change)
            case "attn_z":
                handle = change_input(self.attention_projection(site.layer), change)
            case _:
                handle = change_output(self.writer(site), change)
        try:
            yield
        finally:
            handle.remove()

    def layer_arity(self) -> int | None:
        """How many values a layer returns, None if it returns a bare tensor; determined by running two tokens."""
        seen: list[int | None] = []

        def look(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
            seen.append(len(output) if isinstance(output, tuple) else None)

        tokens = torch.zeros((1, 2), dtype=torch.long, device=self.device)
        handle = self.layers[0].register_forward_hook(look)
        try:
            with torch.no_grad():
                self.backbone(input_ids=tokens, use_cache=False)
        finally:
            handle.remove()
        return seen[0]


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
    return len(modules) == n_layers and one_class and _child(modules[0], ATTENTION) is not None


def _post_norms(block: nn.Module) -> tuple[nn.Module | None, nn.Module | None]:
    """The norms between attention and the residual stream and between the MLP and it, where a layer has them."""
    pairs = [(_child(block, (attention,)), _child(block, (mlp,))) for attention, mlp in POST_NORMS]
    return next((pair for pair in pairs if pair[1] is not None), (None, None))


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
