"""Every site of tiny random models of many families, against plain hooks on the modules that their source names."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

import sae_research
from sae_research.errors import UserError
from sae_research.lm.checks import check_site
from sae_research.lm.load import wrap_language_model
from sae_research.lm.model import LanguageModel
from sae_research.lm.site import Site

N_LAYERS, LAYER = 3, 1
_SIZES: dict[str, Any] = {
    "hidden_size": 16, "num_hidden_layers": N_LAYERS, "num_attention_heads": 2, "intermediate_size": 24,
    "max_position_embeddings": 64,
}  # fmt: skip
_GROUPED = {**_SIZES, "num_key_value_heads": 1}
_WIDE_HEADS = {**_GROUPED, "head_dim": 12}
_SLIDING = {"sliding_window": 4}


@dataclass(frozen=True)
class Family:
    """A model's class and config, and what it calls its parts."""

    config: Any
    layers: str = "model.layers"
    mlp: str = "mlp"
    attention: str = "self_attn"
    projection: str = "o_proj"
    mlp_added: str | None = None
    """The module whose output is added to the residual stream, if that is not the MLP."""
    attention_added: str | None = None
    class_name: str | None = None
    z_width: int = 16


def _config(name: str, **options: Any) -> Any:
    return getattr(transformers, f"{name}Config")(vocab_size=300, pad_token_id=0, **options)


def _gemma3_with_pictures() -> Any:
    text = {"vocab_size": 300, "pad_token_id": 0, **_WIDE_HEADS, **_SLIDING, "sliding_window_pattern": 2}
    vision = {
        "hidden_size": 8, "num_hidden_layers": N_LAYERS, "num_attention_heads": 2, "intermediate_size": 8,
        "image_size": 8, "patch_size": 4,
    }  # fmt: skip
    return transformers.Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4)  # type: ignore[arg-type]


