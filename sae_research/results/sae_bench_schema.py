"""SAEBench's result schema as data: what each of its evals reports, where, and how it marks a missing number.

It is derived from what our evals declare (`Eval.sae_bench` and the keys of their metrics). A test compares it with the
classes of SAEBench 0.6.0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

from sae_research.evals.base import SaeBenchSchema
from sae_research.evals.registry import all_evals
from sae_research.measurements import MetricSpec

MINUS_ONE = -1.0
"""What SAEBench's core writes where it had NaN."""


@dataclass(frozen=True)
class SaeBenchEval:
    """One eval of SAEBench."""

    name: str
    """Its name here."""
    schema: SaeBenchSchema
    specs: tuple[MetricSpec, ...]
    """Its metrics; the key may hold a placeholder, as in `sae_top_{k}_test_accuracy`."""

    @property
    def required(self) -> frozenset[str]:
        """Keys that its class wants as numbers; all others may be null."""
        if self.schema.optional is None:
            return frozenset()
        return frozenset(str(spec.key) for spec in self.specs) - self.schema.optional


@cache
def sae_bench_evals() -> Mapping[str, SaeBenchEval]:
    """SAEBench's evals by our name."""
    evals = {}
    for evaluated in all_evals():
        if evaluated.sae_bench is None:
            continue
        by_name = {spec.name: spec for spec in evaluated.specs}
        specs = (
            replace(by_name[f"{spec.name}_sae_bench"], key=spec.key)
            if spec.key in evaluated.sae_bench.other_formula
            else spec
            for spec in evaluated.specs
            if spec.key is not None
        )
        evals[evaluated.name] = SaeBenchEval(evaluated.name, evaluated.sae_bench, tuple(specs))
    return evals


@cache
def by_type_id() -> Mapping[str, SaeBenchEval]:
    """SAEBench's evals by its own `eval_type_id`."""
    return {known.schema.type_id: known for known in sae_bench_evals().values()}


def placeholders(key: str) -> list[str]:
    """The names in braces: `["k"]` for `sae_top_{k}_test_accuracy`."""
    return re.findall(r"{(\w+)}", key)


def match_key(spec: MetricSpec, key: str) -> dict[str, int] | None:
    """The placeholders' values where `key` is one of `spec`'s keys, None otherwise."""
    pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[0-9]{1,9})", re.escape(spec.key or ""))
    match = re.fullmatch(pattern, key)
    return {name: int(value) for name, value in match.groupdict().items()} if match else None


_SHARES = frozenset(
    {
        "llm_test_accuracy", "llm_top_k_test_accuracy", "sae_test_accuracy", "sae_top_k_test_accuracy",
        "autointerp_score", "unlearning_score", "frac_alive",
        "disentanglement_score", "cause_score", "isolation_score",
        "mean_absorption_fraction_score", "mean_full_absorption_score",
    }
)  # fmt: skip
_DIFFERENCES = frozenset({"cossim", "tpp_total_metric", "tpp_intended_diff_only", "tpp_unintended_diff_only"})


def value_range(metric: str) -> tuple[float, float]:
    """The least and the largest value that the metric can have by its definition."""
    if metric in _SHARES:
        return 0.0, 1.0
    return (-1.0, 1.0) if metric in _DIFFERENCES else (-math.inf, math.inf)
