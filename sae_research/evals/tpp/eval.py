"""Targeted probe perturbation: how much more ablating the latents of one class harms its probe than other probes.

Sign policy: a latent belongs to a class if its mean code is larger there in absolute value; flipping the signs of its
codes and of its atom changes nothing. The code of an ablated latent is 0, whatever its sign was.

Karvonen et al. 2024, https://arxiv.org/abs/2411.18895
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sae_research.evals.base import INTERPOLATES_HERE, DataSet, Eval, EvalContext, Outcome, PartsFigure, SaeBenchSchema
from sae_research.evals.shared.labelled_data import labelled_data
from sae_research.evals.shared.seeds import check_seeds, draw_with_seeds
from sae_research.evals.tpp.settings import TppSettings
from sae_research.measurements import Direction, MetricSpec

if TYPE_CHECKING:
    from sae_research.saes.base import Sae


def data(settings: TppSettings) -> list[DataSet]:
    """The labelled texts."""
    return labelled_data(settings.dataset_names)


def run(context: EvalContext, saes: Sequence[Sae], settings: TppSettings) -> Iterator[Outcome]:
    """Probes on pooled activations, ablations in closed form: each text is read and encoded once for all seeds."""
    from sae_research.evals.shared.probing_sets import probing_sets
    from sae_research.evals.tpp.measure import measure_tpp

    sets = draw_with_seeds(context, settings.seeds, lambda seeded: probing_sets(seeded, settings))
    yield from measure_tpp(context, saes, sets, settings)


def check(settings: TppSettings, random_seed: int) -> None:
    """The run's own seed is no further one."""
    check_seeds(settings.seeds, random_seed, section="tpp")


def _specs() -> Iterator[MetricSpec]:
    """Each score, and its spread over seeds."""
    scores: tuple[tuple[str, Direction, str], ...] = (
        ("total_metric", "higher", "TPP"),
        ("intended_diff_only", "higher", "TPP, intended class"),
        ("unintended_diff_only", "lower", "TPP, other classes"),
    )
    for name, direction, title in scores:
        key, headline = f"tpp_threshold_{{n}}_{name}", name == "total_metric"
        yield MetricSpec(f"tpp_{name}", "tpp_metrics", "", direction, title, key, headline)
        yield MetricSpec(f"tpp_{name}_seed_std", "tpp_metrics", "", "neither", f"{title}, deviation over seeds")
    by_share, title = "tpp_total_metric_by_share", "TPP, latents ablated in % of d_in"
    yield MetricSpec(by_share, "tpp_metrics", "", "higher", title, headline=True)
    yield MetricSpec(f"{by_share}_seed_std", "tpp_metrics", "", "neither", f"{title}, deviation over seeds")


TPP = Eval(
    name="tpp",
    section="tpp",
    settings=TppSettings,
    specs=(*_specs(), INTERPOLATES_HERE),
    data=data,
    run=run,
    main_columns={"tpp_total_metric_by_share": {"percent": 4}},
    not_in_intervals="the texts on which probes are trained and latents chosen, unless `seeds` repeats the draw",
    check=check,
    takes={"labelled": "dataset_names"},
    figures=(
        PartsFigure(
            "curve", "tpp_total_metric", ("n",), "by_n", "TPP against the number of latents ablated",
            "n, latents ablated",
        ),
        PartsFigure(
            "curve", "tpp_total_metric_by_share", ("percent",), "by_share", "TPP against the share of latents ablated",
            "latents ablated, % of d_in",
        ),
    ),
    sae_bench=SaeBenchSchema(
        type_id="tpp",
        optional=None,
        config_names={
            "train_size": "train_set_size", "test_size": "test_set_size", "context_size": "context_length",
        },
        config_constants={"perform_scr": False},
    ),
)  # fmt: skip
