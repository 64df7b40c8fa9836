"""Which latents dashboards show, on how much text, and how much of each."""

from __future__ import annotations

from dataclasses import dataclass

from sae_research.records import at_least, distinct

MOST_WINDOWS = 127
"""Windows of a latent; the page counts them in a byte."""


@dataclass(frozen=True)
class DashboardsSettings:
    """Which latents are shown, on how much text, and how much of each."""

    dataset: str
    """The text: a Hub id, a local folder, or `embedded/<name>`."""
    split: str = "test"
    """Its split; hub corpora without a test split have only `train`."""
    n_rows: int = 512
    """Rows of `context_size` tokens."""
    context_size: int = 128
    """Tokens per row, the leading BOS included."""
    n_latents: int = 200
    """Latents drawn by density, of each SAE; those that other evals single out come on top."""
    latents: tuple[int, ...] = ()
    """Further ones to show, of every SAE that has them."""
    n_top: int = 10
    """Windows around a latent's largest codes."""
    n_quantiles: int = 5
    """The parts of equal size, by magnitude, into which its codes are cut to draw windows from each."""
    n_per_quantile: int = 2
    """Windows from each."""
    n_tokens: int = 10
    """Output tokens that a latent promotes most, and as many that it suppresses most."""
    n_neighbours: int = 10
    """Latents whose decoder rows are most similar."""
    n_bins: int = 24
    """Bars of the histogram of codes."""
    leave_out: tuple[str, ...] = ()
    """SAEs without dashboards: names, or patterns with `*` and `?`. Changing it computes nothing for the others."""

    def __post_init__(self) -> None:
        at_least(
            self, n_rows=1, context_size=2, n_latents=0, n_top=0, n_quantiles=1, n_per_quantile=0, n_tokens=1,
            n_neighbours=1, n_bins=1,
        )  # fmt: skip
        distinct(self, "latents", "leave_out", may_be_empty=True)
        if min(self.latents, default=0) < 0:
            raise ValueError(f"latents holds {min(self.latents)}, expected at least 0")
        if self.n_windows > MOST_WINDOWS:
            raise ValueError(
                f"n_top and n_quantiles * n_per_quantile make {self.n_windows} windows a latent, expected at most "
                f"{MOST_WINDOWS}"
            )

    @property
    def n_windows(self) -> int:
        """Of a latent, at most."""
        return self.n_top + self.n_quantiles * self.n_per_quantile
