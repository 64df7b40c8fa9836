"""Targeted probe perturbation: how much ablating the latents of one class harms its own probe, and the others' less.

Sign policy: a latent belongs to a class where its mean code is larger there in absolute value; turning the signs of its
codes and of its atom changes nothing. A latent that is ablated has code 0, whatever its sign was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, final

from sae_research.data.labelled import family_module, labelled_revision
from sae_research.evals.base import Eval, EvalContext, Outcome
from sae_research.evals.scr import check_settings
from sae_research.hub import Hub
from sae_research.results.record import MetricSpec

if TYPE_CHECKING:
    from sae_research.saes.base import Sae


@dataclass(frozen=True)
class TppSettings:
    """Which texts the probes read, and how many latents are ablated."""

    dataset_names: tuple[str, ...] = ("embedded/bios", "embedded/reviews")
    """Labelled data sets; the texts are those that sparse probing draws at equal sizes."""
    train_size: int = 4000
    """Training texts of each probe: half of the class, half of the others."""
    test_size: int = 1000
    """Test texts of each probe."""
    context_size: int = 128
    """Tokens read of each text, the leading BOS included."""
    n_values: tuple[int, ...] = (2, 5, 10, 20, 50, 100, 500)
    """How many latents are ablated."""
    sampling: Literal["keyed", "sae_bench"] = "keyed"
    """`keyed`: the texts of the other classes depend on data set and class alone; probes are convex and chosen on
    held-out training texts. `sae_bench`: SAEBench's draws and probes from its random stream with a warm cache, other
    texts for every accuracy; epochs chosen on test texts."""
    rules: Literal["clean", "sae_bench"] = "clean"
    """`clean`: real tokens alone are ablated, and latents that speak for the class alone. `sae_bench`: padding is
    ablated too, as if it had codes; where too few latents speak for the class, others fill up; signs count."""

    def __post_init__(self) -> None:
        check_settings(self, shares=2)


@final
class Tpp(Eval):
    """Probes on pooled activations, ablations in closed form: each text is read and encoded once."""

    name = "tpp"
    section = "tpp"
    specs = (
        MetricSpec("tpp_total_metric", "tpp_metrics", "", "higher", "TPP", "tpp_threshold_{n}_total_metric",
                   headline=True),
        MetricSpec("tpp_intended_diff_only", "tpp_metrics", "", "higher", "TPP, intended class",
                   "tpp_threshold_{n}_intended_diff_only"),
        MetricSpec("tpp_unintended_diff_only", "tpp_metrics", "", "lower", "TPP, other classes",
                   "tpp_threshold_{n}_unintended_diff_only"),
    )  # fmt: skip

    @classmethod
    def data_revisions(cls, settings: TppSettings, hub: Hub) -> Mapping[str, str]:
        return {name: labelled_revision(hub, name) for name in settings.dataset_names}

    @classmethod
    def modules_by_name(cls, settings: TppSettings) -> tuple[str, ...]:
        return tuple(sorted({family_module(name) for name in settings.dataset_names}))

    @classmethod
    def run(cls, context: EvalContext, saes: Sequence[Sae], settings: TppSettings) -> Iterator[Outcome]:
        if not saes:
            return
        from sae_research.evals.parts.probing_sets import probing_sets
        from sae_research.evals.parts.tpp_pass import measure_tpp

        yield from measure_tpp(context, saes, probing_sets(context, settings), settings)
