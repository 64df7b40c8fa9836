"""The pass of dashboards: the language model reads the text once for all SAEs of a site."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

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
from sae_research.evals.shared.attempts import Attempt, do_each
from sae_research.evals.shared.batches import is_real
from sae_research.evals.shared.text_rows import by_first_token, text_rows
from sae_research.evals.windows.corpus import Corpus
from sae_research.evals.windows.firings import Codes, find_codes
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
    choices = {attempt: _Choice(attempt.sae, context, settings) for attempt in attempts}
    with torch.no_grad():
        latents = {attempt: choice.read for attempt, choice in choices.items()}
        codes = find_codes(context, latents, rows, site=attempts[0].sae.card.site)
        showing = _Showing(context, corpus, settings, TokenTexts(lm.tokenizer))
        outputs = do_each(lm.device, attempts, _show, showing, choices, codes)
    for attempt in attempts:
        yield attempt.finish(lambda attempt=attempt: outputs[attempt])


class _Choice:
    """Which latents of an SAE are shown: those that are wanted, and of others as many as settings say."""

    def __init__(self, sae: Sae, context: EvalContext, settings: DashboardsSettings) -> None:
        d_sae = sae.card.d_sae
        self._n = settings.n_latents
        self._wanted = known_latents((*settings.latents, *context.requested.get(sae.card.name, ())), d_sae)
        self._drawn_from = candidates(d_sae, self._n, seed=context.seed)
        self.read = np.concatenate([self._drawn_from, np.setdiff1d(self._wanted, self._drawn_from)])
        """The latents of which codes are kept: candidates for the sample first."""

    def shown(self, codes: Mapping[int, Codes]) -> np.ndarray:
        """The latents, ascending, once their codes are known."""
        fired = np.array([len(codes[latent].values) for latent in self._drawn_from.tolist()], dtype=np.int64)
        return np.union1d(self._drawn_from[draw_by_density(fired, self._n)], self._wanted)


class _Showing(NamedTuple):
    """What the SAEs of a pass share."""

    context: EvalContext
    corpus: Corpus
    settings: DashboardsSettings
    texts: TokenTexts

    def output(self, sae: Sae, latents: np.ndarray, codes: Mapping[int, Codes]) -> EvalOutput:
        """The dashboards of one SAE's latents."""
        lm, settings = self.context.lm, self.settings
        chosen = torch.from_numpy(latents).to(sae.W_dec.device)
        no_tokens = no_logits(lm, sae.card.site)
        tokens = None
        if no_tokens is None:
            tokens = promoted_tokens(sae.W_dec[chosen], lm.unembedding, k=settings.n_tokens, n_tokens=len(lm.tokenizer))
        shown = Shown(
            latents,
            [codes[latent] for latent in latents.tolist()],
            nearest_atoms(sae.W_dec, chosen, k=settings.n_neighbours),
            tokens,
        )
        seed = self.context.seed
        return dashboards_output(shown, self.corpus, settings, self.texts, no_logits=no_tokens, seed=seed)


def _show(
    attempt: Attempt, showing: _Showing, choices: Mapping[Attempt, _Choice], codes: dict[Attempt, list[Codes]]
) -> EvalOutput:
    """The output of one SAE; takes its codes out of `codes` to free their memory."""
    by_latent = dict(zip(choices[attempt].read.tolist(), codes.pop(attempt), strict=True))
    return showing.output(attempt.sae, choices[attempt].shown(by_latent), by_latent)
