"""Results as SAEBench's own classes and JSON Schemas read them."""

from __future__ import annotations

import dataclasses
import importlib
import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from sae_research.evals.base import Eval
from sae_research.measurements import EvalOutput, Result
from sae_research.results.document import to_document

_CLASSES = {
    "core": ("core", "CoreEvalOutput"),
    "sparse_probing": ("sparse_probing", "SparseProbingEvalOutput"),
    "absorption": ("absorption", "AbsorptionEvalOutput"),
    "scr": ("scr_and_tpp", "ScrEvalOutput"),
    "tpp": ("scr_and_tpp", "TppEvalOutput"),
    "ravel": ("ravel", "RAVELEvalOutput"),
    "unlearning": ("unlearning", "UnlearningEvalOutput"),
}
"""By eval the module and the class in `sae_bench.evals.<module>.eval_output`."""


def read_by_sae_bench(evaluated: Eval, output: EvalOutput, settings: Any) -> Any:
    """SAEBench's record of the result file that `output` makes."""
    pytest.importorskip("sae_bench")
    import jsonschema
    from pydantic import TypeAdapter

    document = document_of(evaluated, output, settings)
    folder, name = _CLASSES[evaluated.name]
    with warnings.catch_warnings():
        # SAEBench 0.6.0 declares its validators in a way that pydantic 2.12 deprecates.
        warnings.simplefilter("ignore")
        module = importlib.import_module(f"sae_bench.evals.{folder}.eval_output")
        read = TypeAdapter(getattr(module, name)).validate_python(document)
    assert evaluated.sae_bench is not None
    schema = Path(str(module.__file__)).with_name(f"eval_output_schema_{evaluated.sae_bench.type_id}.json")
    jsonschema.validate(document, json.loads(schema.read_text(encoding="utf-8")))
    return read


def document_of(evaluated: Eval, output: EvalOutput, settings: Any) -> dict[str, Any]:
    """The result file of an SAE called `sae` with that output, as JSON values."""
    card = {"name": "sae", "architecture": "relu", "hook_name": "blocks.0.hook_resid_post", "digest": "x"}
    parts = {"model": {"name": "random", "revision": "r", "dtype": "float32"}, "seed": 42}
    result = Result("0" * 64, evaluated.name, card, dataclasses.asdict(settings), parts, output)
    return json.loads(json.dumps(to_document(result, evaluated.specs)))
