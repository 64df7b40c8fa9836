"""Trains the world's language model: a small GPT-NeoX, with Muon on the blocks' matrices and AdamW on the rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from safetensors.torch import save as safetensors_bytes
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerBase

from sae_research.files import write_atomically
from sae_research.progress import Progress
from sae_research.world.settings import Recipe
from sae_research.world.tokenizer import BOS, EOS, PAD

_ANSWER_WEIGHT = 6.0
"""Weight of the loss on tokens that answer a question or a spelling line: 1.5 % of all, and what evals ask for."""
_WARM_UP, _CONSTANT_UNTIL = 0.03, 0.40
_GRADIENT_NORM = 1.0
_CUES = (" letter", "Answer")
"""What stands before the colon that an answer follows."""


@dataclass(frozen=True)
class LmSummary:
    """How training went."""

    parameters: int
    tokens: int
    final_loss: float
    """Mean weighted loss of the last twentieth of the steps, in nats per token."""


def make_model(tokenizer: PreTrainedTokenizerBase, recipe: Recipe, *, seed: int) -> GPTNeoXForCausalLM:
    """An untrained model of the recipe's shape."""
    torch.manual_seed(seed)
    ids = tokenizer.get_vocab()
    config = GPTNeoXConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.d_model,
        num_hidden_layers=recipe.n_layers,
        num_attention_heads=recipe.n_heads,
        intermediate_size=4 * recipe.d_model,
        max_position_embeddings=2 * recipe.context_size,
        initializer_range=0.04,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 1.0},
        bos_token_id=ids[BOS],
        eos_token_id=ids[EOS],
        pad_token_id=ids[PAD],
        tie_word_embeddings=False,
    )
    return GPTNeoXForCausalLM(config)


def train_lm(
    model: GPTNeoXForCausalLM,
    rows: Int[Tensor, "row position"],
    weights: Float[Tensor, "row target"],
    recipe: Recipe,
    progress: Progress,
    *,
    units: int = 1,
) -> LmSummary:
    """Trains `model` in place, one pass over `rows` in their order; `weights` are those of the loss.

    Each step counts as `units` of progress.
    """
    batches = zip(rows.split(recipe.lm_batch_size), weights.split(recipe.lm_batch_size), strict=True)
    losses: list[float] = []
    model.train()
    optimizers = _optimizers(model)
    for (tokens, weight), rate in zip(batches, _rates(recipe.lm_steps), strict=False):
        _set_rate(optimizers, rate)
        loss = _loss(model, tokens, weight)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), _GRADIENT_NORM)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
        progress.advance(units, doing=f"language model, loss {losses[-1]:.2f}")
    model.eval()
    last = losses[-max(1, len(losses) // 20) :]
    tokens_seen = len(losses) * recipe.lm_batch_size * recipe.context_size
    n_parameters = sum(p.numel() for p in model.parameters())
    return LmSummary(parameters=n_parameters, tokens=tokens_seen, final_loss=round(sum(last) / len(last), 4))


def answer_weights(
    rows: Int[Tensor, "row position"], tokenizer: PreTrainedTokenizerBase
) -> Float[Tensor, "row target"]:
    """The weight of each position's target: higher after `Answer:` and after `first letter:`."""
    colon = tokenizer.convert_tokens_to_ids(":")
    cues = torch.tensor([i for cue in _CUES for i in tokenizer.encode(cue, add_special_tokens=False)[-1:]])
    after_cue = torch.isin(rows[:, :-2], cues) & (rows[:, 1:-1] == colon)
    weights = torch.ones(rows.shape[0], rows.shape[1] - 1)
    weights[:, 1:][after_cue] = _ANSWER_WEIGHT
    return weights


def save_lm(model: GPTNeoXForCausalLM, folder: Path) -> None:
    """Writes `config.json` and `model.safetensors`, as `save_pretrained` does but without a bar of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    model.config.architectures = [type(model).__name__]
    model.config.dtype = "float32"
    model.config.save_pretrained(folder)
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    write_atomically(folder / "model.safetensors", safetensors_bytes(tensors, metadata={"format": "pt"}))


def _loss(
    model: GPTNeoXForCausalLM, tokens: Int[Tensor, "row position"], weight: Float[Tensor, "row target"]
) -> Float[Tensor, ""]:
    hidden = model.gpt_neox(tokens, use_cache=False).last_hidden_state[:, :-1]
    logits = model.get_output_embeddings()(hidden)
    losses = cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="none")
    return (losses * weight.flatten()).sum() / weight.sum()


def _optimizers(model: GPTNeoXForCausalLM) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the blocks; AdamW for embeddings, head, biases and norms."""
    matrices = [p for p in model.gpt_neox.layers.parameters() if p.ndim == 2]
    inside = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in inside]
    return [
        torch.optim.Muon(matrices, lr=0.02, weight_decay=0.01),
        torch.optim.AdamW(rest, lr=3e-3, betas=(0.9, 0.95), fused=True),
    ]


def _rates(steps: int) -> Iterator[float]:
    """Fractions of the full learning rate: a short warm-up, constant, then linear to zero."""
    for step in range(steps):
        done = (step + 1) / steps
        yield min(1.0, done / _WARM_UP, (1.0 - step / steps) / (1.0 - _CONSTANT_UNTIL))


def _set_rate(optimizers: list[torch.optim.Optimizer], rate: float) -> None:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group.setdefault("full_lr", group["lr"])
            group["lr"] = group["full_lr"] * rate
