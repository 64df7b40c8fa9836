"""Sensitivity of several SAEs beside sae-sensitivity's algorithm, on the same latents and texts.

    python -m benchmarks.judged [--world world] [--rows 200] [--latents 25] [--saes 1 2 4 8]

Needs a folder with the embedded world (`make repro`, or `dvc repro setup`). The judge is a stand-in that quotes other
text of the world and costs nothing. Ours is the whole eval: the gate, controls and intervals that the other side does
not have count as our time. That side's time for n SAEs is the sum of its times for each. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks.measuring import now, table
from benchmarks.plain_sensitivity import PlainSensitivity
from sae_research.data.text import load_texts, token_rows
from sae_research.digests import digest_of
from sae_research.evals.judged.counts import Counts
from sae_research.evals.windows.corpus import Corpus
from sae_research.formats.load import load_sae
from sae_research.judges.prompts import SEPARATOR
from sae_research.library import evaluate
from sae_research.lm.load import load_language_model
from sae_research.lm.model import LanguageModel
from sae_research.measurements import Result
from sae_research.saes.base import Sae
from sae_research.sources.hub import Hub

SAES = (
    "sae-topk/k8", "sae-topk/k16", "sae-jumprelu/l0_8", "sae-batchtopk/k8", "sae-topk/k32", "sae-gated/l0_16",
    "sae-jumprelu/l0_32", "sae-batchtopk/k32",
)  # fmt: skip
_MIN_FIRINGS, _SEED = 15, 42


class Cost(NamedTuple):
    """Seconds on the clock, and of all processor cores together."""

    wall: float
    processor: float


@dataclass(frozen=True)
class Subjects:
    """What both sides read."""

    lm: LanguageModel
    saes: Sequence[Sae]
    rows: Tensor
    corpus: Corpus
    judge: Callable[[list[dict[str, str]]], str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", type=Path, default=Path("world"))
    parser.add_argument("--rows", type=int, default=200, help="rows of 128 tokens; default: 200")
    parser.add_argument("--latents", type=int, default=25, help="of each SAE; default: 25")
    parser.add_argument("--saes", type=int, nargs="+", default=[1, 2, 4, 8], help="default: 1 2 4 8")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_grad_enabled(False)
    subjects = load_subjects(arguments.world, arguments.rows, max(arguments.saes))
    ours: dict[int, Cost] = {}
    results: Sequence[Result] = ()
    run_ours(subjects, 1, 2)  # Kernels are compiled, pages read.
    for n in sorted(arguments.saes):
        results, ours[n] = run_ours(subjects, n, arguments.latents)
    plain = [run_plain(subjects, sae, result) for sae, result in zip(subjects.saes, results, strict=True)]
    print(_table(ours, [cost for cost, _ in plain]))
    print()
    print(table(["SAE", "latents", "equal examples", "equal sensitivity"], [row for _, row in plain]))


def load_subjects(world: Path, n_rows: int, n_saes: int) -> Subjects:
    """The world's model, SAEs and text."""
    hub = Hub(world)
    lm = load_language_model(hub, "embedded/lm", dtype="float32", device="cpu")
    saes = [load_sae(world / "models" / name, name=name.replace("/", "_")).eval() for name in SAES[:n_saes]]
    rows = token_rows(load_texts(hub, "embedded/text", "test"), lm.tokenizer, context_size=128, n_rows=n_rows)
    real = ~torch.isin(rows, torch.tensor(sorted(lm.special_ids)))
    corpus = Corpus(rows.numpy(), real.numpy(), lm.tokenizer)
    documents = list(islice(load_texts(hub, "embedded/text", "train"), 1000))
    return Subjects(lm, saes, rows, corpus, quoting(documents))


