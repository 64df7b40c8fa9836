"""Settings of targeted probe perturbation."""

from __future__ import annotations

from dataclasses import dataclass

from sae_research.data.draw import Sampling
from sae_research.evals.shared.ablation_settings import check_ablations
from sae_research.probes.draws import Rules


@dataclass(frozen=True)
class TppSettings:
    """Which texts the probes read, and how many latents to ablate."""

    dataset_names: tuple[str, ...]
    """Labelled data sets; with equal sizes sparse probing draws the same texts."""
    train_size: int = 4000
    """Training texts of each probe: half of the class, half of the others."""
    test_size: int = 1000
    """Test texts of each probe."""
    context_size: int = 128
    """Tokens read of each text, the leading BOS included."""
    n_values: tuple[int, ...] = (2, 5, 10, 20, 50, 100, 500)
    """How many latents are ablated: SAEBench's grid."""
    n_shares: tuple[int, ...] = (1, 2, 4, 8)
    """The same in percent of d_in, which means the same for models of any width; not under `sampling: sae_bench`."""
    sampling: Sampling = "keyed"
    """`keyed`: the texts of the other classes depend on data set and class only; probes are convex and chosen on
    held-out training texts. `sae_bench`: SAEBench's draws and probes from its random stream with a warm cache, with
    other texts for every accuracy, and epochs chosen on test texts."""
    rules: Rules = "clean"
    """`clean`: only real tokens are ablated, and only latents that speak for the class. `sae_bench`: padding is ablated
    too, as if it had codes; if too few latents speak for the class, others are added; signs count."""
    seeds: tuple[int, ...] = ()
    """Seeds beside `random_seed` with which all draws are repeated, of texts and of probes; numbers are then means over
    seeds, their intervals cover the spread over seeds too, and `..._seed_std` tells it."""

    def __post_init__(self) -> None:
        check_ablations(self, shares=2)
