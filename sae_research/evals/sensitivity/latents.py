"""A latent that a judge is asked about: its examples, what the judge wrote, and on which texts it is active."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from sae_research.evals.judged.examples import Examples
from sae_research.evals.sensitivity.activations import Active, Tokens
from sae_research.evals.sensitivity.specs import PERCENTS
from sae_research.evals.sensitivity.written import Written
from sae_research.evals.shared.attempts import Attempt
from sae_research.judges.prompts import MarkedText, Rendered
from sae_research.judges.records import Request
from sae_research.metrics.intervals import wilson

_DIGITS = 4


@dataclass(frozen=True)
class ExampledLatent:
    """A latent with its examples, or with the reason why there are none."""

    latent: int
    place: int
    """In the drawn order of all latents; the same latent has the same in every SAE as wide."""
    density: float | None
    """None: not known."""
    largest: float
    """Its largest activation on the corpus."""
    sign: int
    """-1 where its negative codes count as active."""
    examples: tuple[MarkedText, ...] = ()
    """By falling activation."""
    peaks: tuple[float, ...] = ()
    """The largest activation in each."""
    reason: str | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """Those of the examples, without marks."""
        return tuple("".join(piece for piece, _ in example) for example in self.examples)


ByLatent = Mapping[Attempt, Sequence[ExampledLatent]]


class Found(NamedTuple):
    """The latents of all SAEs that have not failed."""

    examples: Examples
    """The corpus, on which the judge is tested."""
    latents: ByLatent
    """Those with examples, in their drawn order."""
    passed_over: ByLatent


@dataclass(frozen=True)
class TextOf:
    """A text, and where the latent is active on it."""

    text: str
    tokens: Tokens
    active: Active

    def row(self) -> dict[str, Any]:
        """As it stands in results: places of tokens with their activations, e.g. `3:1.25 7:0.4`, BOS not counted.

        `tokens` are their ids, that of BOS first; `token_ends` say where in the text each but BOS ends.
        """
        pairs = zip(self.active.places.tolist(), self.active.activations.tolist(), strict=True)
        return {
            "text": self.text,
            "tokens": " ".join(map(str, self.tokens.ids)),
            "token_ends": " ".join(map(str, self.tokens.ends)),
            "activations": " ".join(f"{place}:{value:.{_DIGITS}g}" for place, value in pairs),
        }


@dataclass(frozen=True)
class AskedLatent:
    """A latent that the judge was asked to write texts for."""

    about: ExampledLatent
    shown: Rendered
    """The examples as the judge sees them."""
    request: Request
    written: Written | None = None
    reason: str | None = None
    """Why it has no sensitivity."""
    own: tuple[TextOf, ...] = ()
    """The texts that were written for it."""
    original: tuple[TextOf, ...] = ()
    """Its examples, each as a text by itself."""
    control: tuple[TextOf, ...] = ()
    """The texts that were written for another latent."""
    control_latent: int | None = None

    @cached_property
    def own_shares(self) -> np.ndarray:
        """For each of `PERCENTS` the share of its texts on which the latent is active beyond it."""
        return self._shares(self.own)

    @cached_property
    def original_shares(self) -> np.ndarray:
        """The same of its examples."""
        return self._shares(self.original)

    @cached_property
    def control_shares(self) -> np.ndarray:
        """The same of the other latent's texts."""
        return self._shares(self.control)

    def _shares(self, texts: Sequence[TextOf]) -> np.ndarray:
        """NaN without texts."""
        if not texts:
            return np.full(len(PERCENTS), np.nan)
        largest = np.array([text.active.largest for text in texts])
        limits = np.array(PERCENTS) / 100 * self.about.largest
        return (largest[:, None] > limits).mean(axis=0)

    def content(self, digest: str) -> dict[str, Any]:
        """Its texts, for `eval_result_unstructured`; `digest` is the name of the judge's answer."""
        peaks = [float(f"{peak:.{_DIGITS}g}") for peak in self.about.peaks]
        originals = [original.row() for original in self.original] or [{} for _ in peaks]
        shown = zip(self.shown.texts, peaks, originals, strict=True)
        return {
            "markers": list(self.shown.markers),
            "examples": [{"shown": text, "peak": peak, **original} for text, peak, original in shown],
            "texts": [text.row() for text in self.own],
            "copies": list(self.written.copies) if self.written else [],
            "control": {
                "latent": self.control_latent,
                "largest": " ".join(f"{text.active.largest:.{_DIGITS}g}" for text in self.control),
            },
            "answer": digest,
        }


def latent_row(about: ExampledLatent, asked: AskedLatent | None) -> dict[str, Any]:
    """A latent's line of numbers; null is missing, with its reason."""
    row: dict[str, Any] = {
        "latent": about.latent,
        "density": about.density,
        "largest_activation": about.largest,
        "sign": about.sign,
        "n_texts": len(asked.own) if asked else 0,
        "n_copies": len(asked.written.copies) if asked and asked.written else 0,
        "reason": asked.reason if asked else about.reason,
    }
    for percent in PERCENTS:
        row |= _numbers(asked, percent)
    return row


def _numbers(asked: AskedLatent | None, percent: int) -> Mapping[str, float | None]:
    names = (f"sensitivity_{percent}", f"sensitivity_{percent}_low", f"sensitivity_{percent}_high")
    if asked is None or not asked.own:
        return dict.fromkeys((*names, f"original_{percent}", f"other_{percent}"))
    at = PERCENTS.index(percent)
    share = float(asked.own_shares[at])
    interval = wilson(round(share * len(asked.own)), len(asked.own))
    return {
        **dict(zip(names, (share, interval.low, interval.high), strict=True)),
        f"original_{percent}": float(asked.original_shares[at]) if asked.original else None,
        f"other_{percent}": float(asked.control_shares[at]) if asked.control else None,
    }
