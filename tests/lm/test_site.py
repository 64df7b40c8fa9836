"""Names of sites: TransformerLens' and module paths of Hugging Face models, and what is no name."""

from __future__ import annotations

import pytest

from sae_research.errors import UserError
from sae_research.lm.site import Site

NAMES = {
    "blocks.4.hook_resid_pre": ["model.layers.4.input", "blocks.4.hook_in"],
    "blocks.4.hook_resid_post": [
        "model.layers.4", "gpt_neox.layers.4", "transformer.h.4", "model.decoder.layers.4", "layers.4", "h.4",
        "transformer.blocks.4", "model.language_model.layers.4", "model.layers.4.output", "blocks.4.hook_out",
    ],
    "blocks.4.hook_mlp_out": ["model.layers.4.post_feedforward_layernorm", "model.layers.4.post_mlp_layernorm.output"],
    "blocks.4.hook_attn_out": [],
    "blocks.4.attn.hook_z": [
        "model.layers.4.self_attn.o_proj.input", "transformer.h.4.attn.c_proj.input",
        "gpt_neox.layers.4.attention.dense.input", "transformer.h.4.attn.attention.out_proj.input",
    ],
    "blocks.4.mlp.hook_out": [
        "model.layers.4.mlp", "transformer.h.4.mlp", "gpt_neox.layers.4.mlp", "model.layers.4.mlp.output",
        "model.layers.4.mlp.down_proj", "transformer.h.4.mlp.c_proj", "model.layers.4.block_sparse_moe",
    ],
    "blocks.4.attn.hook_out": [
        "model.layers.4.self_attn", "transformer.h.4.attn", "gpt_neox.layers.4.attention",
        "model.layers.4.self_attn.o_proj", "transformer.h.4.self_attention", "transformer.h.4.attn.attention",
    ],
}  # fmt: skip


@pytest.mark.parametrize("hook_name", NAMES)
def test_all_names_of_a_site_give_the_one_site(hook_name: str) -> None:
    site = Site.parse(hook_name)
    assert (site.layer, site.hook_name) == (4, hook_name)
    assert [Site.parse(name) for name in NAMES[hook_name]] == [site] * len(NAMES[hook_name])


@pytest.mark.parametrize(
    "name",
    [
        "blocks.4", "blocks.4.mlp", "blocks.4.hook_q", "model.layers", "4", ".4", "layers..4", "model.layers.x", "",
        "model.layers.-4", "model.layers.٤", "model.layers.1234567", "model.layers.4.mlp.experts.2", "lm_head",
        "model.layers.4.mlp.input", "model.layers.4.mlp.up_proj", "model.layers.4.self_attn.q_proj",
        "model.layers.4.input_layernorm", "model.layers.4.post_attention_layernorm", "model layers.4", "a/b.4",
        "model.layers.4.", "model.layers.4.output.output", "model.layers.4\n",
    ],
)  # fmt: skip
def test_other_names_are_refused_with_the_valid_ones(name: str) -> None:
    with pytest.raises(UserError, match=r"hook name .* is not known; valid: blocks.N.hook_resid_pre, .*model.layers.9"):
        Site.parse(name)


def test_long_names_are_refused_at_once() -> None:
    for name in ("x" * 10**6, "a." * 500_000, "1." * 500_000):
        with pytest.raises(UserError, match="is not known"):
            Site.parse(name)
