"""Whether RAVEL tells SAEs apart on the world: the eval itself, on a few SAEs, with its paired intervals."""

from __future__ import annotations

from sae_research.evals.base import EvalContext
from sae_research.evals.ravel import Ravel, RavelSettings
from sae_research.metrics.intervals import Estimate, paired_difference
from sae_research.progress import Progress
from sae_research.results.record import EvalOutput
from sae_research.world.checks.bar import Bar
from sae_research.world.checks.subject import Subject

_SCORE = "disentanglement_score"
_SAES = {"BatchTopK k32": "sae-batchtopk/k32", "TopK k8": "sae-topk/k8", "random": "sae-random/k16"}
_SETTINGS = RavelSettings(
    dataset="embedded/cities", attributes={"city": ("Country", "Continent", "Language")}, answer="first_token",
    num_pairs_per_attribute=160, batch_size=32, num_epochs=3, learning_rate=0.1, rotation_learning_rate=0.02,
    das_dimension=32, baselines=("noop", "full_swap", "mdas"),
)  # fmt: skip


def ravel_bars(subject: Subject) -> list[Bar]:
    """Learnt axes disentangle; a trained SAE beats a random one and, at a good L0, a trained one at a bad L0."""
    saes = [subject.sae(folder) for folder in _SAES.values()]
    context = EvalContext(subject.lm, subject.hub, subject.seed, 32, Progress("ravel", shown=False))
    outputs = {}
    for name, outcome in zip(_SAES, Ravel.run(context, saes, _SETTINGS), strict=True):
        if outcome.output is None:
            raise outcome.error or RuntimeError(f"RAVEL gave nothing for {name}")
        outputs[name] = outcome.output
    scores = {name: _estimate(output, _SCORE, {}) for name, output in outputs.items()}
    trained = outputs["BatchTopK k32"]
    return [
        Bar("RAVEL cause, full swap", _estimate(trained, "baseline_cause_score", {"baseline": "full_swap"}), 0.6),
        Bar("RAVEL, MDAS", _estimate(trained, f"baseline_{_SCORE}", {"baseline": "mdas"}), at_least=0.65),
        *(Bar(f"RAVEL, {name}", estimate) for name, estimate in scores.items()),
        Bar("RAVEL, BatchTopK k32 less random", _gap(scores, "random"), at_least=0.05),
        Bar("RAVEL, BatchTopK k32 less TopK k8", _gap(scores, "TopK k8"), at_least=0.05),
    ]


def _gap(scores: dict[str, Estimate], other: str) -> Estimate:
    difference = paired_difference(scores["BatchTopK k32"], scores[other])
    assert difference is not None, "both were measured on the same pairs"
    return difference


def _estimate(output: EvalOutput, metric: str, at: dict[str, str]) -> Estimate:
    (found,) = (m for m in output.measurements if m.metric == metric and dict(m.at) == at)
    if found.value is None:
        raise ValueError(f"{metric}: {found.reason}")
    return Estimate(found.value, found.ci_low, found.ci_high, found.replicates)
