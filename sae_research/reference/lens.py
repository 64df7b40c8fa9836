"""A language model folder in TransformerLens, as SAEBench loads its models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from sae_research.evals.base import EvalContext
from sae_research.lm.gguf import model_folder
from sae_research.reference.adapter import silenced


def load_lens(folder: Path, *, device: str = "cpu", dtype: str = "float32", **options: Any) -> Any:
    """`HookedTransformer.from_pretrained_no_processing` of a local folder, with `options` for it.

    TransformerLens takes names of its own table only, and finds out by parts of the name what a model is: it would read
    a folder under /home/robert as BERT. Here the folder's config says it. Sizes of Gemma 2, which it knows by name
    only, come from there too.
    """
    with silenced():
        import torch
        from transformer_lens import HookedTransformer
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
        with _local_folders(model.config):
            return HookedTransformer.from_pretrained_no_processing(
                str(folder), hf_model=model, device=device, dtype=getattr(torch, dtype),
                **{"default_prepend_bos": True, **options},
            )  # fmt: skip


def lens_of(context: EvalContext) -> Any:
    """The context's language model in TransformerLens, same device and dtype; the last one is cached."""
    lm = context.lm
    folder = model_folder(context.hub.model(lm.name, revision=lm.revision).path)
    return _cached_lens(folder, str(lm.device), str(lm.dtype).removeprefix("torch."))


@lru_cache(maxsize=1)
def _cached_lens(folder: Path, device: str, dtype: str) -> Any:
    return load_lens(folder, device=device, dtype=dtype)


class _Nameless(str):
    """A path in which TransformerLens finds no part of a model's name."""

    def __contains__(self, part: object) -> bool:
        return False

    def lower(self) -> _Nameless:
        return self


@contextmanager
def _local_folders(config: Any) -> Iterator[None]:
    import transformer_lens.loading_from_pretrained as loading
    from transformers import GPT2Config

    official, convert = loading.get_official_model_name, loading.convert_hf_model_config

    def name_of(name: str) -> str:
        return name if Path(name).is_dir() else official(name)

    def converted(name: str, **options: Any) -> dict[str, Any]:
        if config.model_type == "gemma2":
            return _gemma2(config, name)
        return convert(_Nameless(name), **options) | {"tokenizer_name": name}

    with ExitStack() as stack:
        stack.enter_context(patch.object(loading, "get_official_model_name", name_of))
        stack.enter_context(patch.object(loading, "convert_hf_model_config", converted))
        # It reads `n_ctx`, which configs written by current versions of transformers no longer have.
        stack.enter_context(patch.dict(GPT2Config.attribute_map, {"n_ctx": "n_positions"}))
        yield


def _gemma2(config: Any, folder: str) -> dict[str, Any]:
    kinds = {"sliding_attention": "local", "full_attention": "global"}
    return {
        "d_model": config.hidden_size,
        "d_head": config.head_dim,
        "n_heads": config.num_attention_heads,
        "n_key_value_heads": config.num_key_value_heads,
        "d_mlp": config.intermediate_size,
        "n_layers": config.num_hidden_layers,
        "n_ctx": config.max_position_embeddings,
        "eps": config.rms_norm_eps,
        "d_vocab": config.vocab_size,
        "act_fn": "gelu_pytorch_tanh",
        "normalization_type": "RMS",
        "rotary_base": 10000.0,
        "positional_embedding_type": "rotary",
        "use_attn_scale": True,
        "attn_scale": float(config.query_pre_attn_scalar) ** 0.5,
        "window_size": config.sliding_window,
        "use_local_attn": True,
        "attn_types": [kinds[kind] for kind in config.layer_types],
        "attn_scores_soft_cap": config.attn_logit_softcapping or -1.0,
        "output_logits_soft_cap": config.final_logit_softcapping or -1.0,
        "gated_mlp": True,
        "final_rms": True,
        "use_normalization_before_and_after": True,
        "original_architecture": "Gemma2ForCausalLM",
        "tokenizer_name": folder,
    }
