"""Clamped answers against plain interventions, prompt by prompt."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from support.outcomes import MakeSae
from support.questions import ARCHITECTURES, FORMAT, SITE, likeliest, some_questions

from sae_research.evals.unlearning.clamp import Clamping, answer_clamped, units
from sae_research.evals.unlearning.grid import choose_latents
from sae_research.evals.unlearning.prompts import Prompter, batches
from sae_research.lm.model import LanguageModel
from sae_research.saes.base import Sae
from sae_research.saes.encoding import Encoder
from sae_research.saes.normalisation import Normalisation


def test_the_unit_is_the_sae_s_own_or_the_norm_of_activations(make_sae: MakeSae) -> None:
    sae = make_sae("relu", tensors={"W_dec": 3 * torch.eye(48, 16)})
    chosen = choose_latents(torch.ones(48), torch.zeros(48), thresholds=(1.0,), numbers=(2,))
    assert units(sae, chosen, 8.0, scaled=False).tolist() == [1, 1]
    # sqrt(16) = 4: 8 / 4 along an atom of length 3.
    assert units(sae, chosen, 8.0, scaled=True).tolist() == pytest.approx([2 / 3, 2 / 3])
    sae.card = replace(sae.card, input_norm="layer_norm")
    assert units(sae, chosen, 8.0, scaled=True).tolist() == pytest.approx([1 / 3, 1 / 3])


@pytest.mark.parametrize(
    ("architecture", "input_norm"), [*((name, "none") for name in ARCHITECTURES), ("topk", "layer_norm")]
)
@torch.no_grad()
def test_clamped_answers_are_those_of_plain_interventions(
    lm: LanguageModel, make_sae: MakeSae, architecture: str, input_norm: Normalisation
) -> None:
    sae = make_sae(architecture, **ARCHITECTURES[architecture])
    sae.card = replace(sae.card, input_norm=input_norm)
    asked = [q for q in some_questions(16, seed=5) if likeliest(lm, q, "option_text") == q.answer]
    prompts = Prompter(lm.tokenizer, FORMAT, "option_text").prompts(asked)
    generator = torch.Generator().manual_seed(0)
    rates = torch.rand(48, generator=generator), torch.rand(48, generator=generator)
    chosen = choose_latents(*rates, thresholds=(0.02, 0.5), numbers=(12,))
    clamping = Clamping(Encoder(sae), chosen, torch.tensor([[3.0], [40.0]]).expand(2, len(chosen.latents)))
    found = torch.zeros(len(asked), len(chosen.sets), 2, dtype=torch.bool)
    for batch in batches(prompts, pad=0, tokens_at_once=300):
        x = lm.capture(batch.tokens, SITE)
        right = answer_clamped(lm, SITE, batch, x, clamping, "option_text", tokens_at_once=90)
        found[batch.places] = right
    for place, prompt in enumerate(prompts):
        for own, members in enumerate(chosen.sets):
            for m, level in enumerate((3.0, 40.0)):
                best = _plainly_clamped(lm, sae, prompt, chosen.latents[members], level)
                assert bool(found[place, own, m]) == (best == prompt.answer), (place, own, m)
    assert 0 < int(found.sum()) < found.numel()


def _plainly_clamped(lm: LanguageModel, sae: Sae, prompt: Any, latents: torch.Tensor, level: float) -> int:
    scores = [0.0] * prompt.n_options
    for row, reads in zip(prompt.rows, prompt.reads, strict=True):
        tokens = torch.tensor([row])
        x = lm.capture(tokens, SITE)
        mask = torch.ones_like(tokens, dtype=torch.bool)
        mask[:, 0] = False
        codes = sae.encode(x, mask=mask)
        changed = codes.clone()
        for latent in latents.tolist():
            z = codes[..., latent]
            changed[..., latent] = torch.where(z > 0, -level, torch.where(z < 0, level, 0.0))
        edited = x - sae.decode(codes, x) + sae.decode(changed, x)
        torch.testing.assert_close(edited[:, 0], x[:, 0])
        log_p = lm.unembed(lm.resume(SITE, edited, tokens))[0].log_softmax(-1)
        for read in reads:
            scores[read.option] += float(log_p[read.position, read.token])
    return int(np.argmax(scores))
