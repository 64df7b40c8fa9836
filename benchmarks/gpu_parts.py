"""What `benchmarks.gpu` runs: a random model with SAEs on a device, and each eval on random data of a stated size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.letters_model import letter_names, letters_tokenizer, teach_letters
from benchmarks.measuring import output_of
from benchmarks.random_data import (
    ATTRIBUTES,
    random_pools,
    random_prompts,
    random_rows,
    random_sets,
    random_unlearning_inputs,
)
from benchmarks.subjects import Shape, random_model, random_saes
from sae_research.data.paired import cut_pair
from sae_research.evals.absorption.measure import measure_absorption
from sae_research.evals.absorption.settings import AbsorptionSettings
from sae_research.evals.base import EvalContext, Outcome
from sae_research.evals.core.measure import CorePlan, measure_core
from sae_research.evals.core.rows import CoreRows, documents_of
from sae_research.evals.ravel.measure import measure_ravel
from sae_research.evals.ravel.settings import RavelSettings
from sae_research.evals.scr.measure import measure_scr
from sae_research.evals.scr.settings import ScrSettings
from sae_research.evals.sparse_probing.measure import measure_probing
from sae_research.evals.sparse_probing.settings import SparseProbingSettings
from sae_research.evals.tpp.measure import measure_tpp
from sae_research.evals.tpp.settings import TppSettings
from sae_research.evals.unlearning.measure import measure_unlearning
from sae_research.evals.unlearning.settings import UnlearningSettings
from sae_research.judges.prompts import DETECT, EXPLAIN, SEPARATOR
from sae_research.library import evaluate
from sae_research.lm.load import wrap_language_model
from sae_research.lm.site import Site
from sae_research.progress import Progress
from sae_research.saes.base import Sae
from sae_research.sources.hub import Hub

_SEED = 42
_BATCH = 16
"""Sequences of a batch of core."""


@dataclass(frozen=True)
class Amounts:
    """How much the evals read. Published settings have 200 and 2,000 batches, 4,000 and 1,000 texts of each set, ..."""

    context: int = 128
    batches: tuple[int, int] = (20, 200)
    """Of 16 rows: for reconstruction and for sparsity."""
    texts: tuple[int, int] = (800, 200)
    """Of each of 5 classes, for training and for testing; of SCR's four quadrants each a quarter."""
    words: int = 3000
    entities: int = 96
    pairs: int = 96
    questions: int = 160
    """Of each kind."""
    rows: int = 200
    """Of the evals of single latents, dashboards among them."""
    latents: int = 50


SMALL = Amounts(
    context=32, batches=(1, 2), texts=(20, 12), words=400, entities=12, pairs=8, questions=32, rows=120, latents=3
)


@dataclass(frozen=True)
class Subject:
    """A model with SAEs at one site."""

    context: EvalContext
    saes: Sequence[Sae]
    site: Site
    amounts: Amounts

    @classmethod
    def of(
        cls, shape: Shape, architectures: Sequence[str], amounts: Amounts, *, device: str, dtype: torch.dtype,
        batch_size: int,
    ) -> Subject:  # fmt: skip
        """A random model that knows the first letters of words, and SAEs of its activations."""
        model, names = (
            random_model(shape, seed=_SEED, device=device, dtype=dtype),
            letter_names(shape.vocab, seed=_SEED),
        )
        teach_letters(model, names, seed=_SEED)
        lm = wrap_language_model(model, letters_tokenizer(names), name="random", revision="none")
        site = Site(shape.site_layer, "resid_post")
        rows = random_rows(lm, 64, context_size=amounts.context, seed=_SEED)
        saes = random_saes(lm, site, rows, architectures=architectures, d_sae=shape.d_sae, seed=_SEED)
        context = EvalContext(
            lm=lm, hub=Hub(Path("world")), seed=_SEED, batch_size=batch_size, progress=Progress("gpu", shown=False)
        )
        return cls(context, saes, site, amounts)


Part = Callable[[Subject], Callable[[], Iterable[Outcome | None]]]
"""Makes an eval's data, and returns what measures the SAEs on them."""


def _core(subject: Subject) -> Callable[[], Iterable[Outcome]]:
    context, (reconstruction, sparsity) = subject.context, subject.amounts.batches
    n = _BATCH * (reconstruction + sparsity)
    tokens = random_rows(context.lm, n, context_size=subject.amounts.context, seed=_SEED)
    rows = CoreRows(tokens, documents_of(tokens, context.lm.special_ids))
    plan = CorePlan(_BATCH, _BATCH * reconstruction, keep_special=True)
    return lambda: measure_core(context, subject.saes, rows, plan)


def _sets(subject: Subject) -> Any:
    train, test = subject.amounts.texts
    return {_SEED: random_sets(subject.context.lm, 1, 5, train=train, test=test, seed=_SEED)}


def _sparse_probing(subject: Subject) -> Callable[[], Iterable[Outcome]]:
    (train, test), sets = subject.amounts.texts, _sets(subject)
    settings = SparseProbingSettings(("set0",), 2 * train, 2 * test, subject.amounts.context, (1, 2, 5, 10, 20, 50))
    return lambda: measure_probing(subject.context, subject.saes, sets, settings)


