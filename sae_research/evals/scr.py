"""Spurious-correlation removal: what ablating one concept's latents wins back for a probe that took it for another.

Of two classes crossed with two groups a probe is trained on the biased sample: first class and first group against
second class and second group. The latents that tell the groups apart (direction 1) or the classes (direction 2) are
ablated, and the biased probe is asked for the other of the two.

Sign policy: latents are ranked by the absolute effect of their signed mean codes, and a latent that is ablated has code
0, whatever its sign was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, final

from sae_research.data.labelled import family_module, labelled_revision
from sae_research.data.paired import load_pairs
from sae_research.evals.base import Eval, EvalContext, Outcome
from sae_research.hub import Hub
from sae_research.results.record import MetricSpec

if TYPE_CHECKING:
    from sae_research.saes.base import Sae


@dataclass(frozen=True)
class ScrSettings:
    """Which texts the probes read, and how many latents are ablated."""

    dataset_names: tuple[str, ...] = ("embedded/bios", "embedded/reviews")
    """Labelled data sets; which of their classes are paired belongs to the data set."""
    train_size: int = 4000
    """Training texts of each probe: a quarter from each quadrant, or half from each of the biased ones."""
    test_size: int = 1000
    """Test texts of each probe."""
    context_size: int = 128
    """Tokens read of each text, the leading BOS included."""
    n_values: tuple[int, ...] = (2, 5, 10, 20, 50, 100, 500)
    """How many latents are ablated."""
    sampling: Literal["keyed", "sae_bench"] = "keyed"
    """`keyed`: texts are drawn by data set, class and group alone; probes are convex and chosen on held-out training
    texts. `sae_bench`: the first texts of each quadrant, and SAEBench's probes from its random stream, epochs chosen on
    test texts."""
    rules: Literal["clean", "sae_bench"] = "clean"
    """`clean`: real tokens alone are ablated; a direction without a gap to close has no score. `sae_bench`: padding is
    ablated too, as if it had codes; a direction without a gap scores 0."""

    def __post_init__(self) -> None:
        check_settings(self, shares=4)


def check_settings(settings: Any, *, shares: int) -> None:
    """Fail unless sizes can be cut into `shares`, and lists hold something and nothing twice."""
    for name, least in {"train_size": 5 * shares, "test_size": shares, "context_size": 2}.items():
        value = getattr(settings, name)
        if value < least:
            raise ValueError(f"{name} is {value}, expected at least {least}")
        if name != "context_size" and value % shares:
            raise ValueError(f"{name} is {value}, expected a multiple of {shares}: it is cut into so many equal parts")
    for name in ("dataset_names", "n_values"):
        values = getattr(settings, name)
        if not values:
            raise ValueError(f"{name} is empty, expected at least one")
        if len(set(values)) != len(values):
            raise ValueError(f"{name} holds a value twice: {list(values)}")
    if min(settings.n_values) < 1:
        raise ValueError(f"n_values holds {min(settings.n_values)}, expected at least 1")


@final
class Scr(Eval):
    """Probes on pooled activations, ablations in closed form: each text is read and encoded once."""

    name = "scr"
    section = "scr"
    specs = (
        MetricSpec("scr_metric", "scr_metrics", "", "higher", "SCR", "scr_metric_threshold_{n}", headline=True),
        MetricSpec("scr_dir1", "scr_metrics", "", "higher", "SCR, direction 1", "scr_dir1_threshold_{n}"),
        MetricSpec("scr_dir2", "scr_metrics", "", "higher", "SCR, direction 2", "scr_dir2_threshold_{n}"),
    )

    @classmethod
    def data_revisions(cls, settings: ScrSettings, hub: Hub) -> Mapping[str, str]:
        return {name: labelled_revision(hub, name) for name in settings.dataset_names}

    @classmethod
    def modules_by_name(cls, settings: ScrSettings) -> tuple[str, ...]:
        return tuple(sorted({family_module(name) for name in settings.dataset_names}))

    @classmethod
    def run(cls, context: EvalContext, saes: Sequence[Sae], settings: ScrSettings) -> Iterator[Outcome]:
        if not saes:
            return
        from sae_research.evals.parts.scr_pass import measure_scr

        # All of them first: a quadrant that is too small must not show after an hour.
        sets = [
            paired
            for name in settings.dataset_names
            for paired in load_pairs(
                context.hub,
                name,
                train=settings.train_size // 4,
                test=settings.test_size // 4,
                seed=context.seed,
                sampling=settings.sampling,
            )
        ]
        yield from measure_scr(context, saes, sets, settings)
