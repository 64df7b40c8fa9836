"""SCR and TPP: the evals themselves, with the settings of the embedded profile, on six SAEs."""

from __future__ import annotations

from sae_research.evals.scr.eval import SCR
from sae_research.evals.scr.settings import ScrSettings
from sae_research.evals.tpp.eval import TPP
from sae_research.evals.tpp.settings import TppSettings
from sae_research.measurements import EvalOutput
from sae_research.world.checks.bar import Bar, mean_estimate
from sae_research.world.checks.checked_world import RANDOM, CheckedWorld
from sae_research.world.checks.evaluated import difference, evaluate, score_of

_DATA = ("embedded/bios", "embedded/reviews")
_N_VALUES = (2, 5, 10, 20, 50, 100)
SCR_SETTINGS = ScrSettings(_DATA, train_size=200, test_size=200, n_values=_N_VALUES)
TPP_SETTINGS = TppSettings(_DATA, train_size=200, test_size=100, n_values=_N_VALUES)
"""Those of the embedded profile; a test compares them."""

_TRAINED = ("topk k8", "jumprelu l0_8", "jumprelu l0_32", "batchtopk k8", "batchtopk k32")
_SAES = {**{name: f"sae-{name.replace(' ', '/')}" for name in _TRAINED}, RANDOM: RANDOM}
_SHOWN = (5, 10, 20)
_AT_LEAST = {
    ("SCR", "topk k8", RANDOM): {10: 0.05},
    ("SCR", "jumprelu l0_8", "jumprelu l0_32"): {10: 0.0},
    ("TPP", "batchtopk k32", RANDOM): {10: 0.05},
    ("TPP", "batchtopk k32", "batchtopk k8"): {20: 0.02},
}
"""Required differences, by n. With many latents ablated a random SAE does as well on TPP, because its atoms span what
the probe reads. On TPP the denser SAE is ahead: it has fewer latents per class."""


def correlation_bars(world: CheckedWorld) -> list[Bar]:
    """The cost of the bias to a probe, then the lead of a trained SAE over a random one, of sparse over dense."""
    scr = evaluate(world, SCR, SCR_SETTINGS, _SAES)
    tpp = evaluate(world, TPP, TPP_SETTINGS, _SAES)
    return [
        _cost_of_the_bias(scr["topk k8"]),
        *_comparisons("SCR", "scr_metric", scr),
        *_comparisons("TPP", "tpp_total_metric", tpp),
    ]


def _cost_of_the_bias(output: EvalOutput) -> Bar:
    """The mean over the pairs of professions; the interval is over pairs."""
    pairs = [accuracies for name, accuracies in output.unstructured.items() if name.startswith("embedded/bios")]
    costs = [accuracies["clean_accuracy_dir1"] - accuracies["biased_accuracy_dir1"] for accuracies in pairs]
    return Bar("SCR, the biased probe's loss of accuracy", mean_estimate(costs), at_least=0.05)


def _comparisons(title: str, metric: str, outputs: dict[str, EvalOutput]) -> list[Bar]:
    bars = []
    for (of, better, worse), at_least in _AT_LEAST.items():
        for n in _SHOWN if of == title else ():
            lead = difference(*(score_of(outputs[name], metric, n=n) for name in (better, worse)))
            bars.append(Bar(f"{title} n={n}, {better} minus {worse}", lead, at_least=at_least.get(n)))
    return bars
