"""How often each latent fires on a corpus, for all SAEs of a site in one pass of the language model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from sae_research.data.draw import draw
from sae_research.data.text import token_rows
from sae_research.evals.base import EvalContext
from sae_research.evals.shared.attempts import Attempt, do_each
from sae_research.evals.shared.batches import is_real
from sae_research.lm.site import Site
from sae_research.saes.base import Sae
from sae_research.saes.encoding import Encoder, pieces
from sae_research.saes.pursuit.thresholding import chooses_by_token, chosen_by_token


class FiringRates(NamedTuple):
    """Firing rates and activation norm on a corpus, for the SAEs at a site."""

    rates: dict[Attempt, Float[Tensor, " d_sae"]]
    """Share of real tokens on which each latent's code is not 0; for scope `sequence`, of those that choose it."""
    mean_norm: float
    """Mean norm of the activation at real tokens."""


def corpus_rows(
    texts: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    *,
    context_size: int,
    n_rows: int,
    key: tuple[str | int, ...],
) -> Int[Tensor, "row position"]:
    """`n_rows` rows of tokens, drawn by `key` from all rows of the texts; or all of them if they are fewer."""
    rows = token_rows(texts, tokenizer, context_size=context_size, name=f"corpus {key[0]!r}")
    drawn = draw([str(i) for i in range(len(rows))], n_rows, "rows", *key)
    return rows[sorted(int(i) for i in drawn)]


def count_firing(
    context: EvalContext, attempts: Sequence[Attempt], site: Site, rows: Int[Tensor, "row position"]
) -> FiringRates:
    """Firing rates of every SAE that has not failed, in one pass of the language model."""
    lm = context.lm
    device = lm.device
    counts = {a: torch.zeros(a.sae.card.d_sae, dtype=torch.int64, device=device) for a in attempts if a.error is None}
    encoders = {attempt: Encoder(attempt.sae) for attempt in counts}
    tokens_read, norms = 0, 0.0
    for part in rows.split(context.batch_size):
        tokens = part.to(device)
        x, real = lm.capture(tokens, site), is_real(lm, tokens)
        tokens_read += int(real.sum())
        norms += float(x[real].float().norm(dim=1).double().sum())
        for attempt, fired in do_each(device, counts, _count_tokens, x, real, encoders).items():
            counts[attempt] += fired
        context.progress.advance(len(part), doing=f"{len(attempts)} SAEs at {site.hook_name}")
    rates = {attempt: total.double() / max(1, tokens_read) for attempt, total in counts.items()}
    return FiringRates(rates, norms / max(1, tokens_read))


def has_firing_rates(sae: Sae) -> bool:
    """Whether its latents fire on single tokens: those of scope `sequence` fire, if at all, on nearly all of a row."""
    return sae.scope == "token" or chooses_by_token(sae)


def _count_tokens(
    attempt: Attempt,
    x: Float[Tensor, "row position d"],
    real: Bool[Tensor, "row position"],
    encoders: Mapping[Attempt, Encoder],
) -> Int[Tensor, " d_sae"]:
    """On how many real tokens each latent fires, or is chosen if its SAE has scope `sequence`."""
    sae = attempt.sae
    total = torch.zeros(sae.card.d_sae, dtype=torch.int64, device=x.device)
    if sae.scope == "sequence":
        tokens = x[real]
        for part in pieces(sae, len(tokens)):
            total += chosen_by_token(sae, tokens[part]).sum(dim=0)
        return total
    for codes in encoders[attempt].encode(x, real):
        total += torch.bincount(codes.latents, minlength=len(total))
    return total
