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
from sae_research.evals.shared.batches import finite, is_real, pieces
from sae_research.lm.site import Site
from sae_research.saes.encoding import Screen


class Firing(NamedTuple):
    """What a corpus shows of the SAEs at a site."""

    rates: dict[Attempt, Float[Tensor, " d_sae"]]
    """Share of real tokens on which each latent's code is not 0."""
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
    """`n_rows` rows of tokens drawn by `key` from all that the texts give; all of them where there are no more."""
    rows = token_rows(texts, tokenizer, context_size=context_size, name=f"corpus {key[0]!r}")
    drawn = draw([str(i) for i in range(len(rows))], n_rows, "rows", *key)
    return rows[sorted(int(i) for i in drawn)]


def count_firing(
    context: EvalContext, attempts: Sequence[Attempt], site: Site, rows: Int[Tensor, "row position"]
) -> Firing:
    """Firing rates of every SAE that lives; batches of the language model are `context.batch_size` rows."""
    lm = context.lm
    device = lm.device
    counts = {a: torch.zeros(a.sae.card.d_sae, dtype=torch.int64, device=device) for a in attempts if a.error is None}
    screens = {attempt: attempt.do(Screen.of, attempt.sae) for attempt in counts}
    tokens_read, norms = 0, 0.0
    for part in rows.split(context.batch_size):
        tokens = part.to(device)
        x, real = lm.capture(tokens, site), is_real(lm, tokens)
        tokens_read += int(real.sum())
        norms += float(x[real].float().norm(dim=1).double().sum())
        for attempt, fired in do_each(device, counts, _fired, x, real, screens).items():
            counts[attempt] += fired
        context.progress.advance(len(part), doing=f"{len(attempts)} SAEs at {site.hook_name}")
    rates = {attempt: total.double() / max(1, tokens_read) for attempt, total in counts.items()}
    return Firing(rates, norms / max(1, tokens_read))


def _fired(
    attempt: Attempt,
    x: Float[Tensor, "row position d"],
    real: Bool[Tensor, "row position"],
    screens: Mapping[Attempt, Screen | None],
) -> Int[Tensor, " d_sae"]:
    """On how many real tokens each latent fires."""
    sae, screen = attempt.sae, screens[attempt]
    found = screen.encode(x[real]) if screen is not None else None
    if found is not None:
        return torch.bincount(found.latents.long(), minlength=sae.card.d_sae)
    total = torch.zeros(sae.card.d_sae, dtype=torch.int64, device=x.device)
    for part in pieces(sae, *x.shape[:2]):
        codes = finite(sae.encode(x[part], mask=real[part]), "codes")
        total += (codes != 0).flatten(0, 1).sum(dim=0)
    return total
