"""Settings of autointerp."""

from __future__ import annotations

from dataclasses import dataclass

from sae_research.evals.judged.settings import ExampleSettings, JudgedSettings, check_examples
from sae_research.judges.records import Sampling

_EXPLAINING, _SCORING = Sampling(max_tokens=60), Sampling(max_tokens=40)


@dataclass(frozen=True, kw_only=True)
class AutointerpSettings(ExampleSettings, JudgedSettings):
    """The text, the latents, and the judge that explains them and then says where the explanations fit.

    SAEBench has 1,000 latents, `negatives: sae_bench`, 30 tokens to explain, 33 to score, temperature and top_p null.
    """

    explaining: Sampling = _EXPLAINING
    """How the judge is asked what a latent's examples have in common."""
    scoring: Sampling = _SCORING
    """How it is asked which windows an explanation fits."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_examples(self)
        self.refuse_reading_of(self.dataset, self.split)
