"""Rows with and without BOS: what each SAE was trained on, or what the setting says."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.outcomes import MakeSae, output_of
from support.tiny_data import write_text

from sae_research.data.text import load_texts, token_rows
from sae_research.evals.base import EvalContext
from sae_research.evals.core.eval import CORE
from sae_research.evals.core.measure import CorePlan, measure_core
from sae_research.evals.core.rows import CoreRows, documents_of
from sae_research.evals.core.settings import CoreSettings
from sae_research.measurements import EvalOutput
from sae_research.saes.base import Sae

SETTINGS = CoreSettings(
    "embedded/text", context_size=12, batch_size=2, n_reconstruction_batches=2, n_sparsity_batches=3
)


@pytest.fixture
def saes(make_sae: MakeSae) -> list[Sae]:
    """Two equal ones, the second of which was trained on rows without BOS."""
    with_bos, without = make_sae("relu", name="with"), make_sae("relu", name="without")
    without.card = replace(without.card, prepend_bos=False)
    return [with_bos, without]


def _measured(context: EvalContext, saes: list[Sae], settings: CoreSettings) -> dict[str, EvalOutput]:
    return {outcome.sae.card.name: output_of(outcome) for outcome in CORE.run(context, saes, settings)}


def _on_rows(context: EvalContext, sae: Sae, *, prepend_bos: bool) -> EvalOutput:
    texts = load_texts(context.hub, "embedded/text", "test")
    rows = token_rows(texts, context.lm.tokenizer, context_size=12, n_rows=10, prepend_bos=prepend_bos)
    assert bool((rows[:, 0] == 2).all()) is prepend_bos
    with torch.no_grad():
        of_core = CoreRows(rows, documents_of(rows, context.lm.special_ids))
        (outcome,) = measure_core(
            context, [sae], of_core, CorePlan(batch_size=2, n_reconstruction=4, keep_special=True)
        )
    return output_of(outcome)


def test_each_sae_is_measured_on_the_rows_that_it_was_trained_on(context: EvalContext, saes: list[Sae]) -> None:
    write_text(context.hub.world)
    measured = _measured(context, saes, SETTINGS)
    assert measured["with"] == _on_rows(context, saes[0], prepend_bos=True)
    assert measured["without"] == _on_rows(context, saes[1], prepend_bos=False)
    assert measured["with"].measurements != measured["without"].measurements


@pytest.mark.parametrize("prepend_bos", [True, False])
def test_the_setting_overrides_what_the_sae_says(context: EvalContext, saes: list[Sae], prepend_bos: bool) -> None:
    write_text(context.hub.world)
    measured = _measured(context, saes, replace(SETTINGS, prepend_bos=prepend_bos))
    assert measured["with"] == measured["without"] == _on_rows(context, saes[0], prepend_bos=prepend_bos)
