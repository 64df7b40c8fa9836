"""The largest differences between the real sae_bench and sae_research, by model: `python -m benchmarks.parity`.

Core: every scalar and every column of latents, of seven SAEs, relative to SAEBench's number; in bfloat16, where the two
models' activations differ in their third digit, only the scalars of the five SAEs that encode by a product. Logits:
`lm/` against TransformerLens' `from_pretrained_no_processing`, relative to the largest logit. The models have random
weights, except `embedded`: the model, texts and SAEs of the pipeline in this folder. IHTP is left out there, because
SAEBench lets special tokens into its supports.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path

from benchmarks.vs_sae_bench import CORE, parse_arguments
from sae_research.pipeline.runtime import prepare_process

_FAMILIES = ("tiny-neox", "tiny-gpt2", "tiny-llama", "tiny-gemma2")
_STANDARD = ("relu", "topk", "batchtopk", "jumprelu", "gated")
_PURSUIT = ("ihtp", "mpsae")
_EMBEDDED = "embedded"
_LOGITS = "logits against TransformerLens"


def main() -> None:
    """Prints one table with a row per metric and a column per model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=list(_FAMILIES), help=f"{', '.join(_FAMILIES)}, {_EMBEDDED}")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    arguments = parser.parse_args()
    prepare_process()
    import torch

    from benchmarks.measuring import table

    torch.set_grad_enabled(False)
    cases = [(model, dtype) for dtype in arguments.dtypes for model in arguments.models]
    columns = {case: dict(_differences(*case)) for case in cases}
    metrics = list(dict.fromkeys(name for column in columns.values() for name in column))
    rows = [[name, *(_shown(column, name) for column in columns.values())] for name in metrics]
    print(table(["largest relative difference", *(f"{model}, {dtype}" for model, dtype in columns)], rows))


def _differences(model: str, dtype: str) -> Iterator[tuple[str, float]]:
    """The largest difference over the SAEs, by metric."""
    from benchmarks.comparison import Comparison

    exact = dtype == "float32"
    kinds = _STANDARD + (_PURSUIT if exact else ())
    many = [] if model == _EMBEDDED else ["--architectures", *kinds, "--plain-rows"]
    options = parse_arguments(
        ["--model", model, "--dtype", dtype, "--parts", CORE, "--saes", "21" if model == _EMBEDDED else str(len(kinds)),
         "--batches", "1", "3", "--batch-size", "4", "--repeats", "1", "--threads", "1", "--growth", *many]
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        comparison = Comparison(options, Path(scratch))
        yield _LOGITS, comparison.logit_difference()
        worst: dict[str, float] = {}
        for pair in chain.from_iterable(comparison.core_pairs()):
            name, of_latents, _ = pair.metric.partition("[")
            if exact or not of_latents:
                worst[name] = max(worst.get(name, 0.0), pair.difference)
        yield from worst.items()


def _shown(column: Mapping[str, float], name: str) -> str:
    return f"{column[name]:.0e}" if name in column else ""


if __name__ == "__main__":
    main()
