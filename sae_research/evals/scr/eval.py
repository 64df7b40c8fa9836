"""Spurious-correlation removal: the accuracy that ablating a spurious concept's latents restores in a biased probe.

Two classes are crossed with two groups, and a probe is trained on a biased sample: the first class in the first group
against the second class in the second group. Ablating the latents that distinguish the groups (direction 1) should make
it predict the class, and ablating those that distinguish the classes (direction 2) the group.

Sign policy: latents are ranked by the absolute effect of their signed mean codes; the code of an ablated latent is 0,
whatever its sign was.

Karvonen et al. 2024 (together with TPP), https://arxiv.org/abs/2411.18895, after SHIFT: Marks et al. 2024, https://arxiv.org/abs/2403.19647
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sae_research.data.paired import PairedSet, load_pairs, require_crossed
from sae_research.evals.base import (
    INTERPOLATES_HERE,
    DataSet,
    Eval,
    EvalContext,
    Outcome,
    OverviewPanel,
    PartsFigure,
    SaeBenchSchema,
)
from sae_research.evals.scr.settings import ScrSettings
from sae_research.evals.shared.labelled_data import labelled_data
from sae_research.evals.shared.seeds import check_seeds, draw_with_seeds
from sae_research.measurements import MetricSpec

if TYPE_CHECKING:
    from sae_research.saes.base import Sae


def data(settings: ScrSettings) -> list[DataSet]:
    """The labelled texts, each set with classes crossed with groups."""
    return labelled_data(settings.dataset_names, require_crossed)


def run(context: EvalContext, saes: Sequence[Sae], settings: ScrSettings) -> Iterator[Outcome]:
    """Probes on pooled activations, ablations in closed form: each text is read and encoded once for all seeds."""
    from sae_research.evals.scr.measure import measure_scr

    # All of them first: a quadrant that is too small must not show after an hour.
    sets = draw_with_seeds(context, settings.seeds, lambda seeded: _load(seeded, settings))
    yield from measure_scr(context, saes, sets, settings)


def _load(context: EvalContext, settings: ScrSettings) -> list[PairedSet]:
    """All pairs of all data sets."""
    sizes = {"train": settings.train_size // 4, "test": settings.test_size // 4}
    return [
        paired
        for name in settings.dataset_names
        for paired in load_pairs(context.hub, name, **sizes, seed=context.seed, sampling=settings.sampling)
    ]


def check(settings: ScrSettings, random_seed: int) -> None:
    """The run's own seed is no further one."""
    check_seeds(settings.seeds, random_seed, section="scr")


def _specs() -> Iterator[MetricSpec]:
    """The scores, each with its spread over seeds, and the accuracies that they are shares of."""
    for name, title in (("metric", "SCR"), ("dir1", "SCR, direction 1"), ("dir2", "SCR, direction 2")):
        key, headline = f"scr_{name}_threshold_{{n}}", name == "metric"
        yield MetricSpec(f"scr_{name}", "scr_metrics", "", "higher", title, key, headline)
        yield MetricSpec(f"scr_{name}_seed_std", "scr_metrics", "", "neither", f"{title}, deviation over seeds")
    by_share, title = "scr_metric_by_share", "SCR, latents ablated in % of d_in"
    yield MetricSpec(by_share, "scr_metrics", "", "higher", title, headline=True)
    yield MetricSpec(f"{by_share}_seed_std", "scr_metrics", "", "neither", f"{title}, deviation over seeds")
    for name, title in (("clean", "trained without bias"), ("biased", "biased")):
        yield MetricSpec(f"scr_{name}_accuracy", "scr_metrics", "", "neither", f"Accuracy of the probe, {title} (SCR)")


SCR = Eval(
    name="scr",
    section="scr",
    settings=ScrSettings,
    specs=(*_specs(), INTERPOLATES_HERE),
    data=data,
    run=run,
    main_columns={"scr_metric_by_share": {"percent": 4}},
    not_in_intervals="the texts on which probes are trained and latents chosen, unless `seeds` repeats the draw",
    check=check,
    figures=(
        PartsFigure(
            "curve", "scr_metric", ("n",), "by_n", "SCR against the number of latents ablated", "n, latents ablated"
        ),
        PartsFigure(
            "curve", "scr_metric_by_share", ("percent",), "by_share", "SCR against the share of latents ablated",
            "latents ablated, % of d_in",
        ),
    ),
    overview=OverviewPanel(2, "scr_metric", {"n": 10}),
    sae_bench=SaeBenchSchema(
        type_id="scr",
        optional=None,
        config_names={
            "train_size": "train_set_size", "test_size": "test_set_size", "context_size": "context_length",
        },
        config_constants={"perform_scr": True},
    ),
)  # fmt: skip
