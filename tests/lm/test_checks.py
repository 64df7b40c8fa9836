"""A site is checked before it is measured: on real models, and on two that compute something else there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import BloomConfig, BloomForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

from sae_research.errors import UserError
from sae_research.lm.checks import check_site
from sae_research.lm.load import load_language_model, wrap_language_model
from sae_research.lm.model import LanguageModel
from sae_research.lm.site import Site
from sae_research.sources.hub import Hub


@pytest.mark.parametrize("family", ["neox", "neox_serial", "gpt2", "llm_rope", "softcapped"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_sound_models_pass_at_every_site(model_folder: Callable[[str], Path], family: str, dtype: str) -> None:
    """Rows are longer than the sliding window, which has four tokens; 200 are more than there are positions."""
    lm = load_language_model(Hub(Path("no-world")), str(model_folder(family)), dtype=dtype, device="cpu")
    for layer in range(lm.n_layers):
        for kind in ("resid_pre", "resid_post", "mlp_out", "attn_out", "attn_z"):
            for length in (12, 200):
                check_site(lm, Site(layer, kind), length=length)  # type: ignore[arg-type]


class _PassesOn(LlamaDecoderLayer):
    """Layer 3 adds what layer 2 was given: a second path past the residual stream."""

    passed: Tensor

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        if self.self_attn.layer_idx == 2:
            _PassesOn.passed = hidden_states
        output = super().forward(hidden_states, *args, **kwargs)
        return output + _PassesOn.passed if self.self_attn.layer_idx == 3 else output


def test_a_path_past_the_site_is_refused_where_it_is_cut(tokenizer: PreTrainedTokenizerFast) -> None:
    """The check of the middle layer, made when a model is loaded, cannot see it."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "intermediate_size": 24,
    }
    model: Any = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **sizes, max_position_embeddings=64))
    for layer in model.model.layers:
        layer.__class__ = _PassesOn
    lm = wrap_language_model(model.eval(), tokenizer, name="second path", revision="none")
    check_site(lm, Site(1, "resid_post"), length=12)
    check_site(lm, Site(3, "resid_post"), length=12)
    with pytest.raises(UserError, match=r"'second path': resuming at blocks.2.hook_resid_post gives other hidden"):
        check_site(lm, Site(2, "resid_post"), length=12)


def _bloom(tokenizer: PreTrainedTokenizerFast) -> LanguageModel:
    torch.manual_seed(0)
    model = BloomForCausalLM(BloomConfig(vocab_size=len(tokenizer), hidden_size=16, n_layer=2, n_head=2))
    return wrap_language_model(model.eval(), tokenizer, name="bloom", revision="none")


def test_modules_that_add_the_residual_stream_themselves_are_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    lm = _bloom(tokenizer)
    check_site(lm, Site(0, "resid_post"), length=12)
    for kind in ("mlp_out", "attn_out"):
        with pytest.raises(UserError, match=rf"blocks.1.hook_{kind}: its layers do not add what .* as it is"):
            check_site(lm, Site(1, kind), length=12)  # type: ignore[arg-type]
