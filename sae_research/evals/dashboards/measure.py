"""The pass of dashboards: the language model reads the text once for all SAEs of a site."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from sae_research.evals.base import EvalContext, Outcome
from sae_research.evals.dashboards.atoms import nearest_atoms, no_logits, promoted_tokens
from sae_research.evals.dashboards.report import Shown, dashboards_output
from sae_research.evals.dashboards.sample import candidates, draw_by_density, known_latents
from sae_research.evals.dashboards.settings import DashboardsSettings
from sae_research.evals.dashboards.token_texts import TokenTexts
from sae_research.evals.judged.corpus import Corpus
from sae_research.evals.judged.firings import Codes, find_codes
from sae_research.evals.shared.attempts import Attempt, do_each
from sae_research.evals.shared.batches import is_real
from sae_research.evals.shared.text_rows import by_first_token, text_rows
from sae_research.measurements import EvalOutput
from sae_research.saes.base import Sae


def measure_dashboards(context: EvalContext, saes: Sequence[Sae], settings: DashboardsSettings) -> Iterator[Outcome]:
    """The outcome of every SAE; all are at one site."""
    for prepend_bos, group in by_first_token(saes).items():
        rows = text_rows(
            context,
            settings.dataset,
            settings.split,
            context_size=settings.context_size,
            n_rows=settings.n_rows,
            prepend_bos=prepend_bos,
        )
        yield from _measure(context, [Attempt(sae) for sae in group], rows, settings)


def _measure(
    context: EvalContext, attempts: Sequence[Attempt], rows: Int[Tensor, "row position"], settings: DashboardsSettings
) -> Iterator[Outcome]:
    """The outcome of every SAE on these rows."""
    lm = context.lm
    real = torch.cat([is_real(lm, part.to(lm.device)).cpu() for part in rows.split(context.batch_size)])
    corpus = Corpus(rows.numpy(), real.numpy(), lm.tokenizer, to_the_ends=True, whole_characters=False)
    wanted = {
        attempt: known_latents(
            (*settings.latents, *context.requested.get(attempt.sae.card.name, ())), attempt.sae.card.d_sae
        )
        for attempt in attempts
    }
    read = {attempt: _read_of(attempt, wanted[attempt], settings, seed=context.seed) for attempt in attempts}
    with torch.no_grad():
        codes = find_codes(context, read, rows, site=attempts[0].sae.card.site)
        outputs = do_each(
            lm.device, attempts, _show, context, corpus, settings, wanted, read, codes, TokenTexts(lm.tokenizer)
        )
    for attempt in attempts:
        yield attempt.finish(lambda attempt=attempt: outputs[attempt])


def _read_of(attempt: Attempt, wanted: np.ndarray, settings: DashboardsSettings, *, seed: int) -> np.ndarray:
    """The latents of which codes are kept: candidates for the sample first, then what else is wanted."""
    drawn_from = candidates(attempt.sae.card.d_sae, settings.n_latents, seed=seed)
    return np.concatenate([drawn_from, np.setdiff1d(wanted, drawn_from)])


def _show(
    attempt: Attempt,
    context: EvalContext,
    corpus: Corpus,
    settings: DashboardsSettings,
    wanted: Mapping[Attempt, np.ndarray],
    read: Mapping[Attempt, np.ndarray],
    codes: dict[Attempt, list[Codes]],
    texts: TokenTexts,
) -> EvalOutput:
    """The output of one SAE; takes its codes out of `codes` to free their memory."""
    sae, by_latent = attempt.sae, dict(zip(read[attempt].tolist(), codes.pop(attempt), strict=True))
    drawn_from = candidates(sae.card.d_sae, settings.n_latents, seed=context.seed)
    fired = np.array([len(by_latent[latent].values) for latent in drawn_from.tolist()], dtype=np.int64)
    latents = np.union1d(drawn_from[draw_by_density(fired, settings.n_latents)], wanted[attempt])
    chosen = torch.from_numpy(latents).to(sae.W_dec.device)
    logits = no_logits(context.lm, sae.card.site)
    shown = Shown(
        latents,
        [by_latent[latent] for latent in latents.tolist()],
        nearest_atoms(sae.W_dec, chosen, k=settings.n_neighbours),
        None
        if logits is not None
        else promoted_tokens(
            sae.W_dec[chosen], context.lm.unembedding, k=settings.n_tokens, n_tokens=len(context.lm.tokenizer)
        ),
    )
    return dashboards_output(shown, corpus, settings, texts, no_logits=logits, seed=context.seed)
