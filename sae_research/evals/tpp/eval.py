"""Targeted probe perturbation: how much more ablating the latents of one class harms its probe than other probes.

Sign policy: a latent belongs to a class if its mean code is larger there in absolute value; flipping the signs of its
codes and of its atom changes nothing. The code of an ablated latent is 0, whatever its sign was.

Karvonen et al. 2024, https://arxiv.org/abs/2411.18895
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sae_research.evals.base import DataSet, Eval, EvalContext, Outcome, PartsFigure, SaeBenchSchema
from sae_research.evals.shared.labelled_data import labelled_data
from sae_research.evals.tpp.settings import TppSettings
from sae_research.measurements import MetricSpec

if TYPE_CHECKING:
    from sae_research.saes.base import Sae


def data(settings: TppSettings) -> list[DataSet]:
    """The labelled texts."""
    return labelled_data(settings.dataset_names)


def run(context: EvalContext, saes: Sequence[Sae], settings: TppSettings) -> Iterator[Outcome]:
    """Probes on pooled activations, ablations in closed form: each text is read and encoded once."""
    from sae_research.evals.shared.probing_sets import probing_sets
    from sae_research.evals.tpp.measure import measure_tpp

    yield from measure_tpp(context, saes, probing_sets(context, settings), settings)


TPP = Eval(
    name="tpp",
    section="tpp",
    settings=TppSettings,
    specs=(
        MetricSpec(
            "tpp_total_metric", "tpp_metrics", "", "higher", "TPP", "tpp_threshold_{n}_total_metric", headline=True
        ),
        MetricSpec(
            "tpp_intended_diff_only", "tpp_metrics", "", "higher", "TPP, intended class",
            "tpp_threshold_{n}_intended_diff_only",
        ),
        MetricSpec(
            "tpp_unintended_diff_only", "tpp_metrics", "", "lower", "TPP, other classes",
            "tpp_threshold_{n}_unintended_diff_only",
        ),
    ),
    data=data,
    run=run,
    main_columns={"tpp_total_metric": {"n": 10}},
    not_in_intervals="the texts on which probes are trained and latents chosen",
    takes={"labelled": "dataset_names"},
    figures=(
        PartsFigure(
            "curve", "tpp_total_metric", ("n",), "by_n", "TPP against the number of latents ablated",
            "n, latents ablated",
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
