"""Settings of sparse probing."""

from __future__ import annotations

from dataclasses import dataclass

from sae_research.data.draw import Sampling
from sae_research.records import at_least, counts, distinct


@dataclass(frozen=True)
class SparseProbingSettings:
    """Which texts to classify, and with how many latents."""

    dataset_names: tuple[str, ...]
    """Labelled data sets."""
    train_size: int = 4000
    """Training texts of each binary task: half of the class, half of the others."""
    test_size: int = 1000
    """Test texts of each binary task."""
    context_size: int = 128
    """Tokens read of each text, the leading BOS included."""
    k_values: tuple[int, ...] = (1, 2, 5, 10, 20, 50)
    """How many latents (and channels of the model, to compare) a probe sees."""
    sampling: Sampling = "keyed"
    """How the texts of the other classes are drawn. `keyed`: by data set and class alone, the same for every probe.
    `sae_bench`: as SAEBench does with a warm cache and `lower_vram_usage`, from one random stream over all k-probes in
    the order of `dataset_names` and `k_values`; full-width probes, which it then leaves out, stay keyed. With `engine:
    sae_bench` the draws are SAEBench's in either case, and `sae_bench` leaves out the full-width probe of the latents
    alone."""
    wide_probes: bool = True
    """Whether there is a probe on all latents (`sae_test_accuracy`), which needs 8 bytes for each training text and
    latent that fires. SAEBench's `lower_vram_usage` leaves it out. Other numbers do not change."""
    seeds: tuple[int, ...] = ()
    """Seeds beside `random_seed` with which all draws are repeated; numbers are then means over seeds, their intervals
    cover the spread over seeds too, and `..._seed_std` tells it."""

    def __post_init__(self) -> None:
        at_least(self, train_size=10, test_size=2, context_size=2)
        for name in ("train_size", "test_size"):
            if getattr(self, name) % 2:
                raise ValueError(f"{name} is {getattr(self, name)}, expected an even number: half of it is the class")
        distinct(self, "dataset_names")
        distinct(self, "seeds", may_be_empty=True)
        counts(self, "k_values")
