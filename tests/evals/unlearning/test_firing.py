"""Firing rates against their definition."""

from __future__ import annotations

import pytest
import torch
from support.outcomes import MakeSae
from support.questions import ARCHITECTURES

from sae_research.evals.base import EvalContext
from sae_research.evals.shared.attempts import Attempt
from sae_research.evals.unlearning.firing import count_firing


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_firing_rates_are_shares_of_real_tokens(
    context: EvalContext, make_sae: MakeSae, rows: torch.Tensor, architecture: str
) -> None:
    sae = make_sae(architecture, **ARCHITECTURES[architecture])
    attempt = Attempt(sae)
    firing = count_firing(context, [attempt], sae.card.site, rows)
    x = context.lm.capture(rows, sae.card.site)
    real = rows > 2
    fires = sae.encode(x, mask=real) != 0
    if sae.scope == "sequence":
        # The row's support is that of all of its tokens; a latent fires on those that chose it.
        correlations = ((x - sae.b_dec) @ sae.W_dec.T).abs()
        fires &= correlations == correlations.amax(dim=-1, keepdim=True)
    torch.testing.assert_close(firing.rates[attempt], (fires & real[..., None]).sum((0, 1)) / real.sum().double())
    assert firing.mean_norm == pytest.approx(float(x[real].norm(dim=1).mean()), rel=1e-5)
