"""What the library measures on stays as the caller had it: modes, forwards, hooks, gradients, weights, placement."""

from __future__ import annotations

import copy
from typing import Any

import accelerate
import pytest
import torch
from torch import Tensor, nn
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import sae_research

TEXTS = [" ".join(f"cat {i * j % 7} mat {j} dog" for j in range(12)) for i in range(60)]
CORE = {"context_size": 12, "batch_size": 4, "n_reconstruction_batches": 1, "n_sparsity_batches": 2}
SIZES: dict[str, Any] = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
    "max_position_embeddings": 64,
}  # fmt: skip


class Tied(nn.Module):
    """A ReLU SAE whose encoder is its decoder's transpose, with a part that has a mode of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.W_dec = nn.Parameter(0.3 * torch.randn(40, 16, generator=torch.Generator().manual_seed(0)))
        self.dropout = nn.Dropout(0.5)

    def encode(self, x: Tensor) -> Tensor:
        return torch.relu(self.dropout(x) @ self.W_dec.T)

    def decode(self, codes: Tensor) -> Tensor:
        return codes @ self.W_dec


def _measure(model: Any, sae: Tied, tokenizer: PreTrainedTokenizerFast, site: str) -> dict[Any, float | None]:
    evaluation = sae_research.evaluate(model, sae, {"core": CORE}, tokenizer=tokenizer, site=site, texts=TEXTS)
    assert evaluation.failures == ()
    return {(row.metric, row.at): row.value for row in evaluation.table()}


def _state(model: nn.Module) -> dict[str, Any]:
    """All that a run could leave behind in a model."""
    config: Any = getattr(model, "config", None)
    state: dict[str, Any] = {"config": config and (config.to_json_string(), config.use_cache)}
    for name, module in model.named_modules():
        hooks = (list(module._forward_hooks), list(module._forward_pre_hooks), vars(module).get("_hf_hook"))
        state[name] = (module.training, vars(module).get("forward"), hooks)
    for name, parameter in model.named_parameters():
        # What stands in for an offloaded weight, accelerate itself makes anew at each run.
        numbers = None if parameter.is_meta else (id(parameter), parameter.detach().numpy().tobytes())
        gradient = None if parameter.grad is None else parameter.grad.numpy().tobytes()
        state[f"{name} (values)"] = (parameter.requires_grad, numbers, gradient)
    return state


@pytest.mark.parametrize("placement", ["hooks everywhere", "weights offloaded"])
def test_a_model_that_accelerate_placed_is_measured_and_stays_so(
    tokenizer: PreTrainedTokenizerFast, placement: str
) -> None:
    """Its hooks move inputs and load weights when a module is called; offloaded weights lie on `meta` until then."""
    torch.manual_seed(0)
    plain = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **SIZES))
    placed: Any = copy.deepcopy(plain)
    if placement == "hooks everywhere":
        accelerate.dispatch_model(placed, {"": "cpu"}, force_hooks=True)
    else:
        accelerate.cpu_offload(placed, execution_device=torch.device("cpu"))
    before = _state(placed)
    site = "model.layers.0.mlp"
    assert _measure(placed, Tied(), tokenizer, site) == _measure(plain, Tied(), tokenizer, site)
    assert _state(placed) == before
    assert any(parameter.is_meta for parameter in placed.parameters()) == (placement == "weights offloaded")


def test_every_part_of_a_model_in_training_is_as_it_was(tokenizer: PreTrainedTokenizerFast) -> None:
    """Its first layer is frozen and in evaluation mode, as is a part of the SAE; a hook of the caller's counts."""
    torch.manual_seed(0)
    model: Any = GPTNeoXForCausalLM(GPTNeoXConfig(vocab_size=len(tokenizer), hidden_dropout=0.2, **SIZES))
    model.train()
    model.gpt_neox.layers[0].eval().requires_grad_(False)
    calls: list[int] = []
    model.gpt_neox.layers[1].register_forward_hook(lambda *_: calls.append(1))
    tokens = torch.ones(1, 4, dtype=torch.long)
    model(tokens, labels=tokens).loss.backward()
    sae = Tied().train()
    sae.dropout.eval()
    before, of_sae = _state(model), _state(sae)
    _measure(model, sae, tokenizer, "gpt_neox.layers.1.attention")
    assert len(calls) > 1
    assert _state(model) == before
    assert _state(sae) == of_sae
