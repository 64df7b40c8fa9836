"""`python -m sae_research sensitivity`: sae-sensitivity's command line, over the eval of that name."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae_research.errors import UserError
from sae_research.pipeline.names import slug
from sae_research.pipeline.paths import find_paths
from sae_research.stdout import show

if TYPE_CHECKING:
    from sae_research.judges.settings import Judging
    from sae_research.lm.model import LanguageModel
    from sae_research.measurements import Result
    from sae_research.sources.hub import Hub

HELP = "measure the sensitivity of SAEs with sae-sensitivity's options, and write its files"

_DATASET, _TOKENS, _LENGTH, _TOP, _WEIGHTED = "monology/pile-uncopyrighted", 2_000_000, 128, 10, 5
_TOKENS_FOR_JUDGE = 256_000
"""Read where examples are published: the judge alone is tested on them."""
_OF_EXAMPLES = ("n_top_ex_for_generation", "n_iw_ex_for_generation")
"""What published examples decide by themselves."""
_PUBLISHED_FOLDER = "autointerp_with_generations"
_READ_BY_RULES = 6000
"""Texts that the judge `rules` reads where --reading names no others."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, help="pythia-160m-deduped, gemma-2-2b, or any Hub id or folder")
    parser.add_argument(
        "--sae-names", nargs="+", required=True, metavar="SAE",
        help="py_4k_btopk_s0, gem_16k_topk_s3, gscope_16k_l0_44, ..., or paths of checkpoints",
    )  # fmt: skip
    parser.add_argument("--features", type=int, default=50, metavar="N", help="latents of each SAE; default: 50")
    examples = parser.add_argument_group("examples")
    examples.add_argument(
        "--use-saebench-examples", action="store_true", help="those in SAEBench's published results of autointerp"
    )
    examples.add_argument("--dataset-name", default=_DATASET, help=f"where others are looked for; default: {_DATASET}")
    examples.add_argument("--split", default="train", help="its split; default: train")
    examples.add_argument("--total-tokens", type=int, metavar="N", help=f"read of it; default: {_TOKENS}")
    examples.add_argument("--context-size", type=int, default=_LENGTH, metavar="N", help=f"default: {_LENGTH}")
    examples.add_argument("--n-top-ex-for-generation", type=int, metavar="N", help=f"default: {_TOP}")
    examples.add_argument("--n-iw-ex-for-generation", type=int, metavar="N", help=f"default: {_WEIGHTED}")
    judge = parser.add_argument_group("who writes texts")
    judge.add_argument("--llm-model", metavar="NAME", help="a model behind the server --base-url; default: rules")
    judge.add_argument("--judge", metavar="JUDGE", help="in its place: rules, transformers:<model>, replay:...")
    judge.add_argument("--base-url", help="https://api.openai.com/v1, or another server; default: that of params.yaml")
    judge.add_argument("--max-workers", type=int, metavar="N", help="requests under way at once; default: 8")
    judge.add_argument(
        "--reading", metavar="DATASET", help="what the judge rules reads; default: texts after those read"
    )
    judge.add_argument("--reading-split", default="train", help="default: train")
    more = parser.add_argument_group("more")
    more.add_argument("--output-path", type=Path, metavar="DIR", help="default: evals/<names>_<time>")
    more.add_argument("--seed", type=int, default=42, help="default: 42")
    more.add_argument("--batch-size", type=int, default=32, metavar="N", help="rows per batch; default: 32")
    more.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), help="default: bfloat16 for gemma-2-2b")
    more.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N; default: auto")
    more.add_argument("--verbose", action="store_true", help="print each latent's numbers")


def run(parsed: argparse.Namespace) -> None:
    from sae_research.commands.export import write_sensitivity_files
    from sae_research.library import evaluate
    from sae_research.lm.load import load_language_model
    from sae_research.results.document import read_result, write_result
    from sae_research.sources.hub import Hub

    paths = find_paths()
    saes, settings = _named(parsed), _settings(parsed)
    judge, judging = _judge(parsed), _judging(parsed, paths.params)
    output: Path = parsed.output_path or Path("evals") / _folder_name(list(saes))
    hub = Hub(paths.world)
    lm = load_language_model(hub, parsed.model, dtype=parsed.dtype or _dtype(parsed.model), device=parsed.device)
    if judge == "rules":
        settings["reading"] = _reading(parsed, hub, lm)
    measured = evaluate(
        lm, saes, {"sensitivity": settings}, judge=judge, judging=judging, answers=paths.store / "answers",
        world=paths.world, seed=parsed.seed, batch_size=parsed.batch_size,
    )  # fmt: skip
    for result in measured.results:
        document = output / f"{result.sae['name']}_eval_results.json"
        write_result(document, result, scratch=output)
        write_sensitivity_files(read_result(document), output)
        show("".join(f"{line}\n" for line in _lines(result, verbose=parsed.verbose)))
    if measured.failures:
        raise UserError("; ".join(f"{failure.sae['name']}: {failure.error}" for failure in measured.failures))
    show(f"{output}\n")


