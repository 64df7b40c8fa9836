"""`run_eval`, from data files to documents that SAEBench's own classes accept."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from support.outcomes import MakeSae
from support.sae_bench_documents import read_by_sae_bench
from support.tiny_data import write_news, write_text

from sae_research.digests import digest_of
from sae_research.errors import UserError
from sae_research.evals.base import Eval, EvalContext, Outcome
from sae_research.evals.core.eval import CORE
from sae_research.evals.core.settings import CoreSettings
from sae_research.evals.run import run_eval
from sae_research.evals.sparse_probing.eval import SPARSE_PROBING
from sae_research.evals.sparse_probing.settings import SparseProbingSettings
from sae_research.lm.site import Site
from sae_research.measurements import EvalOutput
from sae_research.saes.base import Sae
from sae_research.saes.kernels import pursuit, screening

CORE_SETTINGS = CoreSettings(
    "embedded/text", context_size=12, batch_size=2, n_reconstruction_batches=2, n_sparsity_batches=3
)
PROBING_SETTINGS = SparseProbingSettings(
    dataset_names=("embedded/news",), train_size=20, test_size=10, context_size=12, k_values=(1, 2)
)


@pytest.fixture
def filled(context: EvalContext) -> EvalContext:
    """The context with a text corpus and a labelled data set in its world."""
    write_text(context.hub.world)
    write_news(context.hub.world)
    return context


@pytest.mark.parametrize(("evaluated", "settings"), [(CORE, CORE_SETTINGS), (SPARSE_PROBING, PROBING_SETTINGS)])
def test_from_files_to_documents(filled: EvalContext, make_sae: MakeSae, evaluated: Eval, settings: Any) -> None:
    saes = [make_sae("relu"), make_sae("ihtp", k=1)]
    measured = list(run_eval(filled, evaluated, settings, saes, parts=lambda sae: {"sae": sae.card.digest}))
    assert [m.sae for m in measured] == saes
    for sae, result, error in measured:
        assert result is not None, error
        assert result.key == digest_of({"sae": sae.card.digest})
        assert (result.eval_name, result.sae["name"]) == (evaluated.name, sae.card.name)
        assert result.settings["context_size"] == 12
        assert "torch" in result.versions
        compiled = {name: result.versions[f"kernel {name}"] == "compiled" for name in ("pursuit", "screening")}
        assert compiled == {"pursuit": pursuit.library() is not None, "screening": screening.library() is not None}
        assert read_by_sae_bench(evaluated, result.output, settings).eval_result_metrics
    revisions = [data_set.revision(filled.hub) for data_set in evaluated.data(settings)]
    assert revisions and all(revision.startswith("sha256:") for revision in revisions)


def test_saes_are_measured_site_by_site_and_failures_stand_beside_results(
    context: EvalContext, make_sae: MakeSae
) -> None:
    saes = [make_sae("relu", name=name) for name in ("a", "b", "c")]
    saes[1].card = dataclasses.replace(saes[1].card, site=Site(layer=1, kind="resid_post"))
    groups: list[list[str]] = []

    def run(_context: EvalContext, group: Sequence[Sae], _settings: Any) -> Iterator[Outcome]:
        groups.append([sae.card.name for sae in group])
        for sae in group:
            failed = sae.card.name == "c"
            yield Outcome(sae, None if failed else EvalOutput(()), ValueError("no") if failed else None)

    measured = list(run_eval(context, CORE, CORE_SETTINGS, saes, parts=lambda _: {}, run=run))
    assert groups == [["a", "c"], ["b"]]
    assert [(m.sae.card.name, m.result is None, type(m.error)) for m in measured] == [
        ("a", False, type(None)), ("c", True, ValueError), ("b", False, type(None)),
    ]  # fmt: skip


def test_a_site_that_cannot_be_resumed_fails_its_saes_alone(filled: EvalContext, make_sae: MakeSae) -> None:
    saes = [make_sae("relu", name=name) for name in ("a", "b")]
    saes[1].card = dataclasses.replace(saes[1].card, site=Site(layer=7, kind="resid_post"))
    good, bad = run_eval(filled, CORE, CORE_SETTINGS, saes, parts=lambda _: {})
    assert good.result is not None and good.sae is saes[0]
    assert bad.result is None and "valid layers: 0 to 1" in str(bad.error)


def test_no_saes_need_no_data(context: EvalContext) -> None:
    """Nothing is there to be read: a run without SAEs does not look."""
    assert list(run_eval(context, CORE, CORE_SETTINGS, [], parts=lambda _: {})) == []


def test_a_class_too_small_is_named(filled: EvalContext, make_sae: MakeSae) -> None:
    settings = dataclasses.replace(PROBING_SETTINGS, train_size=60)
    with pytest.raises(UserError, match="class 'low' has 15 texts, needed 30"):
        list(SPARSE_PROBING.run(filled, [make_sae("relu")], settings))


def test_no_gradients_are_kept(filled: EvalContext, make_sae: MakeSae) -> None:
    """Callers outside the pipeline may not have switched gradients off."""
    sae = make_sae("relu")
    sae.W_dec.requires_grad_(True)
    with torch.enable_grad():
        assert next(iter(CORE.run(filled, [sae], CORE_SETTINGS))).output is not None
        assert next(iter(SPARSE_PROBING.run(filled, [sae], PROBING_SETTINGS))).output is not None