def quoting(documents: Sequence[str]) -> Callable[[list[dict[str, str]]], str]:
    """A judge that answers with eleven pieces of these documents, the same to the same question."""
    words = [document.split() for document in documents]

    def judge(messages: list[dict[str, str]]) -> str:
        rng = np.random.default_rng(int(digest_of(messages)[:12], 16))
        chosen = [words[i] for i in rng.integers(len(words), size=11)]
        starts = [int(rng.integers(max(1, len(text) - 20))) for text in chosen]
        pieces = (" ".join(text[start : start + 20]) for text, start in zip(chosen, starts, strict=True))
        return f"\n{SEPARATOR}\n".join(pieces)

    return judge


def run_ours(subjects: Subjects, n_saes: int, n_latents: int) -> tuple[Sequence[Result], Cost]:
    """The eval's results for the first SAEs."""
    # The stand-in finds no word that it is shown.
    settings = {
        "n_rows": len(subjects.rows),
        "n_latents": n_latents,
        "min_firings": _MIN_FIRINGS,
        "min_judge_gold": 0.0,
    }
    evaluation, cost = timed(
        lambda: evaluate(
            subjects.lm, list(subjects.saes[:n_saes]), {"sensitivity": settings}, texts=subjects.rows,
            judge=subjects.judge, seed=_SEED, progress=False,
        )
    )  # fmt: skip
    if evaluation.failures:
        raise RuntimeError(f"{evaluation.failures[0].sae['name']} failed") from evaluation.failures[0].error
    return evaluation.results, cost


def run_plain(subjects: Subjects, sae: Sae, result: Result) -> tuple[Cost, tuple[Any, ...]]:
    """The cost of the other side for one SAE, and how many of its examples and shares are ours."""
    content: Mapping[str, Any] = result.output.unstructured
    latents = [int(latent) for latent in content]
    written = [[text["text"] for text in of_latent["texts"]] for of_latent in content.values()]
    shown = [[text["text"] for text in of_latent["examples"]] for of_latent in content.values()]
    plain = PlainSensitivity(subjects.lm, sae)

    def work() -> tuple[list[list[str]], list[float], list[float]]:
        alive = set(plain.alive(subjects.rows, _MIN_FIRINGS).tolist())
        if not alive.issuperset(latents):
            raise RuntimeError(f"{sae.card.name}: of our latents some are dead there")
        windows = plain.windows(subjects.rows, latents, subjects.corpus, seed=_SEED, counts=Counts())
        examples = [[subjects.corpus.text(*window) for window in of_latent.explain] for of_latent in windows]
        return examples, plain.shares(written, latents), plain.shares(examples, latents)

    (examples, generated, original), cost = timed(work)
    ours = {row["latent"]: (row["sensitivity_0"], row["original_0"]) for row in result.output.details}
    n_same = sum(theirs == of_latent for theirs, of_latent in zip(examples, shown, strict=True))
    shares = zip(latents, generated, original, strict=True)
    n_equal = sum(np.allclose(ours[latent], theirs, atol=1e-9) for latent, *theirs in shares)
    return cost, (sae.card.name, len(latents), n_same, n_equal)


def timed(work: Callable[[], Any]) -> tuple[Any, Cost]:
    """What `work` returns, and its cost."""
    wall, processor = now(), time.process_time()
    value = work()
    return value, Cost(now() - wall, time.process_time() - processor)


def _table(ours: Mapping[int, Cost], plain: Sequence[Cost]) -> str:
    rows = []
    for n, cost in ours.items():
        theirs = Cost(sum(one.wall for one in plain[:n]), sum(one.processor for one in plain[:n]))
        ratios = [f"**{a / b:.1f}**" for a, b in zip(theirs, cost, strict=True)]
        rows.append((n, theirs.wall, cost.wall, ratios[0], theirs.processor, cost.processor, ratios[1]))
    header = ["SAEs", "plain, s", "ours, s", "ratio", "plain, CPU s", "ours, CPU s", "ratio of CPU"]
    return table(header, rows)


if __name__ == "__main__":
    main()
