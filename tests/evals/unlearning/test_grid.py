"""Which latents the grid of interventions clamps, by hand."""

from __future__ import annotations

import torch

from sae_research.evals.unlearning.grid import choose_latents


def test_latents_below_the_threshold_by_their_forget_rate() -> None:
    forget = torch.tensor([0.5, 0.3, 0.3, 0.0, 0.9, 0.1])
    retain = torch.tensor([0.05, 0.0, 0.0, 0.0, 0.5, 0.1])
    chosen = choose_latents(forget, retain, thresholds=(0.05, 0.2), numbers=(1, 3, 9))
    sets = {key: chosen.latents[chosen.sets[index]].tolist() for key, index in chosen.set_of.items()}
    # 0.05 itself is not below 0.05; of equal rates the lower latent comes first; 3 never fires.
    assert sets[0.05, 1] == [1]
    assert sets[0.05, 3] == sets[0.05, 9] == [1, 2]
    assert sets[0.2, 1] == [0]
    assert sets[0.2, 3] == [0, 1, 2]
    assert sets[0.2, 9] == [0, 1, 2, 5]
    assert len(chosen.sets) == 5


def test_nothing_to_clamp() -> None:
    chosen = choose_latents(torch.zeros(4), torch.zeros(4), thresholds=(0.1,), numbers=(2,))
    assert chosen.sets.shape == (1, 0)
    assert len(chosen.latents) == 0