_NORMED: dict[str, Any] = {
    "mlp_added": "post_feedforward_layernorm",
    "attention_added": "post_attention_layernorm",
}
_NEOX: dict[str, Any] = {"layers": "gpt_neox.layers", "attention": "attention", "projection": "dense"}
FAMILIES: dict[str, Callable[[], Family]] = {
    "gpt2": lambda: Family(
        _config("GPT2", n_embd=16, n_layer=N_LAYERS, n_head=2, n_positions=64),
        layers="transformer.h", attention="attn", projection="c_proj",
    ),
    "neox": lambda: Family(_config("GPTNeoX", **_SIZES, use_parallel_residual=True), **_NEOX),
    "neox_serial": lambda: Family(_config("GPTNeoX", **_SIZES, use_parallel_residual=False), **_NEOX),
    "llama": lambda: Family(_config("Llama", **_GROUPED)),
    "mistral": lambda: Family(_config("Mistral", **_WIDE_HEADS, **_SLIDING), z_width=24),
    "qwen2": lambda: Family(
        _config("Qwen2", **_GROUPED, **_SLIDING, use_sliding_window=True, max_window_layers=1)
    ),
    "qwen3": lambda: Family(_config("Qwen3", **_WIDE_HEADS), z_width=24),
    "gemma2": lambda: Family(_config("Gemma2", **_WIDE_HEADS, **_SLIDING), **_NORMED, z_width=24),
    "gemma3": lambda: Family(
        _config("Gemma3Text", **_WIDE_HEADS, **_SLIDING, sliding_window_pattern=2), **_NORMED, z_width=24,
        class_name="Gemma3ForCausalLM",
    ),
    "gemma3_with_pictures": lambda: Family(
        _gemma3_with_pictures(), layers="model.language_model.layers", **_NORMED, z_width=24,
        class_name="Gemma3ForConditionalGeneration",
    ),
    "phi": lambda: Family(_config("Phi", **_SIZES), projection="dense"),
    "phi3": lambda: Family(_config("Phi3", **_GROUPED, **_SLIDING)),
    "olmo": lambda: Family(_config("Olmo", **_SIZES)),
    "olmo2": lambda: Family(_config("Olmo2", **_GROUPED), **_NORMED),
    "falcon": lambda: Family(
        _config("Falcon", hidden_size=16, num_hidden_layers=N_LAYERS, num_attention_heads=2),
        layers="transformer.h", attention="self_attention", projection="dense",
    ),
    "glm4": lambda: Family(
        _config("Glm4", **_WIDE_HEADS), mlp_added="post_mlp_layernorm", attention_added="post_self_attn_layernorm",
        z_width=24,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Loaded:
    family: Family
    model: nn.Module
    lm: LanguageModel

    def module(self, part: str | None) -> nn.Module:
        """The module that is called `part` in the middle layer; the layer itself for None."""
        path = f"{self.family.layers}.{LAYER}"
        return self.model.get_submodule(path if part is None else f"{path}.{part}")

    @property
    def hooked(self) -> dict[str, tuple[nn.Module, bool]]:
        """By kind of site: the module, and whether its input is meant."""
        family = self.family
        projection = f"{family.attention}.{family.projection}"
        return {
            "resid_pre": (self.module(None), True),
            "resid_post": (self.module(None), False),
            "mlp_out": (self.module(family.mlp_added or family.mlp), False),
            "attn_out": (self.module(family.attention_added or family.attention), False),
            "attn_z": (self.module(projection), True),
            "mlp_module": (self.module(family.mlp), False),
            "attn_module": (self.module(projection), False),
        }


def _model(family: Family) -> Any:
    class_name = family.class_name or type(family.config).__name__.replace("Config", "ForCausalLM")
    torch.manual_seed(0)
    if class_name == "GPT2ForCausalLM":
        class_name = "GPT2LMHeadModel"
    model = getattr(transformers, class_name)(family.config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module", params=FAMILIES)
def loaded(request: pytest.FixtureRequest, tokenizer: PreTrainedTokenizerFast) -> Loaded:
    family = FAMILIES[request.param]()
    model = _model(family)
    return Loaded(family, model, wrap_language_model(model, tokenizer, name=request.param, revision="none"))


@pytest.fixture(scope="module")
def tokens() -> Tensor:
    """Three times as many in a row as the sliding windows hold."""
    return torch.randint(3, 257, (2, 12), generator=torch.Generator().manual_seed(0))


@contextmanager
def plain_hook(module: nn.Module, is_input: bool, change: Callable[[Tensor], Tensor | None]) -> Iterator[None]:
    """The usual way to read or replace: a hook of PyTorch on one module."""

    def before(_module: nn.Module, args: tuple[Any, ...]) -> Any:
        new = change(args[0])
        return None if new is None else (new, *args[1:])

    def after(_module: nn.Module, _args: Any, output: Any) -> Any:
        new = change(output[0] if isinstance(output, tuple) else output)
        return new if new is None or not isinstance(output, tuple) else (new, *output[1:])

    handle = module.register_forward_pre_hook(before) if is_input else module.register_forward_hook(after)
    try:
        yield
    finally:
        handle.remove()


def _sites() -> list[Site]:
    kinds = ("resid_pre", "resid_post", "mlp_out", "attn_out", "attn_z", "mlp_module", "attn_module")
    return [Site(LAYER, kind) for kind in kinds]  # type: ignore[arg-type]


def test_values_and_replaced_values_are_those_of_a_plain_hook(loaded: Loaded, tokens: Tensor) -> None:
    model: Any = loaded.model
    for site in _sites():
        module, is_input = loaded.hooked[site.kind]
        seen: list[Tensor] = []
        with plain_hook(module, is_input, lambda x, seen=seen: seen.append(x.clone())):
            plain = model(tokens).logits
        x = loaded.lm.capture(tokens, site)
        assert torch.equal(x, seen[0]), site.hook_name
        assert x.shape[-1] == loaded.lm.width(site) == (loaded.family.z_width if site.kind == "attn_z" else 16)
        torch.testing.assert_close(loaded.lm.unembed(loaded.lm.resume(site, x, tokens)), plain)
        other = x * 0.5 + 0.1
        with plain_hook(module, is_input, lambda _, other=other: other.clone()):
            theirs = model(tokens).logits
        before = other.clone()
        ours = loaded.lm.unembed(loaded.lm.resume(site, other, tokens))
        assert (theirs - plain).abs().max() > 1e-3
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5, msg=site.hook_name)
        assert torch.equal(other, before), "what is put in is not written to"


def test_every_site_passes_its_check_beyond_the_window(loaded: Loaded) -> None:
    for layer in range(N_LAYERS):
        for site in _sites():
            check_site(loaded.lm, Site(layer, site.kind), length=20)


def test_attention_and_mlp_are_what_the_layer_adds(loaded: Loaded, tokens: Tensor) -> None:
    """That is what TransformerLens calls hook_attn_out and hook_mlp_out."""
    kinds = ("resid_pre", "attn_out", "mlp_out", "resid_post")
    before, attention, mlp, after = (loaded.lm.capture(tokens, Site(LAYER, kind)) for kind in kinds)  # type: ignore[arg-type]
    torch.testing.assert_close(before + attention + mlp, after)


def test_module_paths_name_what_sae_lens_reads_there(loaded: Loaded, tokens: Tensor) -> None:
    """SAELens' own wrapper of Hugging Face models gives the activations, stopped as while it trains."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own imports
        from sae_lens.load_model import HookedProxyLM

    family = loaded.family
    names = [
        f"{family.layers}.{LAYER}{part}"
        for part in ("", f".{family.mlp}", f".{family.attention}", f".{family.attention}.{family.projection}")
    ]
    names += [f"{family.layers}.{LAYER}.{family.mlp_added}"] if family.mlp_added else []
    theirs = HookedProxyLM(_model(family), loaded.lm.tokenizer, hook_names=names)
    for name in names:
        _, cache = theirs.run_with_cache(tokens, names_filter=[name], stop_at_layer=LAYER + 1)
        site = loaded.lm.canonical(Site.parse(name))
        torch.testing.assert_close(loaded.lm.capture(tokens, site), cache[name], msg=name)
        has_norm = family.mlp_added is not None and name.endswith((family.mlp, family.attention, family.projection))
        assert site.kind.endswith("_module") == has_norm, "the one name where the activation is the same"


def test_a_scaled_layer_is_refused_where_it_scales(tokenizer: PreTrainedTokenizerFast) -> None:
    """Granite multiplies what attention and MLP return before it adds them."""
    granite = _model(Family(_config("Granite", **_GROUPED, residual_multiplier=0.22)))
    lm = wrap_language_model(granite, tokenizer, name="granite", revision="none")
    check_site(lm, Site(LAYER, "resid_post"), length=12)
    for name in ("model.layers.1.mlp", "blocks.1.hook_attn_out"):
        with pytest.raises(UserError, match=r"'granite': blocks.1.hook_\w+_out: its layers do not add .* as it is"):
            check_site(lm, lm.canonical(Site.parse(name)), length=12)


class _Identity:
    """An SAE that loses nothing: a latent for each sign of each dimension of heads that are wider than the model."""

    W_dec = torch.cat([torch.eye(24), -torch.eye(24)])

    def encode(self, x: Tensor) -> Tensor:
        return torch.relu(x @ self.W_dec.T)

    def decode(self, codes: Tensor) -> Tensor:
        return codes @ self.W_dec


@pytest.mark.parametrize("name", ["qwen3", "gemma3"])
def test_an_attention_sae_is_as_wide_as_the_heads_not_as_the_model(
    tokenizer: PreTrainedTokenizerFast, name: str
) -> None:
    core = {"context_size": 12, "batch_size": 4, "n_reconstruction_batches": 1, "n_sparsity_batches": 1}
    evaluation = sae_research.evaluate(
        _model(FAMILIES[name]()), _Identity(), {"core": core}, tokenizer=tokenizer,
        site="model.layers.1.self_attn.o_proj.input", texts=["the cat sat on the mat and ran far away"] * 20,
    )  # fmt: skip
    assert evaluation.failures == () and evaluation.results[0].sae["hook_name"] == "blocks.1.attn.hook_z"
    values = {row.metric: row.value for row in evaluation.table()}
    assert values["explained_variance"] == pytest.approx(1) and values["ce_loss_score"] == pytest.approx(1)
