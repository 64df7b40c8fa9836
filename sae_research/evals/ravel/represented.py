"""The prompts' entities at every site, as the model and every SAE represent them: from one run over the prompts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from sae_research.evals.base import EvalContext
from sae_research.evals.ravel.codes import EntityCodes, entity_codes, latents_of
from sae_research.evals.ravel.pairs import Pairs
from sae_research.evals.ravel.prompts import Prompts, equal_lengths, rows_at_once
from sae_research.evals.ravel.swaps import Latents
from sae_research.evals.shared.attempts import Attempt, do_each
from sae_research.evals.shared.batches import is_real
from sae_research.lm.site import Site


class Represented(NamedTuple):
    """All prompts at one site."""

    x: Float[Tensor, "prompt d"]
    """The activations at the entities' last tokens."""
    latents: dict[Attempt, Latents]
    """The codes of those prompts that occur in pairs, of every SAE that has not failed."""


def represent(
    context: EvalContext, prompts: Prompts, attempts: Mapping[Site, Sequence[Attempt]], pairs: Iterable[Pairs]
) -> dict[Site, Represented]:
    """What `attempts` need to swap the `pairs`: by site, the activations and every SAE's codes of them."""
    lm, device = context.lm, context.lm.device
    is_paired = torch.zeros(len(prompts.items), dtype=torch.bool)
    for part in pairs:
        is_paired[part.base] = is_paired[part.source] = True
    x = {site: torch.zeros(len(prompts.items), lm.width(site), device=device) for site in attempts}
    codes: dict[Attempt, list[EntityCodes]] = {
        attempt: [] for of_site in attempts.values() for attempt in of_site if attempt.error is None
    }
    for rows in equal_lengths(prompts.lengths, rows_at_once(context)):
        tokens = prompts.tokens[rows][:, : int(prompts.lengths[rows[0]])].to(device)
        entity, paired = prompts.entity[rows].to(device), is_paired[rows]
        at, batch = paired.to(device), rows[paired]
        for site, whole in lm.capture_each(tokens, list(attempts)).items():
            x[site][rows] = whole[torch.arange(len(rows), device=device), entity].float()
            if len(batch):
                running = [attempt for attempt in attempts[site] if attempt in codes]
                real = is_real(lm, tokens)[at]
                each = do_each(device, running, entity_codes, batch, whole[at], real, entity[at])
                for attempt, some in each.items():
                    codes[attempt].append(some)
    by_site: dict[Site, Represented] = {}
    for site, of_site in attempts.items():
        by_sae = {a: a.do(latents_of, a.sae, codes[a], x[site]) for a in of_site if a in codes}
        by_site[site] = Represented(x[site], {a: latents for a, latents in by_sae.items() if latents is not None})
    return by_site
