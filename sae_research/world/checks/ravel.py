"""Whether RAVEL separates SAEs on the world: the eval itself, on a few SAEs, with its paired intervals."""

from __future__ import annotations

from sae_research.evals.ravel.eval import RAVEL
from sae_research.evals.ravel.settings import RavelSettings
from sae_research.world.checks.bar import Bar
from sae_research.world.checks.checked_world import RANDOM, CheckedWorld
from sae_research.world.checks.evaluated import difference, evaluate, score_of

_SCORE = "disentanglement_score"
_SAES = {"BatchTopK k32": "sae-batchtopk/k32", "TopK k8": "sae-topk/k8", "random": RANDOM}
SETTINGS = RavelSettings(
    dataset="embedded/cities", attributes={"city": ("Country", "Continent", "Language")}, answer="first_token",
    num_pairs_per_attribute=160, batch_size=32, num_epochs=3, learning_rate=0.1, rotation_learning_rate=0.02,
    das_dimension=32, baselines=("noop", "full_swap", "mdas"),
)  # fmt: skip
"""Those of the embedded profile, with fewer baselines; a test compares the two."""


def ravel_bars(world: CheckedWorld) -> list[Bar]:
    """Learnt axes disentangle; a trained SAE beats a random one and, at a good L0, a trained SAE at a bad L0."""
    outputs = evaluate(world, RAVEL, SETTINGS, _SAES)
    scores = {name: score_of(output, _SCORE) for name, output in outputs.items()}
    trained = outputs["BatchTopK k32"]
    return [
        Bar("RAVEL cause, full swap", score_of(trained, "baseline_cause_score", baseline="full_swap"), 0.6),
        Bar("RAVEL, MDAS", score_of(trained, f"baseline_{_SCORE}", baseline="mdas"), at_least=0.65),
        *(Bar(f"RAVEL, {name}", estimate) for name, estimate in scores.items()),
        *(
            Bar(f"RAVEL, BatchTopK k32 less {other}", difference(scores["BatchTopK k32"], scores[other]), at_least=0.05)
            for other in ("random", "TopK k8")
        ),
    ]
