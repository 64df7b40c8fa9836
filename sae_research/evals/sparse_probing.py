"""Sparse probing: how well k latents tell the classes of a text apart.

Sign policy: latents are ranked by the absolute difference of class means and probed with their sign, so negative codes
count as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, final

from sae_research.data.labelled import family_module, labelled_revision
from sae_research.evals.base import Eval, EvalContext, Outcome
from sae_research.hub import Hub
from sae_research.results.record import MetricSpec

if TYPE_CHECKING:
    from sae_research.saes.base import Sae


@dataclass(frozen=True)
class SparseProbingSettings:
    """Which texts are classified, and by how many latents."""

    dataset_names: tuple[str, ...] = ("embedded/bios", "embedded/reviews", "embedded/news", "embedded/languages")
    """Labelled data sets."""
    train_size: int = 4000
    """Training texts of each binary task: half of the class, half of the others."""
    test_size: int = 1000
    """Test texts of each binary task."""
    context_size: int = 128
    """Tokens read of each text, the leading BOS included."""
    k_values: tuple[int, ...] = (1, 2, 5, 10, 20, 50)
    """How many latents (and channels of the model, to compare) a probe sees."""
    sampling: Literal["keyed", "sae_bench"] = "keyed"
    """How the texts of the other classes are drawn. `keyed`: by data set and class alone, the same for every probe.
    `sae_bench`: as SAEBench does with a warm cache and `lower_vram_usage`, from one random stream over all k-probes in
    the order of `dataset_names` and `k_values`; full-width probes, which it then leaves out, stay keyed. With `engine:
    sae_bench` the draws are SAEBench's in either case, and `sae_bench` leaves out the full-width probe of the latents
    alone."""
    seeds: tuple[int, ...] = ()
    """Seeds beside `random_seed` with which all draws are repeated; numbers are then means over seeds, their intervals
    cover the spread over seeds too, and `..._seed_std` tells it."""

    def __post_init__(self) -> None:
        for name, least in {"train_size": 10, "test_size": 2, "context_size": 2}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least {least}")
        for name in ("train_size", "test_size"):
            if getattr(self, name) % 2:
                raise ValueError(f"{name} is {getattr(self, name)}, expected an even number: half of it is the class")
        for name in ("dataset_names", "k_values", "seeds"):
            values = getattr(self, name)
            if not values and name != "seeds":
                raise ValueError(f"{name} is empty, expected at least one")
            if len(set(values)) != len(values):
                raise ValueError(f"{name} holds a value twice: {list(values)}")
        if min(self.k_values) < 1:
            raise ValueError(f"k_values holds {min(self.k_values)}, expected at least 1")


def _specs() -> Iterator[MetricSpec]:
    """Each accuracy, and its spread over seeds."""
    for name, category, title, key in (
        ("llm_test_accuracy", "llm", "Probe accuracy, all of the model's channels", "llm_test_accuracy"),
        ("llm_top_k_test_accuracy", "llm", "Probe accuracy, the model's k best channels", "llm_top_{k}_test_accuracy"),
        ("sae_test_accuracy", "sae", "Probe accuracy, all latents", "sae_test_accuracy"),
        ("sae_top_k_test_accuracy", "sae", "Probe accuracy, k best latents", "sae_top_{k}_test_accuracy"),
    ):
        headline = name == "sae_top_k_test_accuracy"
        yield MetricSpec(name, category, "", "higher", title, key, headline)
        yield MetricSpec(f"{name}_seed_std", category, "", "neither", f"{title}, deviation over seeds")
    for name, category, title in (("llm", "llm", "all of the model's channels"), ("sae", "sae", "all latents")):
        title = f"Probe accuracy, {title}, its best epoch chosen on the test texts (SAEBench)"
        yield MetricSpec(f"{name}_test_accuracy_sae_bench", category, "", "higher", title)


@final
class SparseProbing(Eval):
    """Probes on pooled codes; the model reads each text once for all SAEs of a site."""

    name = "sparse_probing"
    section = "sparse_probing"
    specs = tuple(_specs())

    @classmethod
    def data_revisions(cls, settings: SparseProbingSettings, hub: Hub) -> Mapping[str, str]:
        return {name: labelled_revision(hub, name) for name in settings.dataset_names}

    @classmethod
    def modules_by_name(cls, settings: SparseProbingSettings) -> tuple[str, ...]:
        return tuple(sorted({family_module(name) for name in settings.dataset_names}))

    @classmethod
    def run(cls, context: EvalContext, saes: Sequence[Sae], settings: SparseProbingSettings) -> Iterator[Outcome]:
        if not saes:
            return
        from sae_research.evals.parts.probing_pass import measure_probing
        from sae_research.evals.parts.probing_sets import probing_sets

        yield from measure_probing(context, saes, probing_sets(context, settings), settings)
