"""The latents that have examples: against a plain search, and what must hold whatever else is measured."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from support.outcomes import MakeSae

from sae_research.evals.base import EvalContext
from sae_research.evals.judged.counts import Counts
from sae_research.evals.judged.examples import SaeExamples, activations_in, corpus_rows, find_examples
from sae_research.evals.judged.settings import ExampleSettings, check_examples
from sae_research.evals.shared.attempts import Attempt
from sae_research.evals.shared.batches import is_real
from sae_research.evals.windows.firings import candidate_latents
from sae_research.saes.base import Sae
from sae_research.sources.hub import Hub
from sae_research.sources.memory import GivenRows

SETTINGS = ExampleSettings(dataset="texts", n_rows=60, context_size=48, n_latents=6)
COUNTS = Counts(3, 1, 2, 1, 2)


def _find(context: EvalContext, *saes: Sae, settings: ExampleSettings = SETTINGS) -> list[SaeExamples]:
    return list(find_examples(context, [Attempt(sae) for sae in saes], settings, COUNTS).by_sae.values())


def _as_text(found: SaeExamples) -> str:
    return "\n".join(
        [*(f"{e.latent} {e.density} {e.largest:.4f} {e.firings.sign} {e.windows}" for e in found.latents),
         *map(str, found.passed_over)]
    )  # fmt: skip


def _mostly_dead(make_sae: MakeSae) -> Sae:
    """A ReLU SAE of which only the last five candidates of 48 ever fire."""
    bias = torch.full((48,), -100.0)
    bias[torch.from_numpy(candidate_latents(48, 48, seed=0)[-5:])] = -8.0
    return make_sae("relu", name="mostly_dead", tensors={"b_enc": bias})


def test_each_has_the_first_candidates_with_examples(reading: EvalContext, make_sae: MakeSae) -> None:
    sae = make_sae("topk", k=4)
    [found] = _find(reading, sae)
    rows = corpus_rows(reading, SETTINGS)
    real = is_real(reading.lm, rows)
    codes = sae.encode(reading.lm.capture(rows, sae.card.site), mask=real)
    codes[~real] = 0
    candidates = candidate_latents(48, 48, seed=0).tolist()
    looked_at = [*(e.latent for e in found.latents), *(p.latent for p in found.passed_over)]
    assert len(found.latents) == SETTINGS.n_latents
    assert sorted(looked_at, key=candidates.index) == candidates[: found.n_candidates]
    assert [e.latent for e in found.latents] == sorted((e.latent for e in found.latents), key=candidates.index)
    for example in found.latents:
        column = codes[..., example.latent]
        assert example.density == pytest.approx(float((column > 0).sum() / real.sum()))
        assert example.largest == pytest.approx(float(column.max()), rel=1e-4)
        assert [len(part) for part in example.windows] == [5, 1, 1, 2]
    for passed in found.passed_over:
        assert passed.reason and passed.density == pytest.approx(
            float((codes[..., passed.latent] > 0).sum() / real.sum())
        )


def test_examples_are_marked_where_the_latent_is_active(reading: EvalContext, make_sae: MakeSae) -> None:
    examples = find_examples(reading, [Attempt(make_sae("topk", k=4))], SETTINGS, COUNTS)
    [found] = examples.by_sae.values()
    for example in found.latents:
        windows = example.windows.explain
        for window, text, marked in zip(
            windows, examples.plain(windows), examples.marked(example, windows), strict=True
        ):
            active = activations_in(example.firings, window) > 0.01 * example.largest
            assert "".join(piece for piece, _ in marked) == text
            shown = [(word, is_marked) for piece, is_marked in marked for word in piece.split()]
            assert shown == list(zip(text.split(), active.tolist(), strict=True))
        silent = [activations_in(example.firings, window) for window in example.windows.silent]
        assert not np.concatenate(silent).any()


def test_a_further_pass_looks_at_more_candidates(reading: EvalContext, make_sae: MakeSae) -> None:
    settings = dataclasses.replace(SETTINGS, n_latents=2)
    [found] = _find(reading, _mostly_dead(make_sae), settings=settings)
    assert len(found.latents) == 2 and found.n_candidates > 40
    assert found.passed_over[0].reason == "0 firings, needed more than 15"
    [few] = _find(reading, _mostly_dead(make_sae))
    assert 2 <= len(few.latents) < 6 and few.n_candidates == 48


def test_neither_company_nor_batches_matter(reading: EvalContext, make_sae: MakeSae) -> None:
    saes = [make_sae("topk", k=4), _mostly_dead(make_sae), make_sae("mpsae", s=3)]
    together = _find(dataclasses.replace(reading, batch_size=7), *saes)
    for sae, found in zip(saes, together, strict=True):
        [alone] = _find(reading, sae)
        assert _as_text(alone) == _as_text(found)


def test_an_sae_that_fails_leaves_the_others_alone(reading: EvalContext, make_sae: MakeSae) -> None:
    broken = make_sae("mpsae", name="broken", s=3)
    broken.W_dec.fill_(math.nan)
    attempts = [Attempt(broken), Attempt(make_sae("topk", k=4))]
    assert list(find_examples(reading, attempts, SETTINGS, COUNTS).by_sae) == attempts[1:]
    assert isinstance(attempts[0].error, FloatingPointError)


def test_dense_latents_have_examples_beside_any_window(reading: EvalContext, make_sae: MakeSae) -> None:
    dense = make_sae("relu", name="dense", tensors={"b_enc": torch.full((48,), 100.0)})
    [none] = _find(reading, dense)
    assert not none.latents and "without activation in 1000 draws" in none.passed_over[0].reason
    [some] = _find(reading, dense, settings=dataclasses.replace(SETTINGS, negatives="sae_bench"))
    assert len(some.latents) == SETTINGS.n_latents


def test_rows_of_tokens_in_memory_are_read_as_they_are(reading: EvalContext) -> None:
    rows = corpus_rows(reading, SETTINGS)
    hub = Hub(reading.hub.world, {"texts": GivenRows(rows)})
    assert torch.equal(corpus_rows(dataclasses.replace(reading, hub=hub), SETTINGS), rows)


def test_rows_that_hold_no_window_are_refused() -> None:
    with pytest.raises(ValueError, match="context_size is 20, expected at least 21"):
        check_examples(dataclasses.replace(SETTINGS, context_size=20))
