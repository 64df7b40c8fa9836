"""Sparse probing: how well k latents tell the classes of a text apart.

Sign policy: latents are ranked by the absolute difference of class means and probed with their sign, so negative codes
count as they are.

Gurnee et al. 2023, https://arxiv.org/abs/2305.01610; in SAEBench's form, https://arxiv.org/abs/2503.09532
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sae_research.evals.base import (
    INTERPOLATES_HERE,
    DataSet,
    Eval,
    EvalContext,
    Outcome,
    OverviewPanel,
    SaeBenchSchema,
)
from sae_research.evals.shared.labelled_data import labelled_data
from sae_research.evals.shared.seeds import check_seeds, draw_with_seeds
from sae_research.evals.sparse_probing.best_latents import BEST_LATENTS
from sae_research.evals.sparse_probing.settings import SparseProbingSettings
from sae_research.measurements import EvalOutput, LatentNote, MetricSpec

if TYPE_CHECKING:
    from sae_research.saes.base import Sae


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


def data(settings: SparseProbingSettings) -> list[DataSet]:
    """The labelled texts."""
    return labelled_data(settings.dataset_names)


def run(context: EvalContext, saes: Sequence[Sae], settings: SparseProbingSettings) -> Iterator[Outcome]:
    """Probes on pooled codes; the model reads each text once for all SAEs and seeds."""
    from sae_research.evals.shared.probing_sets import probing_sets
    from sae_research.evals.sparse_probing.measure import measure_probing

    sets = draw_with_seeds(context, settings.seeds, lambda seeded: probing_sets(seeded, settings))
    yield from measure_probing(context, saes, sets, settings)


def check(settings: SparseProbingSettings, random_seed: int) -> None:
    """The run's own seed is no further one."""
    check_seeds(settings.seeds, random_seed, section="sparse_probing")


def notes(output: EvalOutput) -> Iterator[LatentNote]:
    """The latent that separates each class best, with the accuracy of a probe on it alone where one was trained."""
    for data_set, by_class in output.unstructured.get(BEST_LATENTS, {}).items():
        accuracies = output.unstructured[f"{data_set}_results"].get("sae_top_1_test_accuracy") or {}
        for name, latent in by_class.items():
            text = f"{data_set}: {name}"
            yield LatentNote(latent, "best for a class", text, accuracies.get(name), at={"dataset": data_set})


SPARSE_PROBING = Eval(
    name="sparse_probing",
    section="sparse_probing",
    settings=SparseProbingSettings,
    specs=(*_specs(), INTERPOLATES_HERE),
    data=data,
    run=run,
    notes=notes,
    main_columns={"sae_top_k_test_accuracy": {"k": 1}},
    not_in_intervals="the texts that probes are trained on, unless `seeds` repeats the draw",
    has_own_stage=True,
    check=check,
    takes={"labelled": "dataset_names"},
    overview=OverviewPanel(1, "sae_top_k_test_accuracy", {"k": 1}),
    references={
        "sae_top_k_test_accuracy": ("llm_test_accuracy", "llm_top_k_test_accuracy"),
        "sae_test_accuracy": ("llm_test_accuracy",),
    },
    sae_bench=SaeBenchSchema(
        type_id="sparse_probing",
        optional=frozenset({"llm_top_{k}_test_accuracy", "sae_test_accuracy", "sae_top_{k}_test_accuracy"}),
        required_details=frozenset({"llm_test_accuracy"}),
        minus_one_is_missing=True,
        config_names={
            "train_size": "probe_train_set_size",
            "test_size": "probe_test_set_size",
            "context_size": "context_length",
        },
    ),
)