def _tpp(subject: Subject) -> Callable[[], Iterable[Outcome]]:
    (train, test), sets = subject.amounts.texts, _sets(subject)
    settings = TppSettings(("set0",), 4 * train, 4 * test, subject.amounts.context, (2, 5, 10, 20))
    return lambda: measure_tpp(subject.context, subject.saes, sets, settings)


def _scr(subject: Subject) -> Callable[[], Iterable[Outcome]]:
    train, test = (n // 4 for n in subject.amounts.texts)
    [pool] = random_pools(subject.context.lm, 1, train=train, test=test, seed=_SEED)
    sets = {_SEED: [cut_pair(pool, p, train=train, test=test, seed=_SEED, sampling="keyed") for p in pool.pairs]}
    settings = ScrSettings(("set0",), 4 * train, 4 * test, subject.amounts.context, (2, 5, 10, 20))
    return lambda: measure_scr(subject.context, subject.saes, sets, settings)


def _absorption(subject: Subject) -> Callable[[], Iterable[Outcome]]:
    # Every letter counts, however well it is known.
    settings = AbsorptionSettings(
        max_words=subject.amounts.words, k_sparse_probe_batch_size=128, min_probe_f1=0.0, min_feats_for_eval=1,
        min_sae_probe_f1=0.0, min_sae_letters=1,
    )  # fmt: skip
    return lambda: measure_absorption(subject.context, subject.saes, settings)


def _ravel(subject: Subject) -> Callable[[], Iterable[Outcome]]:
    settings = RavelSettings(
        dataset="random", attributes={"city": ATTRIBUTES}, num_pairs_per_attribute=subject.amounts.pairs,
        batch_size=32, num_epochs=2, answer="first_token", baselines=(),
    )  # fmt: skip
    prompts = random_prompts(subject.context.lm, seed=_SEED, entities=subject.amounts.entities)
    return lambda: measure_ravel(subject.context, subject.saes, {"city": prompts}, settings)


def _unlearning(subject: Subject) -> Callable[[], Iterable[Outcome]]:
    # Random latents fire on both corpora alike, so nearly all of them must pass.
    settings = UnlearningSettings(
        context_size=subject.amounts.context, prompt_format="plain", protocol="option_text", required_orders=1,
        retain_thresholds=(0.5, 0.9), multiplier_unit="scaled",
    )  # fmt: skip
    n = subject.amounts.questions
    inputs = random_unlearning_inputs(subject.context, settings, hazardous=n, harmless=n)
    return lambda: measure_unlearning(subject.context, subject.saes, inputs, settings)


def _of_latents(name: str) -> Part:
    """An eval of single latents, called through the library because it may ask a judge."""

    def part(subject: Subject) -> Callable[[], Iterable[None]]:
        context, amounts = subject.context, subject.amounts
        rows = random_rows(context.lm, amounts.rows, context_size=amounts.context, seed=_SEED, special=False)
        rows[:, 0] = int(context.lm.tokenizer.bos_token_id)  # type: ignore[arg-type]
        settings: dict[str, Any] = {"n_rows": amounts.rows, "n_latents": amounts.latents}
        asks = name != "dashboards"
        if asks:
            # The stand-in for a judge reads nothing.
            settings |= {"min_judge_gold": 0.0, "max_unanswered": 1.0, "min_firings": 5}

        def run() -> Iterable[None]:
            found = evaluate(
                context.lm, list(subject.saes), {name: settings}, texts=rows, seed=_SEED,
                judge=_judge if asks else None, batch_size=context.batch_size, progress=False,
            )  # fmt: skip
            for failure in found.failures:
                raise RuntimeError(f"{name} of {failure.sae['name']} failed") from failure.error
            return [None] * len(found.results)

        return run

    return part


def _judge(messages: list[dict[str, str]]) -> str:
    """An answer of the right form, at once."""
    match messages[0]["content"]:
        case text if text == EXPLAIN:
            return "some word"
        case text if text == DETECT:
            return "1, 2"
        case _:
            return f"\n{SEPARATOR}\n".join(f"w{n} w{n + 1} w{n + 2}" for n in range(11))


PARTS: Mapping[str, Part] = {
    "core": _core,
    "sparse_probing": _sparse_probing,
    "scr": _scr,
    "tpp": _tpp,
    "absorption": _absorption,
    "ravel": _ravel,
    "unlearning": _unlearning,
    "dashboards": _of_latents("dashboards"),
    "sensitivity": _of_latents("sensitivity"),
    "autointerp": _of_latents("autointerp"),
}


def run_all(work: Callable[[], Iterable[Outcome | None]]) -> None:
    """Measures all SAEs; the first that fails, or of which nothing could be measured, ends it."""
    for outcome in work():
        if outcome is not None and all(m.value is None for m in output_of(outcome).measurements):
            raise RuntimeError(f"{outcome.sae.card.name}: nothing was measured")
