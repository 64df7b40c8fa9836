"""Cross-entropy and KL divergence of next-token predictions, without ever holding all logits."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import NamedTuple, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

Name = TypeVar("Name", bound=Hashable)

# Elements of one chunk of logits: 32 MiB in float32, so that the passes over it stay near the cache.
_CHUNK_ELEMENTS = 2**23
# A whole number of blocks of this many rows keeps matrix products at full speed.
_ROWS = 64


class Losses(NamedTuple):
    """Per token, in nats."""

    cross_entropy: Float[Tensor, " tokens"]
    divergence: Float[Tensor, " tokens"]
    """KL(clean || changed), summed over the vocabulary."""


def compare_predictions(
    clean: Float[Tensor, "tokens width"],
    changed: Mapping[Name, Float[Tensor, "tokens width"]],
    targets: Int[Tensor, " tokens"],
    unembed: Callable[[Tensor], Tensor],
    *,
    vocab_size: int,
) -> tuple[Float[Tensor, " tokens"], dict[Name, Losses]]:
    """The cross-entropy of the clean predictions, and the losses of each changed one against targets and clean.

    Inputs are final hidden states; logits exist for a chunk of tokens at a time, the clean ones once for all.
    Both losses come from log_softmax in float32: no probability underflows to log(0).
    """
    step = max(1, _CHUNK_ELEMENTS // (vocab_size * _ROWS)) * _ROWS
    clean_loss = torch.empty(len(targets), dtype=torch.float32, device=clean.device)
    losses = {name: Losses(torch.empty_like(clean_loss), torch.empty_like(clean_loss)) for name in changed}
    for start in range(0, len(targets), step):
        part = slice(start, start + step)
        reference = _log_probabilities(unembed(clean[part]))
        probabilities = reference.exp()
        clean_loss[part] = _pick(reference, targets[part])
        for name, hidden in changed.items():
            own = _log_probabilities(unembed(hidden[part]))
            losses[name].cross_entropy[part] = _pick(own, targets[part])
            losses[name].divergence[part] = _divergence(probabilities, reference, own)
    return clean_loss, losses


def _log_probabilities(logits: Tensor) -> Tensor:
    return torch.log_softmax(logits.to(torch.float32), dim=-1)


def _pick(log_probabilities: Tensor, targets: Tensor) -> Tensor:
    return -log_probabilities.gather(1, targets[:, None]).squeeze(1)


def _divergence(probabilities: Tensor, reference: Tensor, own: Tensor) -> Tensor:
    """Σ p (log p - log q); overwrites `own`. Where p underflows to 0 its term is 0 because both logs are finite."""
    return torch.linalg.vecdot(probabilities, torch.sub(reference, own, out=own))
