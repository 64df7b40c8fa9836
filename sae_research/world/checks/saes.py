"""Whether the SAEs are sound, and whether a trained one can be told from a random one."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from sae_research.metrics.intervals import Estimate, jackknife
from sae_research.saes.base import Sae
from sae_research.world.checks.bar import Bar, mean_estimate
from sae_research.world.checks.subject import Subject
from sae_research.world.sae_plan import PLANS, SaePlan

_TEXTS = 1000
_EV_ROWS = 100


def sae_bars(subject: Subject) -> list[Bar]:
    """All of this file's bars."""
    x = _rows_of_activations(subject)
    bars = [
        Bar("TopK k16, explained variance", explained_variance(subject.sae("sae-topk/k16"), x), at_least=0.90),
        Bar("random k16, explained variance", explained_variance(subject.sae("sae-random/k16"), x), at_most=0.40),
        Bar("PCA k16, explained variance", explained_variance(subject.sae("sae-pca/k16"), x)),
    ]
    for plan in PLANS:
        if plan.is_trained:
            bars.extend(_sparsity(plan, subject.sae(plan.folder), x))
    return bars


@torch.no_grad()
def _rows_of_activations(subject: Subject) -> list[Float[Tensor, "token d"]]:
    """The activations of held-out text, row by row, without bos, eos and padding."""
    special = torch.tensor(sorted(subject.lm.special_ids))
    rows = subject.token_rows("test", _TEXTS)
    parts = [(subject.lm.capture(part, subject.site), part) for part in rows.split(32)]
    return [xi[~torch.isin(t, special)] for x, tokens in parts for xi, t in zip(x, tokens, strict=True)]


def explained_variance(sae: Sae, x: list[Float[Tensor, "token d"]]) -> Estimate:
    """1 - SSE / SST over all tokens; the interval is over rows."""
    x = x[:_EV_ROWS]
    mean = torch.cat(x).mean(0)
    error = torch.stack([(row - sae.decode(sae.encode(row))).square().sum() for row in x])
    total = torch.stack([(row - mean).square().sum() for row in x])
    sums = {"error": error.double().numpy(), "total": total.double().numpy()}
    return jackknife(sums, lambda s: {"ev": 1 - s["error"] / s["total"]})["ev"]


def _sparsity(plan: SaePlan, sae: Sae, x: list[Float[Tensor, "token d"]]) -> Iterator[Bar]:
    """The share of latents that never fire, and L0 with its distance to what was asked for."""
    counts = torch.zeros(sae.card.d_sae)
    l0 = []
    for row in x:
        active = sae.encode(row) != 0
        counts += active.sum(0)
        l0.append(float(active.sum(1).float().mean()))
    dead = float((counts == 0).float().mean())
    yield Bar(f"{plan.folder}, dead latents", Estimate(dead), at_most=0.05 if plan.architecture == "topk" else 0.20)
    yield Bar(f"{plan.folder}, L0", mean_estimate(l0), at_least=0.5 * plan.sparsity, at_most=1.6 * plan.sparsity)
