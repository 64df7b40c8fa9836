"""Cells of sparse probing, computed by SAEBench, which draws its texts and trains its probes in its own way."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import torch

from sae_research.data.labelled import LabelledSet
from sae_research.evals.base import Attempt, EvalContext, Outcome
from sae_research.evals.parts.probing_sets import probing_sets
from sae_research.metrics.intervals import average, wilson
from sae_research.reference.lens import lens_of
from sae_research.reference.missing import not_computed
from sae_research.reference.sparse_probing import PeerProbing, PeerProbingPlan, run_sparse_probing
from sae_research.results.record import EvalOutput, Measurement, measured
from sae_research.saes.base import Sae, SaeCard
from sae_research.saes.identity import IdentitySae

if TYPE_CHECKING:
    from sae_research.evals.sparse_probing import SparseProbingSettings

_KINDS = ("llm", "sae")


def run(context: EvalContext, saes: Sequence[Sae], settings: SparseProbingSettings) -> Iterator[Outcome]:
    """The outcome of every SAE; SAEBench keeps the model's activations in a temporary folder meanwhile."""
    if not saes:
        return
    sets = probing_sets(context, settings)
    lens = lens_of(context)
    context.progress.expect(len(saes) + 1)
    with tempfile.TemporaryDirectory(prefix="sae_bench-") as folder:
        artifacts = Path(folder)
        _fill(artifacts, lens, sets, _plan(context, settings, saes[0].card.d_in), saes[0])
        context.progress.advance(doing="language model")
        for sae in saes:
            plan = _plan(context, settings, min(sae.card.d_in, sae.card.d_sae))
            yield Attempt(sae).finish(
                lambda own=sae, plan=plan: _output(
                    run_sparse_probing(lens, own, sets, plan, artifacts=artifacts), sets, settings.k_values
                )
            )
            context.progress.advance(doing=sae.card.name)


def _plan(context: EvalContext, settings: SparseProbingSettings, width: int) -> PeerProbingPlan:
    """SAEBench's config; it stops at a k above the number of channels or latents, so these are left out."""
    return PeerProbingPlan(
        k_values=tuple(k for k in settings.k_values if k <= width),
        seed=context.seed,
        context_size=settings.context_size,
        llm_batch_size=context.batch_size,
        lower_vram_usage=settings.sampling == "sae_bench",
    )


def _fill(artifacts: Path, lens: Any, sets: Sequence[LabelledSet], plan: PeerProbingPlan, example: Sae) -> None:
    """Fills SAEBench's cache: what it draws for an SAE depends on whether it finds one, so it always shall."""
    card = example.card
    plain = SaeCard(
        name="identity",
        architecture="identity",
        site=card.site,
        d_in=card.d_in,
        d_sae=card.d_in,
        model_name=card.model_name,
    )
    sae = IdentitySae(plain, {}).to(example.W_dec.device, example.W_dec.dtype)
    run_sparse_probing(lens, sae, sets, plan, artifacts=artifacts)
    torch.cuda.empty_cache()


def _output(found: PeerProbing, sets: Sequence[LabelledSet], k_values: Sequence[int]) -> EvalOutput:
    sizes = {labelled.name: 2 * len(next(iter(labelled.test.values()))) for labelled in sets}
    measurements: list[Measurement] = []
    for kind in _KINDS:
        measurements.append(not_computed(f"{kind}_test_accuracy"))
        wide = _accuracies(found, f"{kind}_test_accuracy")
        measurements += _measurements(f"{kind}_test_accuracy_sae_bench", {}, wide, sizes)
        for k in k_values:
            top = _accuracies(found, f"{kind}_top_{k}_test_accuracy")
            measurements += _measurements(f"{kind}_top_k_test_accuracy", {"k": k}, top, sizes)
    kept = {name: _without_missing(results) for name, results in found.per_class.items()}
    return EvalOutput(
        tuple(measurements),
        details=[
            {"dataset_name": f"{name}_results", **{key: fmean(shares.values()) for key, shares in results.items()}}
            for name, results in kept.items()
        ],
        unstructured={f"{name}_results": results for name, results in kept.items()},
    )


def _accuracies(found: PeerProbing, key: str) -> dict[str, Mapping[str, float]]:
    """Test accuracy by data set and class, where SAEBench has it for all data sets."""
    kept = {name: _without_missing(results).get(key) for name, results in found.per_class.items()}
    return {name: shares for name, shares in kept.items() if shares}


def _without_missing(results: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Without what SAEBench left out, which it shows as the accuracy -1 of a class called -1."""
    return {key: {name: float(share) for name, share in shares.items()} for key, shares in results.items()
            if set(shares) != {"-1"}}  # fmt: skip


def _measurements(
    metric: str, at: dict[str, int | float | str], sets: Mapping[str, Mapping[str, float]], sizes: Mapping[str, int]
) -> Iterator[Measurement]:
    """The mean over data sets of the mean over classes, then each data set's own."""
    if len(sets) < len(sizes):
        yield not_computed(metric, at)
        return
    means = {
        name: average([wilson(round(share * sizes[name]), sizes[name]) for share in shares.values()])
        for name, shares in sets.items()
    }
    yield measured(metric, average(list(means.values())), at)
    for name, estimate in means.items():
        yield measured(metric, estimate, {**at, "dataset": name})