def _named(parsed: argparse.Namespace) -> dict[str, str]:
    """The SAEs by what they are called; UserError for a name that means none, or one of another model's."""
    from sae_research.formats.aliases import published_sae

    saes: dict[str, str] = {}
    for name in parsed.sae_names:
        if Path(name).exists():
            called = slug("_".join(Path(name).parts[-2:]))
        else:
            try:
                published = published_sae(name)
            except ValueError as error:
                raise UserError(f"--sae-names: {error}; nor is there a file or folder {name!r}") from None
            called = name
            if (
                not Path(parsed.model).exists()
                and published.model.rsplit("/", 1)[-1] != parsed.model.rsplit("/", 1)[-1]
            ):
                raise UserError(f"--sae-names: {name} is of {published.model}, and --model is {parsed.model}")
        if called in saes:
            raise UserError(f"--sae-names: two SAEs would be called {called}; leave one out")
        saes[called] = name
    return saes


def _settings(parsed: argparse.Namespace) -> dict[str, Any]:
    """The eval's settings, but for the judge."""
    from sae_research.formats.aliases import published_sae

    needless = [name for name in _OF_EXAMPLES if getattr(parsed, name) is not None]
    if parsed.use_saebench_examples and needless:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in needless)
        raise UserError(f"{options}: SAEBench has chosen the published examples; leave it out")
    files: dict[str, str] = {}
    for name in parsed.sae_names if parsed.use_saebench_examples else ():
        results = None if Path(name).exists() else published_sae(name).results
        if results is None:
            raise UserError(f"--use-saebench-examples: SAEBench has published none of {name}; leave out one of both")
        files[name] = f"{_PUBLISHED_FOLDER}/{results}"
    return {
        "dataset": parsed.dataset_name,
        "split": parsed.split,
        "n_rows": _n_rows(parsed),
        "context_size": parsed.context_size,
        "n_latents": parsed.features,
        "n_top": parsed.n_top_ex_for_generation or _TOP,
        "n_weighted": parsed.n_iw_ex_for_generation or _WEIGHTED,
        "examples": "published" if parsed.use_saebench_examples else "fresh",
        "published_files": files,
    }


def _n_rows(parsed: argparse.Namespace) -> int:
    default = _TOKENS_FOR_JUDGE if parsed.use_saebench_examples else _TOKENS
    return math.ceil((parsed.total_tokens or default) / parsed.context_size)


def _judge(parsed: argparse.Namespace) -> str:
    if parsed.llm_model and parsed.judge:
        raise UserError("--llm-model NAME is --judge openai:NAME; give one of both")
    return f"openai:{parsed.llm_model}" if parsed.llm_model else parsed.judge or "rules"


def _judging(parsed: argparse.Namespace, params: Path) -> Judging:
    """The connection of params.yaml, if there is one here, with what the options say."""
    from dataclasses import replace

    from sae_research.judges.settings import Judging
    from sae_research.pipeline.params import load_params

    judging = load_params(params).judging if params.exists() else Judging()
    given = {"base_url": parsed.base_url, "concurrency": parsed.max_workers}
    try:
        return replace(judging, **{name: value for name, value in given.items() if value is not None})
    except ValueError as error:
        raise UserError(f"--base-url or --max-workers: {error}") from None


def _reading(parsed: argparse.Namespace, hub: Hub, lm: LanguageModel) -> Mapping[str, Any]:
    """What the judge `rules` reads: by default the texts that follow those in which examples are looked for."""
    if parsed.reading is not None:
        return {"dataset": parsed.reading, "split": parsed.reading_split}
    first = _n_texts_read(parsed, hub, lm)
    return {"dataset": parsed.dataset_name, "split": parsed.split, "first_text": first, "n_texts": _READ_BY_RULES}


def _n_texts_read(parsed: argparse.Namespace, hub: Hub, lm: LanguageModel) -> int:
    """How many texts fill the rows of tokens."""
    from sae_research.data.text import load_texts, stream_rows

    n = 0

    def counted() -> Iterator[str]:
        nonlocal n
        for text in load_texts(hub, parsed.dataset_name, parsed.split):
            n += 1
            yield text

    for _ in islice(stream_rows(counted(), lm.tokenizer, context_size=parsed.context_size), _n_rows(parsed)):
        pass
    return n


def _dtype(model: str) -> str:
    return "bfloat16" if _last_part(model) == "gemma-2-2b" else "float32"


def _last_part(name: str) -> str:
    return name.rstrip("/").rsplit("/", 1)[-1]


def _folder_name(names: Sequence[str]) -> str:
    """`py_4k_btopk_s0_py_4k_gated_s0_and_1_more_20261126_080000`."""
    more = [f"and_{len(names) - 2}_more"] if len(names) > 2 else []
    return "_".join([*names[:2], *more, datetime.now().strftime("%Y%m%d_%H%M%S")])


def _lines(result: Result, *, verbose: bool) -> Iterator[str]:
    """The SAE's headline numbers, and those of each latent."""
    named = {m.metric: m for m in result.output.measurements if m.at.get("percent") == 0}
    for metric in ("sensitivity", "sensitivity_original", "sensitivity_other", "sensitivity_contrast"):
        if metric in named:
            m = named[metric]
            interval = "" if m.ci_low is None else f" [{m.ci_low:.3f}, {m.ci_high:.3f}]"
            value = f"none: {m.reason}" if m.value is None else f"{m.value:.3f}{interval}"
            yield f"{result.sae['name']}: {metric} {value}"
    for row in result.output.details if verbose else ():
        numbers = f"{row['sensitivity_0']:.2f}" if row["sensitivity_0"] is not None else f"none: {row['reason']}"
        yield f"  latent {row['latent']}: sensitivity {numbers}"
