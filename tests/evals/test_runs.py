"""The evals from data files to documents that SAEBench's own classes accept."""

from __future__ import annotations

import dataclasses
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from support.outcomes import MakeSae

from sae_research.data.labelled import valid_names
from sae_research.errors import UserError
from sae_research.evals.base import Eval, EvalContext, Outcome
from sae_research.evals.core.eval import CORE
from sae_research.evals.core.settings import CoreSettings
from sae_research.evals.registry import find_eval
from sae_research.evals.sparse_probing.eval import SPARSE_PROBING
from sae_research.evals.sparse_probing.settings import SparseProbingSettings
from sae_research.measurements import Result
from sae_research.results.document import to_document

CORE = CoreSettings(context_size=12, batch_size=2, n_reconstruction_batches=2, n_sparsity_batches=3)
PROBING = SparseProbingSettings(
    dataset_names=("embedded/news",), train_size=20, test_size=10, context_size=12, k_values=(1, 2)
)


@pytest.fixture
def filled(context: EvalContext) -> EvalContext:
    """The context with a text corpus and a labelled data set in its world."""
    rng = np.random.default_rng(0)

    def texts(n: int, low: int, high: int) -> list[str]:
        return [" ".join(f"w{w}" for w in rng.integers(low, high, rng.integers(4, 20))) for _ in range(n)]

    folder = context.hub.world / "datasets"
    _write(folder / "text" / "data" / "test-00000-of-00001.parquet", {"text": texts(40, 3, 58)})
    for split, n in (("train", 15), ("test", 8)):
        table = {"text": [*texts(n, 3, 30), *texts(n, 30, 58)], "label": [0] * n + [1] * n}
        _write(folder / "news" / "data" / f"{split}-00000-of-00001.parquet", table)
    (folder / "news" / "dataset_info.json").write_text(json.dumps({"classes": {"label": {"0": "low", "1": "high"}}}))
    return context


def _write(path: Path, columns: dict[str, list[Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def _result(eval_type: type[Eval], outcome: Outcome, settings: Any) -> Result:
    assert outcome.output is not None, outcome.error
    card = outcome.sae.card
    return Result(
        key="0" * 64,
        eval_name=eval_type.name,
        sae={"name": card.name, "architecture": card.architecture, "hook_name": card.site.hook_name},
        settings=json.loads(json.dumps(dataclasses.asdict(settings))),
        key_parts={"seed": 0, "model": {"name": "random", "dtype": "float32"}},
        output=outcome.output,
    )


@pytest.mark.parametrize(("eval_type", "settings"), [(Core, CORE), (SparseProbing, PROBING)])
def test_from_files_to_documents(filled: EvalContext, make_sae: MakeSae, eval_type: type[Eval], settings: Any) -> None:
    saes = [make_sae("relu"), make_sae("ihtp", k=1)]
    outcomes = list(eval_type.run(filled, saes, settings))
    assert [o.sae for o in outcomes] == saes
    for outcome in outcomes:
        document = to_document(_result(eval_type, outcome, settings))
        _accept(eval_type.name, document)
        assert document["eval_result_metrics"]
    revisions = eval_type.data_revisions(settings, filled.hub)
    assert all(revision.startswith("sha256:") for revision in revisions.values())


def _accept(name: str, document: dict[str, Any]) -> None:
    """Fails unless SAEBench's class of the eval takes the document."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pydantic import TypeAdapter
        from sae_bench.evals.core.eval_output import CoreEvalOutput
        from sae_bench.evals.sparse_probing.eval_output import SparseProbingEvalOutput

        known = {"core": CoreEvalOutput, "sparse_probing": SparseProbingEvalOutput}[name]
        TypeAdapter(known).validate_python({k: v for k, v in document.items() if k != "sae_research"})


def test_a_class_too_small_is_named(filled: EvalContext, make_sae: MakeSae) -> None:
    settings = dataclasses.replace(PROBING, train_size=60)
    with pytest.raises(UserError, match="class 'low' has 15 texts, needed 30"):
        list(SPARSE_PROBING.run(filled, [make_sae("relu")], settings))


def test_too_little_text_says_so(filled: EvalContext, make_sae: MakeSae) -> None:
    with pytest.raises(UserError, match="ask for fewer"):
        list(CORE.run(filled, [make_sae("relu")], dataclasses.replace(CORE, n_sparsity_batches=1000)))


def test_registered() -> None:
    assert (find_eval("core"), find_eval("sparse_probing")) == (Core, SparseProbing)


def test_default_data_sets_exist() -> None:
    assert set(SparseProbingSettings().dataset_names) <= set(valid_names())


def test_no_gradients_are_kept(filled: EvalContext, make_sae: MakeSae) -> None:
    """Callers outside the engine may not have switched gradients off."""
    sae = make_sae("relu")
    sae.W_dec.requires_grad_(True)
    with torch.enable_grad():
        assert next(iter(CORE.run(filled, [sae], CORE))).output is not None
        assert next(iter(SPARSE_PROBING.run(filled, [sae], PROBING))).output is not None
