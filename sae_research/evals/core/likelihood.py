"""Cross-entropy, KL divergence and accuracy of next-token predictions, without holding all logits at once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import NamedTuple, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sae_research.device_memory import elements_at_once

Name = TypeVar("Name", bound=Hashable)

# Elements of one chunk of logits on a CPU: 32 MiB in float32, small enough to stay near the cache.
_CHUNK_ELEMENTS = 2**23
# Chunks are multiples of this many rows: matrix products run at full speed.
_ROWS = 64


class Predicted(NamedTuple):
    """How well next tokens are predicted, per token."""

    cross_entropy: Float[Tensor, " tokens"]
    """In nats."""
    is_right: Bool[Tensor, " tokens"]
    """Whether no token is likelier than the next one."""


class Losses(NamedTuple):
    """Per token, in nats."""

    predicted: Predicted
    divergence: Float[Tensor, " tokens"]
    """KL(clean || changed), summed over the vocabulary."""

    @property
    def cross_entropy(self) -> Float[Tensor, " tokens"]:
        return self.predicted.cross_entropy


def compare_predictions(
    clean: Float[Tensor, "tokens width"],
    changed: Mapping[Name, Float[Tensor, "tokens width"]],
    targets: Int[Tensor, " tokens"],
    unembed: Callable[[Tensor], Tensor],
    *,
    vocab_size: int,
) -> tuple[Predicted, dict[Name, Losses]]:
    """How well the clean predictions do, and the losses of each changed one.

    Inputs are final hidden states. Logits exist for one chunk of tokens at a time; the clean ones are computed once.
    Both losses come from log_softmax in float32: no probability underflows to log(0).
    """
    elements = elements_at_once(clean.device, on_cpu=_CHUNK_ELEMENTS)
    step = max(1, elements // (vocab_size * _ROWS)) * _ROWS

    def per_token(dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.empty(len(targets), dtype=dtype, device=clean.device)

    predicted = Predicted(per_token(), per_token(torch.bool))
    losses = {name: Losses(Predicted(per_token(), per_token(torch.bool)), per_token()) for name in changed}
    for start in range(0, len(targets), step):
        part = slice(start, start + step)
        log_p = torch.log_softmax(unembed(clean[part]).to(torch.float32), dim=-1)
        p = log_p.exp()
        _judge(predicted, part, log_p, targets)
        for name, hidden in changed.items():
            log_q = torch.log_softmax(unembed(hidden[part]).to(torch.float32), dim=-1)
            _judge(losses[name].predicted, part, log_q, targets)
            # Σ p (log p - log q), into log_q's memory. Where p underflows to 0 its term is 0: both logs are finite.
            losses[name].divergence[part] = torch.linalg.vecdot(p, torch.sub(log_p, log_q, out=log_q))
    return predicted, losses


def _judge(predicted: Predicted, part: slice, log_probabilities: Tensor, targets: Tensor) -> None:
    """Fills in the tokens `part` of `predicted`."""
    of_target = log_probabilities.gather(1, targets[part, None]).squeeze(1)
    predicted.cross_entropy[part] = -of_target
    predicted.is_right[part] = of_target >= log_probabilities.amax(dim=1)


def unigram_surprise(
    tokens: Int[Tensor, "sequences positions"], real: Bool[Tensor, "sequences positions"], *, vocab_size: int
) -> Float[Tensor, " vocab"]:
    """-log of each token's share among the next tokens of real ones, in nats; 0 for tokens that never come next."""
    targets = tokens.to(real.device)[:, 1:][real[:, :-1]]
    counts = torch.bincount(targets, minlength=vocab_size).double()
    return torch.where(counts > 0, -(counts / counts.sum()).log(), 0.0)
