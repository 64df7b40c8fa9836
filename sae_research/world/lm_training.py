"""Trains the world's language model: a small GPT-NeoX, with Muon on the blocks' matrices and AdamW on the rest."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from jaxtyping import Float, Int
from safetensors.torch import save as safetensors_bytes
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerBase

from sae_research.files import write_atomically
from sae_research.progress import Progress
from sae_research.world.muon import Muon
from sae_research.world.settings import LM_UNITS, Recipe
from sae_research.world.tokenizer import BOS, EOS, PAD

_ANSWER_WEIGHT = 6.0
"""Weight of the loss on tokens that answer a question or a spelling line: 1.5 % of all tokens, which evals ask for."""
_WARM_UP, _CONSTANT_UNTIL = 0.03, 0.40
_GRADIENT_NORM = 1.0
_ADAM_RATE = 3e-3
_CUES = (" letter", "Answer")
"""Tokens before the colon of a cue, which an answer follows."""


@dataclass(frozen=True)
class LmSummary:
    """Statistics of a finished training."""

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
    pool: Executor,
) -> LmSummary:
    """Trains `model` in place in one pass over `rows` in order; `weights` are those of the loss."""
    batches = zip(rows.split(recipe.lm_batch_size), weights.split(recipe.lm_batch_size), strict=True)
    losses: list[float] = []
    model.train()
    optimizer = _Optimizer(model)
    for (tokens, weight), rate in zip(batches, _rates(recipe.lm_steps), strict=False):
        losses.append(differentiate(model, tokens, weight, recipe.n_workers, pool))
        torch.nn.utils.clip_grad_norm_(model.parameters(), _GRADIENT_NORM)
        optimizer.step(rate, pool)
        progress.advance(LM_UNITS, doing=f"language model, loss {losses[-1]:.2f}")
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
    """Writes `config.json` and `model.safetensors` as `save_pretrained` does, but without a progress bar."""
    folder.mkdir(parents=True, exist_ok=True)
    model.config.architectures = [type(model).__name__]
    model.config.dtype = "float32"
    model.config.save_pretrained(folder)
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    write_atomically(folder / "model.safetensors", safetensors_bytes(tensors, metadata={"format": "pt"}))


def differentiate(
    model: GPTNeoXForCausalLM,
    tokens: Int[Tensor, "row position"],
    weight: Float[Tensor, "row target"],
    n_parts: int,
    pool: Executor,
) -> float:
    """The batch's mean weighted loss; leaves its gradient in the parameters. The batch is split into parts of rows."""
    parameters, total = list(model.parameters()), weight.sum()

    def of_part(part: Tensor, part_weight: Tensor) -> tuple[float, tuple[Tensor, ...]]:
        loss = _summed_loss(model, part, part_weight) / total
        return loss.item(), torch.autograd.grad(loss, parameters)

    losses, gradients = zip(*pool.map(of_part, tokens.chunk(n_parts), weight.chunk(n_parts)), strict=True)
    for parameter, *of_parts in zip(parameters, *gradients, strict=True):
        parameter.grad = sum(of_parts[1:], of_parts[0])
    return sum(losses)


def _summed_loss(
    model: GPTNeoXForCausalLM, tokens: Int[Tensor, "row position"], weight: Float[Tensor, "row target"]
) -> Float[Tensor, ""]:
    hidden = model.gpt_neox(tokens, use_cache=False).last_hidden_state[:, :-1]
    logits = model.get_output_embeddings()(hidden)
    losses = cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="none")
    return (losses * weight.flatten()).sum()


@final
class _Optimizer:
    """Muon for the matrices inside the blocks; AdamW for embeddings, head, biases and norms."""

    def __init__(self, model: GPTNeoXForCausalLM) -> None:
        matrices = [p for p in model.gpt_neox.layers.parameters() if p.ndim == 2]
        inside = {id(p) for p in matrices}
        rest = [p for p in model.parameters() if id(p) not in inside]
        self._muon = Muon(matrices, lr=0.02, weight_decay=0.01)
        self._adam = torch.optim.AdamW(rest, lr=_ADAM_RATE, betas=(0.9, 0.95), fused=True)

    def step(self, rate: float, pool: Executor) -> None:
        """Takes a step at the fraction `rate` of the full learning rates."""
        self._muon.step(rate, pool)
        self._adam.param_groups[0]["lr"] = _ADAM_RATE * rate
        self._adam.step()


def _rates(steps: int) -> Iterator[float]:
    """Fractions of the full learning rate: a short warm-up, constant, then linear to zero."""
    for step in range(steps):
        progress = (step + 1) / steps
        yield min(1.0, progress / _WARM_UP, (1.0 - step / steps) / (1.0 - _CONSTANT_UNTIL))
