"""Settings of spurious-correlation removal."""

from __future__ import annotations

from dataclasses import dataclass

from sae_research.data.draw import Sampling
from sae_research.evals.shared.ablation_settings import check_ablations
from sae_research.probes.draws import Rules


@dataclass(frozen=True)
class ScrSettings:
    """Which texts the probes read, and how many latents to ablate."""

    dataset_names: tuple[str, ...]
    """Labelled data sets; each defines its own pairs of classes."""
    train_size: int = 4000
    """Training texts of each probe: a quarter from each quadrant, or half from each of the biased ones."""
    test_size: int = 1000
    """Test texts of each probe."""
    context_size: int = 128
    """Tokens read of each text, the leading BOS included."""
    n_values: tuple[int, ...] = (2, 5, 10, 20, 50, 100, 500)
    """How many latents are ablated: SAEBench's grid."""
    n_shares: tuple[int, ...] = (1, 2, 4, 8)
    """The same in percent of d_in, which means the same for models of any width; not under `sampling: sae_bench`."""
    sampling: Sampling = "keyed"
    """`keyed`: the draw of texts depends on data set, class and group only; probes are convex and chosen on held-out
    training texts. `sae_bench`: the first texts of each quadrant, and SAEBench's probes from its random stream, with
    epochs chosen on test texts."""
    rules: Rules = "clean"
    """`clean`: only real tokens are ablated, and a direction without a gap to close has no score. `sae_bench`: padding
    is ablated too, as if it had codes, and a direction without a gap scores 0."""
    seeds: tuple[int, ...] = ()
    """Seeds beside `random_seed` with which all draws are repeated, of texts and of probes; numbers are then means over
    seeds, their intervals cover the spread over seeds too, and `..._seed_std` tells it."""

    def __post_init__(self) -> None:
        check_ablations(self, shares=4)
