"""Whether the SAEs are sound, and whether a trained one differs from a random one."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from sae_research.metrics.intervals import Estimate, jackknife
from sae_research.saes.base import Sae
from sae_research.world.checks.bar import Bar, mean_estimate
from sae_research.world.checks.checked_world import RANDOM, CheckedWorld
from sae_research.world.sae_plan import PLANS, SaePlan

_TEXTS = 1000
_EV_ROWS = 100
"""Rows of held-out text for everything but dead latents, which are counted on all rows."""


def sae_bars(world: CheckedWorld) -> list[Bar]:
    """All of this file's bars."""
    x = _rows_of_activations(world)
    bars, dead = [], {}
    for plan in PLANS:
        sae, variance = world.sae(plan.folder), f"{plan.folder}, explained variance"
        if plan.model == "untrained":
            bars.append(Bar(variance, explained_variance(sae, x), at_most=0.75))
            continue
        dead[plan.folder] = dead_share(sae, x)
        at_least = 0.90 if plan.architecture == "topk" else None
        bars += [l0(plan, sae, x), Bar(variance, explained_variance(sae, x), at_least=at_least)]
    return [
        *bars,
        Bar(f"{RANDOM}, explained variance", explained_variance(world.sae(RANDOM), x), at_most=0.60),
        Bar("dead latents, TopK k16", Estimate(dead["sae-topk/k16"]), at_most=0.05),
        Bar("dead latents, worst trained SAE", Estimate(max(dead.values())), at_most=0.20),
    ]


@torch.no_grad()
def _rows_of_activations(world: CheckedWorld) -> list[Float[Tensor, "token d"]]:
    """The activations of held-out text, row by row, without bos, eos and padding."""
    special = torch.tensor(sorted(world.lm.special_ids))
    rows = world.token_rows("test", _TEXTS)
    parts = [(world.lm.capture(part, world.site), part) for part in rows.split(32)]
    return [xi[~torch.isin(t, special)] for x, tokens in parts for xi, t in zip(x, tokens, strict=True)]


def explained_variance(sae: Sae, x: list[Float[Tensor, "token d"]]) -> Estimate:
    """1 - SSE / SST over all tokens; the interval is over rows."""
    x = x[:_EV_ROWS]
    mean = torch.cat(x).mean(0)
    error = torch.stack([(row - sae.decode(sae.encode(row))).square().sum() for row in x])
    total = torch.stack([(row - mean).square().sum() for row in x])
    sums = {"error": error.double().numpy(), "total": total.double().numpy()}
    return jackknife(sums, lambda s: {"ev": 1 - s["error"] / s["total"]})["ev"]


def l0(plan: SaePlan, sae: Sae, x: list[Float[Tensor, "token d"]]) -> Bar:
    """Mean L0, which should be near its target; the interval is over rows."""
    values = [float((sae.encode(row) != 0).sum(1).float().mean()) for row in x[:_EV_ROWS]]
    return Bar(f"{plan.folder}, L0", mean_estimate(values), at_least=0.6 * plan.sparsity, at_most=1.4 * plan.sparsity)


def dead_share(sae: Sae, x: list[Float[Tensor, "token d"]]) -> float:
    """The share of latents that fire nowhere in `x`."""
    fired = torch.stack([(sae.encode(row) != 0).any(0) for row in x]).any(0)
    return 1.0 - float(fired.float().mean())
