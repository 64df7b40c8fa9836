"""The report names the kinds of device where there are several, and is the same bytes on any one kind."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from support.workspace import make_card, make_core, make_probing

from sae_research.measurements import Result
from sae_research.pipeline.stages.process_results import process_results
from sae_research.pipeline.store import ResultStore

BOTH = {"core": True, "sparse_probing": True}


def _written(workspace: Any, device_of: Callable[[Result], str | None]) -> tuple[str, dict[str, Any]]:
    """METRICS.md and results.json, with the devices that the store notes."""
    store = ResultStore(workspace.paths.store / "cells")
    results = [make(make_card(name)) for name in "ab" for make in (make_core, make_probing)]
    for result in results:
        device = device_of(result)
        store.put(result, made={} if device is None else {"device": device})
    if not workspace.cells:
        for result in results:
            workspace.add(result)
    process_results(workspace.paths, BOTH)
    merged = json.loads((workspace.paths.merged / "results.json").read_text())
    return workspace.paths.report.read_text(encoding="utf-8"), merged


def test_one_kind_is_not_named_whichever_it_is(workspace: Any) -> None:
    on_a_cpu = _written(workspace, lambda _result: "a CPU")
    assert _written(workspace, lambda _result: "an H100") == on_a_cpu
    assert _written(workspace, lambda _result: None) == on_a_cpu
    assert _written(workspace, lambda result: None if result.sae["name"] == "a" else "an H100") == on_a_cpu
    assert "Devices" not in on_a_cpu[0] and "devices" not in on_a_cpu[1]


def test_several_kinds_are_listed_with_the_evals_that_mix_them(workspace: Any) -> None:
    def device(result: Result) -> str | None:
        if result.eval_name == "core":
            return "an H100" if result.sae["name"] == "a" else "a CPU"
        return "an H100" if result.sae["name"] == "a" else None

    text, merged = _written(workspace, device)
    assert merged["devices"] == [
        {"device": "a CPU", "cells": 1, "evals": ["core"]},
        {"device": "an H100", "cells": 2, "evals": ["core", "sparse_probing"]},
        {"device": "not noted, as of results that were pulled", "cells": 1, "evals": ["sparse_probing"]},
    ]
    section = text.split("## Devices\n")[1]
    assert "| an H100 | core, sparse_probing | 2 |" in section
    assert "SAEs are compared across kinds in `core` and `sparse_probing`." in section
    # The cells themselves do not say it.
    assert "H100" not in "".join(path.read_text() for path in workspace.paths.results.glob("*/*_eval_results.json"))
