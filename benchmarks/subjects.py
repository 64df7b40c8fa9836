"""Random language models, and SAEs at one of their sites."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    PretrainedConfig,
    PreTrainedTokenizerFast,
)

from sae_research.lm.model import LanguageModel
from sae_research.lm.site import Site
from sae_research.saes.base import Sae, SaeCard
from sae_research.saes.build import build_sae

SPECIAL = ("<pad>", "<eos>", "<bos>")
STANDARD = ("relu", "topk", "batchtopk", "jumprelu", "gated")
PURSUIT = ("ihtp", "mpsae")
# Average number of latents that fire on a token, for the first, second, ... SAE of an architecture.
_L0 = (32, 64, 16, 128)


@dataclass(frozen=True)
class Shape:
    """The sizes of a random model and of its SAEs."""

    family: str
    vocab: int
    width: int
    layers: int
    heads: int
    mlp: int
    site_layer: int
    d_sae: int


SHAPES: Mapping[str, Shape] = {
    "pythia-70m-shaped": Shape("neox", 50_304, 512, 6, 8, 2048, 4, 4096),
    # Gemma 2 2B's widths with 4 of its 26 layers, so that a processor holds it.
    "gemma-shaped": Shape("gemma2", 256_000, 2304, 4, 8, 9216, 1, 16_384),
    "gemma-2-2b-shaped": Shape("gemma2", 256_000, 2304, 26, 8, 9216, 12, 16_384),
    # Small ones, for parity.
    "tiny-neox": Shape("neox", 512, 64, 3, 4, 128, 1, 256),
    "tiny-gpt2": Shape("gpt2", 512, 64, 3, 4, 256, 1, 256),
    "tiny-llama": Shape("llama", 512, 64, 3, 4, 128, 1, 256),
    "tiny-gemma2": Shape("gemma2", 512, 64, 3, 4, 128, 1, 256),
}


def write_model(shape: Shape, folder: Path, *, seed: int) -> None:
    """Saves a random model of `shape` with a tokenizer of one word per id."""
    random_model(shape, seed=seed).save_pretrained(folder)
    _tokenizer(shape.vocab).save_pretrained(folder)


@torch.no_grad()
def random_model(shape: Shape, *, seed: int, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Any:
    """A random model of `shape`, made where it is to be."""
    torch.manual_seed(seed)
    # As `lm.load` chooses: only the eager attention caps scores.
    attention = {"attn_implementation": "eager"} if shape.family == "gemma2" else {}
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(_config(shape), dtype=dtype, **attention)
    for parameter in model.parameters():
        if parameter.dim() == 1:  # Norms and biases, which start out as ones and zeros.
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval().requires_grad_(False)


def _config(shape: Shape) -> PretrainedConfig:
    ids: dict[str, Any] = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}
    scale: dict[str, Any] = {"vocab_size": shape.vocab, "initializer_range": 1.5 / shape.width**0.5}
    common: dict[str, Any] = {
        "hidden_size": shape.width, "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads,
        "intermediate_size": shape.mlp, "max_position_embeddings": 256,
    }  # fmt: skip
    match shape.family:
        case "neox":
            return GPTNeoXConfig(**common, **scale, **ids, tie_word_embeddings=False)
        case "llama":
            return LlamaConfig(**common, **scale, **ids, num_key_value_heads=shape.heads // 2)
        case "gemma2":
            head = 256 if shape.width > 1000 else shape.width // shape.heads
            return Gemma2Config(
                **common, **scale, **ids, num_key_value_heads=shape.heads // 2, head_dim=head,
                query_pre_attn_scalar=head, sliding_window=64,
            )  # fmt: skip
        case _:
            return GPT2Config(
                n_embd=shape.width, n_layer=shape.layers, n_head=shape.heads, n_inner=shape.mlp, n_positions=256,
                **scale, **ids,
            )  # fmt: skip


def _tokenizer(vocab: int) -> PreTrainedTokenizerFast:
    words = [*SPECIAL, *(f"w{i}" for i in range(vocab - len(SPECIAL)))]
    plain = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="w0"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    return PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>", padding_side="right"
    )


def random_saes(
    lm: LanguageModel, site: Site, rows: Tensor, *, architectures: Sequence[str], d_sae: int, seed: int
) -> list[Sae]:
    """Random SAEs whose biases and thresholds let a fixed number of latents fire on the activations of `rows`."""
    with torch.no_grad():
        x = lm.capture(rows.to(lm.device), site).float().flatten(0, 1).unique(dim=0)
        x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(seed)).to(x.device)]
    saes: list[Sae] = []
    for index, architecture in enumerate(architectures):
        l0 = _L0[architectures[:index].count(architecture) % len(_L0)]
        card = SaeCard(
            name=f"{index:02d}_{architecture}", architecture=architecture, site=site, d_in=x.shape[1], d_sae=d_sae,
            model_name=lm.name, hyperparameters=_hyperparameters(architecture, l0),
        )  # fmt: skip
        saes.append(build_sae(card, _tensors(architecture, x, d_sae, min(l0, d_sae // 8), seed + index)))
    return saes


def _hyperparameters(architecture: str, l0: int) -> dict[str, Any]:
    return {"topk": {"k": l0}, "ihtp": {"k": 1}, "mpsae": {"s": l0}}.get(architecture, {})


def _tensors(architecture: str, x: Float[Tensor, "n d"], d_sae: int, l0: int, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    mean = x.mean(dim=0)
    decoder = torch.nn.functional.normalize(torch.randn(d_sae, x.shape[1], generator=generator), dim=1).to(x.device)
    if architecture in PURSUIT:
        return {"W_dec": decoder, "b_dec": mean}
    noise = torch.randn(decoder.T.shape, generator=generator).to(x.device)
    encoder = decoder.T + 0.05 * noise / x.shape[1] ** 0.5
    # The level that each latent exceeds on a share l0 / d_sae of the tokens. It lies halfway between two tokens: at a
    # token's own value, rounding on either side would decide whether the latent fires.
    acts = (x[:4096] if architecture == "jumprelu" else x[:4096] - mean) @ encoder
    at = int((1 - l0 / d_sae) * len(acts)) - 1
    level = acts.sort(dim=0).values[at : at + 2].mean(dim=0)
    zero = torch.zeros(d_sae, device=x.device)
    tensors = {"W_enc": encoder, "W_dec": decoder, "b_dec": mean}
    match architecture:
        case "relu" | "topk":
            return {**tensors, "b_enc": -level if architecture == "relu" else zero}
        case "gated":
            return {**tensors, "b_gate": -level, "b_mag": zero, "r_mag": zero}
        case _:
            return {**tensors, "b_enc": zero, "threshold": level.clamp(min=1e-3)}
