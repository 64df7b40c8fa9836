"""Answers under every intervention of one SAE; the model runs again only where an intervention changes something."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sae_research.evals.unlearning.grid import ChosenLatents
from sae_research.evals.unlearning.prompts import PromptBatch, Protocol, real_tokens, right_answers
from sae_research.lm.model import LanguageModel
from sae_research.lm.site import Site
from sae_research.saes.base import Sae
from sae_research.saes.encoding import Encoder


@dataclass(frozen=True)
class Clamping:
    """One SAE's interventions."""

    encoder: Encoder
    chosen: ChosenLatents
    levels: Float[Tensor, "multiplier union"]
    """The size of the clamped code of each latent for each multiplier, in the SAE's own units."""

    def changes(
        self, codes: Float[Tensor, "row position union"], clamped: Bool[Tensor, "row union"], level: Tensor
    ) -> Float[Tensor, "row position d"]:
        """The change of the activation by clamping the latents `clamped` of each row: Σ (-level sign(z) - z) W_dec.

        It is in the units of the codes (`Sae.contributions`).
        """
        moved = torch.where((codes != 0) & clamped[:, None], -level * codes.sign() - codes, 0)
        return moved @ self.encoder.sae.W_dec[self.chosen.latents]


def units(sae: Sae, chosen: ChosenLatents, mean_norm: float, *, scaled: bool) -> Float[Tensor, " union"]:
    """The size of code that a multiplier of 1 stands for, by chosen latent.

    The norm of activations that an SAE normalises is sqrt(d_in) in its own units.
    """
    atoms = sae.W_dec[chosen.latents]
    if not scaled:
        return torch.ones(len(atoms), device=atoms.device)
    relative = mean_norm / sae.card.d_in**0.5 if sae.card.input_norm == "none" else 1.0
    return relative / atoms.float().norm(dim=1).clamp(min=1e-12)


class _Variants(NamedTuple):
    """The distinct ways in which interventions change the prompts of a batch."""

    prompts: Int[Tensor, " variant"]
    clamped: Bool[Tensor, "variant union"]
    """The latents of a set that fire in the prompt, and so are clamped there."""
    changed: Bool[Tensor, "prompt set"]
    """Whether the set changes the prompt at all."""
    variant: Int[Tensor, " changed"]
    """The variant of each changed pair of prompt and set, in order."""


def answer_clamped(
    lm: LanguageModel,
    site: Site,
    batch: PromptBatch,
    x: Float[Tensor, "row position d"],
    clamping: Clamping,
    protocol: Protocol,
    *,
    tokens_at_once: int,
) -> Bool[Tensor, "prompt set multiplier"]:
    """Whether each prompt, which the unmodified model answers correctly, is so answered under each intervention.

    A prompt in which no latent of a set fires does not change; two sets that clamp the same latents in it share a run.
    """
    codes = _chosen_codes(lm, batch, x, clamping)
    variants = _variants(codes, batch, clamping.chosen)
    right = torch.ones(*variants.changed.shape, len(clamping.levels), dtype=torch.bool, device=x.device)
    if not len(variants.prompts):
        return right
    right_of_variant = torch.empty(len(variants.prompts), len(clamping.levels), dtype=torch.bool, device=x.device)
    step = max(1, tokens_at_once * len(batch.answers) // max(1, batch.tokens.numel()))
    for part in torch.arange(len(variants.prompts), device=x.device).split(step):
        taken, rows = batch.take(variants.prompts[part])
        for place, level in enumerate(clamping.levels):
            change = clamping.changes(codes[rows], variants.clamped[part][taken.owners], level)
            change = clamping.encoder.sae.contributions(change, x[rows])
            hidden = lm.resume(site, x[rows] + change.to(x.dtype), taken.tokens)
            right_of_variant[part, place] = right_answers(lm, hidden, taken, protocol)
    right[variants.changed] = right_of_variant[variants.variant]
    return right


def _chosen_codes(
    lm: LanguageModel, batch: PromptBatch, x: Tensor, clamping: Clamping
) -> Float[Tensor, "row position union"]:
    """The chosen latents' codes at real tokens, 0 elsewhere."""
    real = real_tokens(lm, batch)
    latents, d_sae = clamping.chosen.latents, clamping.encoder.sae.card.d_sae
    codes = torch.zeros(*real.shape, len(latents), device=x.device)
    codes[real] = torch.cat([part.columns(latents, d_sae) for part in clamping.encoder.encode(x, real)]).float()
    return codes


def _variants(codes: Tensor, batch: PromptBatch, chosen: ChosenLatents) -> _Variants:
    fires = torch.zeros(len(batch.answers), codes.shape[-1], device=codes.device)
    fires.index_add_(0, batch.owners, (codes != 0).any(dim=1).float())
    clamped = (fires > 0)[:, None] & chosen.sets
    changed = clamped.any(dim=-1)
    # One row per changed pair of prompt and set: the prompt, then the latents that are clamped in it.
    rows = torch.cat([changed.nonzero()[:, :1], clamped[changed].long()], dim=1)
    distinct, variant = torch.unique(rows, dim=0, return_inverse=True)
    return _Variants(distinct[:, 0], distinct[:, 1:].bool(), changed, variant)
