"""Absorption of first letters: the eval itself, with the settings of the embedded profile, on four SAEs."""

from __future__ import annotations

import dataclasses

from sae_research.evals.absorption.eval import ABSORPTION
from sae_research.evals.absorption.settings import AbsorptionSettings
from sae_research.evals.absorption.specs import MEAN_PROBE_F1
from sae_research.world.checks.bar import Bar
from sae_research.world.checks.checked_world import RANDOM, CheckedWorld
from sae_research.world.checks.evaluated import difference, evaluate, score_of

SETTINGS = AbsorptionSettings(k_sparse_probe_batch_size=128)
"""Those of the embedded profile; a test compares the two."""

_SAES = {
    "TopK k8": "sae-topk/k8",
    "TopK k16": "sae-topk/k16",
    "TopK k32": "sae-topk/k32",
    "random": RANDOM,
}


def absorption_bars(world: CheckedWorld) -> list[Bar]:
    """How much more a random SAE absorbs than a trained one, and a sparse one than a dense one; then each score.

    Lower is better. The fraction separates random SAEs, whose split latents say little about a letter. Full absorption
    separates sparse from dense: the fewer latents fire, the more often a single one carries the letter. Under the clean
    rules a random SAE has no letter with a score, so these bars are about scores under SAEBench's.
    """
    outputs = evaluate(world, ABSORPTION, dataclasses.replace(SETTINGS, rules="sae_bench"), _SAES)
    f1 = {name: score_of(output, MEAN_PROBE_F1) for name, output in outputs.items()}
    fractions = {name: score_of(output, "mean_absorption_fraction_score") for name, output in outputs.items()}
    full = {name: score_of(output, "mean_full_absorption_score") for name, output in outputs.items()}
    to_k16, to_k32 = (difference(fractions["random"], fractions[name]) for name in ("TopK k16", "TopK k32"))
    return [
        Bar("absorption fraction, random minus TopK k16", to_k16, at_least=0.02),
        Bar("absorption fraction, random minus TopK k32", to_k32, at_least=0.05),
        Bar("full absorption, TopK k8 minus TopK k32", difference(full["TopK k8"], full["TopK k32"]), at_least=0.02),
        Bar("F1 on letters' latents, TopK k8 minus random", difference(f1["TopK k8"], f1["random"])),
        *(Bar(f"absorption fraction, {name}", estimate) for name, estimate in fractions.items()),
        *(Bar(f"full absorption, {name}", estimate) for name, estimate in full.items()),
    ]
