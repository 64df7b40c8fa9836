"""Tiny random models of four families, saved as the hub would have them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

TEXTS = ["the cat sat on the mat", "a dog and a cat", "numbers 1 2 3 and words", "Zebras run, far away!"]


def train_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<pad>", "<bos>", "<eos>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS * 4, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", model_max_length=64
    )


CONFIGS: dict[str, Any] = {
    "wide": {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48},
    "gpt2": {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64, "n_ctx": 64},
    "grouped": {"num_key_value_heads": 2, "max_position_embeddings": 64},
    "capped": {"attn_logit_softcapping": 5.0, "final_logit_softcapping": 3.0, "query_pre_attn_scalar": 12},
    "sliding": {"head_dim": 12, "sliding_window": 4},
}


def _build(family: str, sizes: Any) -> Any:
    wide, grouped = CONFIGS["wide"], CONFIGS["grouped"]
    if family == "gpt2":
        return GPT2LMHeadModel(GPT2Config(**sizes, **CONFIGS["gpt2"]))
    if family == "llm_rope":
        return LlamaForCausalLM(LlamaConfig(**sizes, **wide, **grouped))
    if family == "softcapped":
        return Gemma2ForCausalLM(Gemma2Config(**sizes, **wide, **grouped, **CONFIGS["capped"], **CONFIGS["sliding"]))
    parallel = family == "neox"
    config = GPTNeoXConfig(**sizes, **wide, max_position_embeddings=64, use_parallel_residual=parallel)
    return GPTNeoXForCausalLM(config)


def _random_model(family: str, vocab_size: int) -> Any:
    torch.manual_seed(0)
    model = _build(family, {"vocab_size": vocab_size, "initializer_range": 0.3})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer()


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`model_folder(family)` is the saved folder of that family's tiny model."""
    root = tmp_path_factory.mktemp("models")

    def folder(family: str) -> Path:
        target = root / f"tiny_{family}"
        if not target.exists():
            tokenizer = train_tokenizer()
            _random_model(family, len(tokenizer)).save_pretrained(target)
            tokenizer.save_pretrained(target)
        return target

    return folder


SPACED_PIECES = ["\u2581Paris", "\u2581Rome", "\u2581A", "\u2581B", "\u2581(", "\u2581is", "\u2581in"]


@pytest.fixture(scope="session")
def spaced() -> PreTrainedTokenizerFast:
    """Built as Llama 2's and Mistral 7B's are: BPE over whole texts, a mark put in front and in place of each space."""
    letters = [*map(chr, range(33, 127)), "\u2581", "\n"]
    vocab = {token: i for i, token in enumerate(["<pad>", "<s>", "</s>", "<unk>", *letters])}
    merges: list[tuple[str, str]] = []
    for piece in SPACED_PIECES:
        for end in range(2, len(piece) + 1):
            if piece[:end] not in vocab:
                vocab[piece[:end]] = len(vocab)
                merges.append((piece[: end - 1], piece[end - 1]))
    plain = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>"))
    plain.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])  # type: ignore[assignment]
    plain.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])  # type: ignore[assignment]
    return PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="<pad>", bos_token="<s>", eos_token="</s>")
