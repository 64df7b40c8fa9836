"""Results of SCR and TPP as SAEBench's own classes and JSON Schemas read them."""

from __future__ import annotations

import dataclasses
import importlib
import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from sae_research.measurements import EvalOutput, Result
from sae_research.results.document import to_document


def read_by_sae_bench(name: str, output: EvalOutput, settings: Any) -> Any:
    """SAEBench's record of the result file that `output` makes."""
    pytest.importorskip("sae_bench")
    import jsonschema
    from pydantic import TypeAdapter

    document = _document(name, output, settings)
    with warnings.catch_warnings():
        # SAEBench 0.6.0 declares its validators in a way that pydantic 2.12 deprecates.
        warnings.simplefilter("ignore", DeprecationWarning)
        module = importlib.import_module("sae_bench.evals.scr_and_tpp.eval_output")
    schema = Path(str(module.__file__)).with_name(f"eval_output_schema_{name}.json")
    jsonschema.validate(document, json.loads(schema.read_text(encoding="utf-8")))
    return TypeAdapter(getattr(module, f"{name.capitalize()}EvalOutput")).validate_python(document)


def _document(name: str, output: EvalOutput, settings: Any) -> dict[str, Any]:
    card = {"name": "relu", "architecture": "relu", "hook_name": "blocks.0.hook_resid_post"}
    parts = {"model": {"name": "embedded/lm", "revision": "r", "dtype": "float32"}, "seed": 42}
    result = Result(name, name, card, dataclasses.asdict(settings), parts, output)
    return json.loads(json.dumps(to_document(result)))
