"""The latents that a judge is asked about, with their windows of text, from one pass over a corpus for all SAEs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Int
from torch import Tensor

from sae_research.data.text import load_texts, rows_in_memory, token_rows
from sae_research.evals.base import EvalContext
from sae_research.evals.judged.counts import Counts
from sae_research.evals.judged.settings import ExampleSettings
from sae_research.evals.judged.windows import NoWindows, Windows, choose_windows
from sae_research.evals.shared.attempts import Attempt, do_each
from sae_research.evals.shared.batches import is_real
from sae_research.evals.windows.corpus import Corpus
from sae_research.evals.windows.firings import Firings, candidate_latents, find_firings
from sae_research.evals.windows.taken import Window
from sae_research.judges.prompts import MarkedText
from sae_research.lm.tokens import bos_id
from sae_research.sources.memory import GivenRows

_FIRST_CANDIDATES = 2
"""Candidates of the first pass over the text, for each latent that is wanted."""
_MORE = 4
"""Each further pass, for SAEs with too few latents, has so many times the candidates of the one before."""


class LatentExamples(NamedTuple):
    """A latent with its windows of text."""

    latent: int
    density: float
    """The share of the corpus' real tokens on which it is active."""
    largest: float
    """Its largest activation there."""
    firings: Firings
    windows: Windows


class PassedOver(NamedTuple):
    """A candidate without examples."""

    latent: int
    density: float
    largest: float
    """0 where it is never active."""
    sign: int
    reason: str


@dataclass
class SaeExamples:
    """What was found of one SAE's candidates, in their order."""

    latents: list[LatentExamples] = field(default_factory=list)
    passed_over: list[PassedOver] = field(default_factory=list)

    @property
    def n_candidates(self) -> int:
        """How many were looked at."""
        return len(self.latents) + len(self.passed_over)


@dataclass(frozen=True)
class Examples:
    """The corpus, and what was found in it of each SAE that has not failed."""

    corpus: Corpus
    by_sae: Mapping[Attempt, SaeExamples]

    def marked(self, latent: LatentExamples, windows: Sequence[Window]) -> list[MarkedText]:
        """The texts of some windows, with what the latent is active on marked."""
        return [
            self.corpus.marked(*window, activations_in(latent.firings, window), latent.largest) for window in windows
        ]

    def plain(self, windows: Sequence[Window]) -> list[str]:
        """The texts of some windows."""
        return [self.corpus.text(*window) for window in windows]


def activations_in(firings: Firings, window: Window) -> np.ndarray:
    """The latent's activation on each token of the window."""
    some = _firings_in(firings, window)
    activations = np.zeros(window.end - window.start, dtype=np.float32)
    activations[firings.positions[some] - window.start] = firings.activations[some]
    return activations


def peak_in(firings: Firings, window: Window) -> float:
    """Its largest activation there; 0 where it has none."""
    return float(firings.activations[_firings_in(firings, window)].max(initial=0.0))


def _firings_in(firings: Firings, window: Window) -> slice:
    """Those in the window: firings stand in the order of rows, then positions."""
    first, last = np.searchsorted(firings.rows, [window.row, window.row + 1])
    ends = np.searchsorted(firings.positions[first:last], [window.start, window.end])
    return slice(first + ends[0], first + ends[1])


def find_examples(
    context: EvalContext, attempts: Sequence[Attempt], settings: ExampleSettings, counts: Counts | None = None
) -> Examples:
    """The first `settings.n_latents` candidates of each SAE that have windows; all SAEs are at one site.

    One pass of the language model over the text, and a further one with more candidates for SAEs most of whose latents
    have none.
    """
    lm, site = context.lm, attempts[0].sae.card.site
    rows, corpus = read_corpus(context, settings)
    search = _Search(corpus, settings, context.seed, counts or Counts())
    by_sae = {attempt: SaeExamples() for attempt in attempts}
    n = _FIRST_CANDIDATES * settings.n_latents
    wanting = list(attempts)
    while wanting:
        candidates = {
            attempt: candidate_latents(attempt.sae.card.d_sae, n, seed=context.seed)[by_sae[attempt].n_candidates :]
            for attempt in wanting
        }
        firings = find_firings(context, candidates, rows, site=site)
        do_each(lm.device, firings, _look, search, candidates, firings, by_sae)
        wanting = [
            attempt
            for attempt in firings
            if attempt.error is None and len(by_sae[attempt].latents) < settings.n_latents
            and by_sae[attempt].n_candidates < attempt.sae.card.d_sae
        ]  # fmt: skip
        n *= _MORE
    return Examples(corpus, {attempt: found for attempt, found in by_sae.items() if attempt.error is None})


def read_corpus(context: EvalContext, settings: ExampleSettings) -> tuple[Int[Tensor, "row position"], Corpus]:
    """The rows of tokens that `settings` name, as a tensor and as a corpus of windows."""
    lm = context.lm
    rows = corpus_rows(context, settings)
    return rows, Corpus(rows.numpy(), is_real(lm, rows.to(lm.device)).cpu().numpy(), lm.tokenizer)


def corpus_rows(context: EvalContext, settings: ExampleSettings) -> Int[Tensor, "row position"]:
    """The rows of tokens that `settings` name, each of which begins with BOS."""
    size, n_rows, tokenizer = settings.context_size, settings.n_rows, context.lm.tokenizer
    in_memory = context.hub.given.get(settings.dataset)
    if isinstance(in_memory, GivenRows):
        return rows_in_memory(in_memory, context_size=size, n_rows=n_rows, bos=bos_id(tokenizer)).cpu()
    return token_rows(
        load_texts(context.hub, settings.dataset, settings.split),
        tokenizer,
        context_size=size,
        n_rows=n_rows,
        name=f"split {settings.split!r} of data set {settings.dataset!r}",
    )


@dataclass(frozen=True)
class _Search:
    """For the windows of latents, in a corpus."""

    corpus: Corpus
    settings: ExampleSettings
    seed: int
    counts: Counts

    def add(self, found: SaeExamples, latents: np.ndarray, firings: Sequence[Firings]) -> None:
        """Goes on through the candidates until there are enough with windows."""
        n_real = max(1, int(self.corpus.real.sum()))
        for latent, fired in zip(latents.tolist(), firings, strict=True):
            if len(found.latents) == self.settings.n_latents:
                return
            density = len(fired.rows) / n_real
            largest = float(fired.activations.max()) if len(fired.rows) else 0.0
            try:
                windows = self._windows(latent, fired)
            except NoWindows as reason:
                found.passed_over.append(PassedOver(latent, density, largest, fired.sign, str(reason)))
            else:
                found.latents.append(LatentExamples(latent, density, largest, fired, windows))

    def _windows(self, latent: int, firings: Firings) -> Windows:
        if len(firings.rows) <= self.settings.min_firings:
            raise NoWindows(f"{len(firings.rows)} firings, needed more than {self.settings.min_firings}")
        return choose_windows(
            self.corpus, firings, latent=latent, seed=self.seed, counts=self.counts,
            silent_must_be=self.settings.negatives == "silent",
        )  # fmt: skip


def _look(
    attempt: Attempt,
    search: _Search,
    candidates: Mapping[Attempt, np.ndarray],
    firings: Mapping[Attempt, Sequence[Firings]],
    by_sae: Mapping[Attempt, SaeExamples],
) -> None:
    search.add(by_sae[attempt], candidates[attempt], firings[attempt])
