"""Settings of the sensitivity eval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sae_research.evals.judged.counts import Counts
from sae_research.evals.judged.settings import ExampleSettings, JudgedSettings, check_examples
from sae_research.judges.records import Sampling
from sae_research.records import at_least

_WRITING = Sampling(max_tokens=1500, temperature=1.0)


@dataclass(frozen=True, kw_only=True)
class SensitivitySettings(ExampleSettings, JudgedSettings):
    """The text, the latents, and the judge that writes texts like their examples.

    `context_size` bounds the texts, too: what is longer is cut.
    """

    examples: Literal["fresh", "published"] = "fresh"
    """`fresh`: from `dataset`. `published`: those in SAEBench's result files of autointerp, `published_files`;
    `dataset` then serves to test the judge alone."""
    published: str = "adamkarvonen/sae_bench_results_0125"
    """The data set on the Hub, or local folder, with SAEBench's result files."""
    published_files: Mapping[str, str] = field(default_factory=dict)
    """By name of the SAE its file in `published`; for `examples: published` alone."""
    n_top: int = 10
    """Examples that a latent's strongest activations give the judge; as many as SAEBench's by default."""
    n_weighted: int = 5
    """Examples that are drawn from its weaker activations, by their squares."""
    writing: Sampling = _WRITING
    """How the judge is asked for texts."""

    @property
    def counts(self) -> Counts:
        """How many windows a latent has to have."""
        return Counts(top_explain=self.n_top, weighted_explain=self.n_weighted)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_examples(self)
        at_least(self, n_top=1, n_weighted=0)
        self.refuse_reading_of(self.dataset, self.split)
        if self.examples == "published" and not self.published_files:
            raise ValueError("published_files is empty, but `examples: published` reads the result files that it names")
