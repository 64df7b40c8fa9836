"""The real sae_bench beside sae_research: `python -m benchmarks.vs_sae_bench --help`.

Both read the same model, tokens, texts and SAEs in one process. One table shows the numbers of both and their
difference, another the wall time of each part (medians over repeats; the sides take turns).
"""

from __future__ import annotations

import argparse
import gc
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sae_research.pipeline.runtime import prepare_process

CORE, PROBING, RAVEL, UNLEARNING, ABLATIONS = "core", "sparse_probing", "ravel", "unlearning", "scr_and_tpp"
ABSORPTION = "absorption"
PARTS = (CORE, PROBING, ABSORPTION, RAVEL, UNLEARNING, ABLATIONS)


def main() -> None:
    """Runs the parts that the command line names and prints their tables."""
    arguments = parse_arguments()
    prepare_process()
    import torch

    torch.set_num_threads(arguments.threads)
    torch.set_grad_enabled(False)
    from benchmarks.comparison import Comparison
    from sae_research.errors import UserError

    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        try:
            comparison = Comparison(arguments, Path(scratch))
            # Both sides collect garbage again and again; what was imported would be looked through each time, 0.3 s.
            gc.freeze()
            for part in arguments.parts:
                print(f"\n## {part}\n")
                print("\n\n".join(comparison.run(part)), flush=True)
        except UserError as error:
            raise SystemExit(str(error)) from None


def parse_arguments(line: Sequence[str] | None = None) -> argparse.Namespace:
    """The options in `line`, by default those of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument(
        "--model", default="pythia-70m-shaped",
        help="pipeline (model, SAEs and texts of the pipeline in this folder; core and sparse probing), embedded (the "
        "same of the embedded world, all parts), pythia-70m-shaped, gemma-shaped, gemma-2-2b-shaped, tiny-neox, "
        "tiny-gpt2, tiny-llama, tiny-gemma2 (random weights), or a model folder",
    )  # fmt: skip
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=[CORE, PROBING])
    parser.add_argument("--saes", type=int, default=8, help="how many SAEs")
    parser.add_argument("--first", nargs="+", default=[], help="names of the pipeline's SAEs to take before the others")
    parser.add_argument(
        "--architectures", nargs="+", default=["relu", "topk", "batchtopk", "jumprelu", "gated"],
        help="of random SAEs, by turns; also ihtp, mpsae",
    )  # fmt: skip
    parser.add_argument("--batches", nargs=2, type=int, default=[2, 20], metavar=("RECONSTRUCTION", "SPARSITY"))
    parser.add_argument(
        "--plain-rows", action="store_true",
        help="no special tokens in random rows: SAEBench lets them into the supports of IHTP, sae_research does not",
    )  # fmt: skip
    parser.add_argument("--batch-size", type=int, default=16, help="sequences of a batch, and of ours at a time")
    parser.add_argument("--texts", nargs=2, type=int, default=[200, 50], metavar=("TRAIN", "TEST"), help="of a class")
    parser.add_argument(
        "--words", nargs=2, type=int, default=None, metavar=("FROM", "TO"),
        help="of a random text; otherwise by data sets in turn as biographies, reviews and news have them",
    )  # fmt: skip
    parser.add_argument("--sets", type=int, default=3, help="data sets, of 5 classes each")
    parser.add_argument("--k", nargs="+", type=int, default=[1, 2, 5, 10, 20, 50])
    parser.add_argument(
        "--ravel-pairs", type=int, default=160, help="pairs of an attribute, for cause and isolation each"
    )
    parser.add_argument("--ravel-seeds", type=int, default=5, help="runs of both sides, for the spread of scores")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--growth", nargs="*", type=int, default=[1, 2, 4, 8, 16], help="numbers of SAEs; may be empty")
    parser.add_argument("--absorption-seeds", type=int, default=0, help="compare absorption over so many seeds too")
    parser.add_argument("--absorption-k", type=int, default=10, help="most latents of its k-sparse probes")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--scratch", type=Path, default=None, help="where temporary files go")
    return parser.parse_args(line)


if __name__ == "__main__":
    main()
