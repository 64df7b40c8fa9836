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

from sae_research.data.paired import load_pairs, require_crossed
from sae_research.evals.base import DataSet, Eval, EvalContext, Outcome, OverviewPanel, PartsFigure, SaeBenchSchema
from sae_research.evals.scr.settings import ScrSettings
from sae_research.evals.shared.labelled_data import labelled_data
from sae_research.measurements import MetricSpec

if TYPE_CHECKING:
    from sae_research.saes.base import Sae


def data(settings: ScrSettings) -> list[DataSet]:
    """The labelled texts, each set with classes crossed with groups."""
    return labelled_data(settings.dataset_names, require_crossed)


def run(context: EvalContext, saes: Sequence[Sae], settings: ScrSettings) -> Iterator[Outcome]:
    """Probes on pooled activations, ablations in closed form: each text is read and encoded once."""
    from sae_research.evals.scr.measure import measure_scr

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


SCR = Eval(
    name="scr",
    section="scr",
    settings=ScrSettings,
    specs=(
        MetricSpec("scr_metric", "scr_metrics", "", "higher", "SCR", "scr_metric_threshold_{n}", headline=True),
        MetricSpec("scr_dir1", "scr_metrics", "", "higher", "SCR, direction 1", "scr_dir1_threshold_{n}"),
        MetricSpec("scr_dir2", "scr_metrics", "", "higher", "SCR, direction 2", "scr_dir2_threshold_{n}"),
    ),
    data=data,
    run=run,
    main_columns={"scr_metric": {"n": 10}},
    not_in_intervals="the texts on which probes are trained and latents chosen",
    figures=(
        PartsFigure(
            "curve", "scr_metric", ("n",), "by_n", "SCR against the number of latents ablated", "n, latents ablated"
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
