"""Loss recovered against each of its references, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from sae_research.evals.core.formulas import estimate_behaviour

TOKENS = np.array([4.0, 4.0])
LOSSES = {"clean": 1.0, "sae": 2.0, "unigram": 6.0, "mean": 9.0, "zero": 11.0}
"""Nats per token."""


def _values(**changed: float) -> dict[str, float]:
    losses = LOSSES | changed
    rows = {"ce_tokens": TOKENS, "kl_tokens": TOKENS} | {f"ce_{n}": loss * TOKENS for n, loss in losses.items()}
    rows |= {f"kl_{name}": 1.0 * TOKENS for name in ("zero", "mean", "sae")}
    rows |= {"right_clean": 0.75 * TOKENS, "right_sae": 0.5 * TOKENS}
    return {name: estimate.value for name, estimate in estimate_behaviour(rows, np.arange(len(TOKENS))).items()}


def test_loss_recovered_depends_on_what_it_is_held_against() -> None:
    values = _values()
    assert values["ce_loss_increase"] == 1
    assert values["ce_loss_unigram"] == 6
    assert values["ce_loss_score_unigram"] == pytest.approx(4 / 5)
    assert values["ce_loss_score_mean_ablation"] == pytest.approx(7 / 8)
    assert values["ce_loss_score"] == pytest.approx(9 / 10)
    assert (values["next_token_accuracy_without_sae"], values["next_token_accuracy_with_sae"]) == (0.75, 0.5)


def test_a_model_that_knows_less_than_token_frequencies_has_nothing_to_recover() -> None:
    assert np.isnan(_values(clean=6.0)["ce_loss_score_unigram"])
    assert np.isnan(_values(clean=7.0)["ce_loss_score_unigram"])
    assert _values(sae=6.0)["ce_loss_score_unigram"] == 0
