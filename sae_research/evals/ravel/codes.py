"""An SAE's codes of the prompts' entities: encoded a few prompts at a time, and held without their zeros."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sae_research.evals.ravel.swaps import Latents
from sae_research.evals.shared.attempts import Attempt
from sae_research.saes.base import Sae
from sae_research.saes.codes import SparseCodes, joined, sparse_codes
from sae_research.saes.encoding import encode_at


class EntityCodes(NamedTuple):
    """One SAE on the entities of a few prompts."""

    prompts: Int[Tensor, " row"]
    """Which prompts."""
    codes: SparseCodes
    """What each contributes to the activation (`Sae.contributions`)."""
    x_hat: Float[Tensor, "row d"]


def entity_codes(
    attempt: Attempt,
    prompts: Int[Tensor, " row"],
    x: Float[Tensor, "row position d"],
    real: Bool[Tensor, "row position"],
    entity: Int[Tensor, " row"],
) -> EntityCodes:
    """The codes at the positions `entity` of these prompts, and the reconstruction there."""
    codes: list[SparseCodes] = []
    x_hat: list[Tensor] = []
    for x_at, dense in encode_at(attempt.sae, x, real, entity):
        codes.append(sparse_codes(attempt.sae.contributions(dense, x_at)))
        x_hat.append(attempt.sae.decode(dense.to(attempt.sae.W_dec.dtype), x_at).float())
    return EntityCodes(prompts, joined(codes), torch.cat(x_hat))


def latents_of(sae: Sae, parts: Sequence[EntityCodes], x: Float[Tensor, "prompt d"]) -> Latents:
    """The SAE's features of every prompt with the activation `x`; 0 for prompts that no part has."""
    nothing = SparseCodes(
        torch.zeros(1, dtype=torch.long, device=x.device),
        torch.zeros(0, dtype=torch.long, device=x.device),
        x.new_zeros(0),
    )
    codes = joined([nothing, *(part.codes for part in parts)])
    # Row 0 of these codes is the empty one.
    row, x_hat = torch.zeros(len(x), dtype=torch.long, device=x.device), torch.zeros_like(x)
    if parts:
        prompts = torch.cat([part.prompts for part in parts]).to(x.device)
        row[prompts] = torch.arange(1, len(prompts) + 1, device=x.device)
        x_hat[prompts] = torch.cat([part.x_hat for part in parts])
    return Latents(codes.take(row), x_hat, x, sae.W_dec.float())
