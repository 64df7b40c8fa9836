"""What the settings of the evals that ask a judge share: the text, and which latents are looked at in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sae_research.records import at_least

BUFFER = 10
"""Tokens of a window on each side of its centre."""
Negatives = Literal["silent", "sae_bench"]


@dataclass(frozen=True, kw_only=True)
class ExampleSettings:
    """Where examples are looked for, and of which latents."""

    dataset: str
    """The text: a Hub id, a local folder, or `embedded/<name>`."""
    split: str = "test"
    """Its split; corpora on the Hub without a test split have only `train`."""
    n_rows: int = 2000
    """Rows of `context_size` tokens in which latents fire or do not; SAEBench reads 2 M tokens, 15,625 rows of 128."""
    context_size: int = 128
    """Tokens per row, the leading BOS included."""
    n_latents: int = 200
    """Latents of each SAE: the first of a drawn order that have examples. A latent without is passed over, with its
    reason. An SAE's mean sensitivity is known to about ± .035 with 200, ± .07 with 50."""
    min_firings: int = 15
    """A latent needs more firings than that, as in SAEBench; otherwise it counts as dead."""
    negatives: Negatives = "silent"
    """`silent`: windows without examples are such in which the latent is silent, and a latent that has none of them is
    passed over. `sae_bench`: any windows, as SAEBench has them; many of a dense latent's do fire."""


def check_examples(settings: ExampleSettings) -> None:
    """ValueError unless there can be windows in the text, and something to look for."""
    at_least(settings, n_rows=1, context_size=2 * BUFFER + 1, n_latents=1, min_firings=0)
