"""Random language models, SAEs at one of their sites, token rows, labelled texts and questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
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

from sae_research.data.labelled import LabelledSet
from sae_research.evals.unlearning.questions import Question
from sae_research.lm.model import LanguageModel
from sae_research.lm.site import Site
from sae_research.lm.tokens import bos_id
from sae_research.saes.base import Sae, SaeCard
from sae_research.saes.build import build_sae

SPECIAL = ("<pad>", "<eos>", "<bos>")
STANDARD = ("relu", "topk", "batchtopk", "jumprelu", "gated")
PURSUIT = ("ihtp", "mpsae")
# Words of a text in the first, second, ... data set: as in biographies, reviews, news. Half of the positions of rows
# padded to 128 tokens are then padding, as in SAEBench's own sets (between 30 and 60 %).
WORDS = ((40, 120), (16, 112), (30, 70))
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
    torch.manual_seed(seed)
    model = _model(shape)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:  # Norms and biases, which start out as ones and zeros.
                parameter.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    _tokenizer(shape.vocab).save_pretrained(folder)


def _model(shape: Shape) -> Any:
    ids: dict[str, Any] = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}
    scale: dict[str, Any] = {"vocab_size": shape.vocab, "initializer_range": 1.5 / shape.width**0.5}
    common: dict[str, Any] = {
        "hidden_size": shape.width, "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads,
        "intermediate_size": shape.mlp, "max_position_embeddings": 256,
    }  # fmt: skip
    match shape.family:
        case "neox":
            return GPTNeoXForCausalLM(GPTNeoXConfig(**common, **scale, **ids, tie_word_embeddings=False))
        case "llama":
            return LlamaForCausalLM(LlamaConfig(**common, **scale, **ids, num_key_value_heads=shape.heads // 2))
        case "gemma2":
            head = 256 if shape.width > 1000 else shape.width // shape.heads
            config = Gemma2Config(
                **common, **scale, **ids, num_key_value_heads=shape.heads // 2, head_dim=head,
                query_pre_attn_scalar=head, sliding_window=64,
            )  # fmt: skip
            return Gemma2ForCausalLM(config)
        case _:
            config = GPT2Config(
                n_embd=shape.width, n_layer=shape.layers, n_head=shape.heads, n_inner=shape.mlp, n_positions=256,
                **scale, **ids,
            )  # fmt: skip
            return GPT2LMHeadModel(config)


def _tokenizer(vocab: int) -> PreTrainedTokenizerFast:
    words = [*SPECIAL, *(f"w{i}" for i in range(vocab - len(SPECIAL)))]
    plain = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="w0"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    return PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>", padding_side="right"
    )


def random_rows(
    lm: LanguageModel, n: int, *, context_size: int, seed: int, special: bool = True
) -> Int[Tensor, "n context"]:
    """Rows that begin with BOS and hold another about every 60 tokens, as running text of short documents does.

    Without `special` they hold ordinary tokens only.
    """
    generator = torch.Generator().manual_seed(seed)
    ids = _words(lm)
    # Zipf frequencies as in text, so that probabilities and latents are uneven.
    weights = 1 / torch.arange(10, len(ids) + 10, dtype=torch.float64)
    rows = ids[torch.multinomial(weights, n * context_size, replacement=True, generator=generator)]
    rows = rows.view(n, context_size)
    if not special:
        return rows
    bos = bos_id(lm.tokenizer)
    rows[torch.rand(rows.shape, generator=generator) < 1 / 60] = bos
    rows[:, 0] = bos
    return rows


def random_sets(
    lm: LanguageModel,
    n_sets: int,
    n_classes: int,
    *,
    train: int,
    test: int,
    seed: int,
    lengths: Sequence[tuple[int, int]] = WORDS,
) -> list[LabelledSet]:
    """Labelled texts in which each class prefers words of its own.

    `lengths` are the shortest and longest text in words, cycled over the data sets; readers cut texts to 128 tokens.
    """
    generator = torch.Generator().manual_seed(seed)
    ids = _words(lm)

    def texts(first: int, n: int, shortest: int, longest: int) -> list[str]:
        made = []
        for length in torch.randint(shortest, longest + 1, (n,), generator=generator).tolist():
            words = torch.randint(0, len(ids), (length,), generator=generator)
            of_class = torch.randint(first, first + 10, (length,), generator=generator) % len(ids)
            chosen = torch.where(torch.rand(length, generator=generator) < 0.06, of_class, words)
            made.append(str(lm.tokenizer.decode(ids[chosen].tolist())))
        return made

    sets = []
    for index in range(n_sets):
        firsts = {str(c): 15 * (n_classes * index + c) for c in range(n_classes)}
        halves = [
            {name: texts(first, n, *lengths[index % len(lengths)]) for name, first in firsts.items()}
            for n in (train, test)
        ]
        sets.append(LabelledSet(f"set{index}", "none", halves[0], halves[1], codes={name: name for name in firsts}))
    return sets


def random_questions(lm: LanguageModel, subject: str, n: int, *, seed: int) -> list[Question]:
    """Questions of 30 words with four options of one word each."""
    generator = torch.Generator().manual_seed(seed)
    ids = _words(lm)
    made = []
    for _ in range(n):
        chosen = ids[torch.randperm(len(ids), generator=generator)[:34]].tolist()
        words = [str(lm.tokenizer.decode([i])).strip() for i in chosen]
        answer = int(torch.randint(4, (1,), generator=generator))
        made.append(Question(subject, " ".join(words[:30]), tuple(words[30:]), answer))
    return made


def _words(lm: LanguageModel) -> Tensor:
    """The ids of all ordinary tokens."""
    return torch.tensor([i for i in range(min(lm.vocab_size, len(lm.tokenizer))) if i not in lm.special_ids])


def random_saes(
    lm: LanguageModel, site: Site, rows: Tensor, *, architectures: Sequence[str], d_sae: int, seed: int
) -> list[Sae]:
    """Random SAEs whose biases and thresholds let a fixed number of latents fire on the activations of `rows`."""
    with torch.no_grad():
        x = lm.capture(rows.to(lm.device), site).float().flatten(0, 1).cpu().unique(dim=0)
        x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))]
    saes: list[Sae] = []
    for index, architecture in enumerate(architectures):
        l0 = _L0[architectures[:index].count(architecture) % len(_L0)]
        card = SaeCard(
            name=f"{index:02d}_{architecture}", architecture=architecture, site=site, d_in=x.shape[1], d_sae=d_sae,
            model_name=lm.name, hyperparameters=_hyperparameters(architecture, l0),
        )  # fmt: skip
        saes.append(build_sae(card, _tensors(architecture, x, d_sae, min(l0, d_sae // 8), seed + index)).to(lm.device))
    return saes


def _hyperparameters(architecture: str, l0: int) -> dict[str, Any]:
    return {"topk": {"k": l0}, "ihtp": {"k": 1}, "mpsae": {"s": l0}}.get(architecture, {})


def _tensors(architecture: str, x: Float[Tensor, "n d"], d_sae: int, l0: int, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    mean = x.mean(dim=0)
    decoder = torch.nn.functional.normalize(torch.randn(d_sae, x.shape[1], generator=generator), dim=1)
    if architecture in PURSUIT:
        return {"W_dec": decoder, "b_dec": mean}
    encoder = decoder.T + 0.05 * torch.randn(decoder.T.shape, generator=generator) / x.shape[1] ** 0.5
    # The level that each latent exceeds on a share l0 / d_sae of the tokens. It lies halfway between two tokens: at a
    # token's own value, rounding on either side would decide whether the latent fires.
    acts = (x[:4096] if architecture == "jumprelu" else x[:4096] - mean) @ encoder
    at = int((1 - l0 / d_sae) * len(acts)) - 1
    level = acts.sort(dim=0).values[at : at + 2].mean(dim=0)
    zero = torch.zeros(d_sae)
    tensors = {"W_enc": encoder, "W_dec": decoder, "b_dec": mean}
    match architecture:
        case "relu" | "topk":
            return {**tensors, "b_enc": -level if architecture == "relu" else zero}
        case "gated":
            return {**tensors, "b_gate": -level, "b_mag": zero, "r_mag": zero}
        case _:
            return {**tensors, "b_enc": zero, "threshold": level.clamp(min=1e-3)}
