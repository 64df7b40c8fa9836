"""Both sides on the same models, SAEs and data, and the tables of their results."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.absorption_case import PARTS as ABSORPTION_PARTS
from benchmarks.absorption_case import AbsorptionCase
from benchmarks.core_case import PARTS as CORE_PARTS
from benchmarks.core_case import CoreCase, Pair, core_pairs
from benchmarks.letters_model import write_letters_model
from benchmarks.measuring import Inside, Measured
from benchmarks.probing_case import PARTS as PROBING_PARTS
from benchmarks.probing_case import ProbingCase
from benchmarks.random_data import WORDS, random_rows, random_sets
from benchmarks.ravel_case import PARTS as RAVEL_PARTS
from benchmarks.ravel_case import ravel_case
from benchmarks.scr_and_tpp_case import PARTS as ABLATION_PARTS
from benchmarks.scr_and_tpp_case import ablation_case, ablation_table
from benchmarks.subjects import SHAPES, random_saes, write_model
from benchmarks.tables import Turns, accuracy_table, growth_table, metrics_table, spread_table, times_table
from benchmarks.unlearning_case import PARTS as UNLEARNING_PARTS
from benchmarks.unlearning_case import unlearning_case, unlearning_table
from sae_research.data.labelled import LabelledSet, load_labelled
from sae_research.data.text import load_texts, token_rows
from sae_research.errors import UserError
from sae_research.evals.absorption.settings import AbsorptionSettings
from sae_research.evals.base import EvalContext
from sae_research.evals.core.eval import CORE
from sae_research.evals.core.measure import CorePlan
from sae_research.evals.sparse_probing.eval import SPARSE_PROBING
from sae_research.evals.sparse_probing.settings import SparseProbingSettings
from sae_research.formats.readers.saelens import load_sae
from sae_research.lm.cache import ActivationCache
from sae_research.lm.gguf import model_folder
from sae_research.lm.load import load_language_model
from sae_research.lm.model import LanguageModel
from sae_research.lm.site import Site
from sae_research.pipeline.manifest import read_manifest
from sae_research.pipeline.params import Params, load_params
from sae_research.progress import Progress
from sae_research.reference.lens import load_lens
from sae_research.saes.base import Sae
from sae_research.sources.hub import Hub

EMBEDDED, PIPELINE = "embedded", "pipeline"
_CONTEXT = 128
_CLASSES = 5
_CACHE = 100 * 2**30


class Comparison:
    """The model, SAEs and data that the command line names, loaded for both sides."""

    def __init__(self, arguments: argparse.Namespace, scratch: Path) -> None:
        self.arguments = arguments
        self.scratch = scratch
        self.hub = Hub(Path("world"))
        self.embedded = arguments.model == EMBEDDED
        """Whether the SAEs, texts and questions are those of the embedded world's pipeline in this folder."""
        self.of_pipeline = arguments.model in (EMBEDDED, PIPELINE)
        """Whether model, SAEs and texts are those of the pipeline in this folder."""
        self._read_model(self._model_folder())

    def _read_model(self, folder: Path) -> None:
        self.lm = self._load(folder, cache=None)
        self.lens = load_lens(folder, device=str(self.lm.device), dtype=self.arguments.dtype)

    def _model_folder(self) -> Path:
        name = self.arguments.model
        if self.of_pipeline:
            return model_folder(self.hub.model(self._params.model.name).path)
        if name not in SHAPES:
            return self.hub.model(name).path
        folder = self.scratch / "model"  # TransformerLens reads meaning into names such as llama.
        write_model(SHAPES[name], folder, seed=self.arguments.seed)
        return folder

    def _load(self, folder: Path, *, cache: ActivationCache | None) -> LanguageModel:
        return load_language_model(
            self.hub, str(folder), dtype=self.arguments.dtype, device=self.arguments.device, cache=cache
        )

    @cached_property
    def _params(self) -> Params:
        return load_params(Path("params.yaml"))

    @cached_property
    def site(self) -> Site:
        """Where the SAEs are."""
        if self.of_pipeline:
            return self._stored_saes[0].card.site
        shape = SHAPES.get(self.arguments.model)
        return Site(shape.site_layer if shape else (self.lm.n_layers - 1) // 2, "resid_post")

    @cached_property
    def _stored_saes(self) -> list[Sae]:
        folder = Path("downloaded_saes")
        names = [entry["name"] for entry in read_manifest(folder).saes]
        first = self.arguments.first
        if unknown := sorted(set(first) - set(names)):
            raise UserError(f"downloaded_saes/ has no {', '.join(unknown)}; it has {', '.join(names)}")
        return [load_sae(folder / name) for name in [*first, *(name for name in names if name not in first)]]

    def saes(self, n: int | None) -> list[Sae]:
        """`n` SAEs at the site, architectures by turns; None: all that the pipeline has."""
        if self.of_pipeline:
            if n is not None and n > len(self._stored_saes):
                raise UserError(f"downloaded_saes/ has {len(self._stored_saes)} SAEs, expected at least {n}")
            return [sae.to(self.lm.device) for sae in self._stored_saes[:n]]
        kinds = self.arguments.architectures
        shape = SHAPES.get(self.arguments.model)
        return random_saes(
            self.lm, self.site, random_rows(self.lm, 32, context_size=_CONTEXT, seed=self.arguments.seed + 1),
            architectures=[kinds[i % len(kinds)] for i in range(n or len(kinds))],
            d_sae=shape.d_sae if shape else 8 * self.lm.d_model, seed=self.arguments.seed,
        )  # fmt: skip

    def run(self, part: str) -> Iterator[str]:
        """The tables of one part."""
        tables = {
            "core": self._core,
            "sparse_probing": self._probing,
            "absorption": self._absorption,
            "ravel": self._ravel,
            "unlearning": self._unlearning,
            "scr_and_tpp": self._ablations,
        }
        yield from tables[part]()

    def _core(self) -> Iterator[str]:
        case = self._core_case()
        saes = self.saes(self.arguments.saes)
        turns = self._take_turns(case, saes, CORE_PARTS)
        yield from self._heading(saes)
        results = zip(turns.their_runs, turns.our_outputs, strict=True)
        pairs = [core_pairs(run.value, output) for run, output in results]
        yield metrics_table(pairs, [sae.card.name for sae in saes])
        yield times_table(turns)
        yield from self._growth(case, turns.their_runs)

    def core_pairs(self) -> list[list[Pair]]:
        """Every number of the core eval on both sides, for each SAE that both sides treat alike."""
        case, saes = self._core_case(), self.saes(self.arguments.saes)
        if self.of_pipeline:
            saes = [sae for sae in saes if sae.scope == "token"]
        theirs = [case.theirs(sae, Inside()).value for sae in saes]
        ours = case.ours(saes, Inside()).value
        return [core_pairs(reported, output) for reported, output in zip(theirs, ours, strict=True)]

    def logit_difference(self) -> float:
        """The largest difference between the logits of both sides' models, relative to the largest logit."""
        tokens = self._rows(4).to(self.lm.device)
        theirs, ours = self.lens(tokens, return_type="logits").float(), self.lm.logits(tokens).float()
        return float((ours - theirs).abs().max() / theirs.abs().max())

    def _core_case(self) -> CoreCase:
        size = self.arguments.batch_size
        reconstruction, sparsity = (size * n for n in self.arguments.batches)
        rows = self._rows(reconstruction + sparsity)
        return CoreCase(self._context(self.lm), self.lens, rows, CorePlan(size, reconstruction, keep_special=True))

    def _rows(self, n: int) -> Any:
        if not self.of_pipeline:
            return random_rows(
                self.lm, n, context_size=_CONTEXT, seed=self.arguments.seed, special=not self.arguments.plain_rows
            )
        core = self._params.settings_of(CORE)
        texts = load_texts(self.hub, core.dataset, core.split)
        return token_rows(texts, self.lm.tokenizer, context_size=_CONTEXT, n_rows=n)

    def _context(self, lm: LanguageModel) -> EvalContext:
        return EvalContext(
            lm=lm, hub=self.hub, seed=self.arguments.seed, batch_size=self.arguments.batch_size,
            progress=Progress("benchmark", shown=False),
        )  # fmt: skip

    def _probing(self) -> Iterator[str]:
        case = self.probing_case()
        saes = self.saes(self.arguments.saes)
        # Both sides fill their caches of activations here, so later runs are warm.
        case.theirs(saes[0], Inside())
        case.ours(saes[:1], Inside())
        turns = self._take_turns(case, saes, PROBING_PARTS)
        yield from self._heading(saes)
        yield accuracy_table(turns.their_runs, turns.our_outputs)
        yield times_table(turns)
        yield from self._growth(case, turns.their_runs)

    def probing_case(self) -> ProbingCase:
        """What both sides probe."""
        sets = self._sets()
        train, test = self.arguments.texts
        settings = SparseProbingSettings(
            dataset_names=tuple(labelled.name for labelled in sets), train_size=2 * train, test_size=2 * test,
            context_size=_CONTEXT, k_values=tuple(self.arguments.k),
        )  # fmt: skip
        cache = ActivationCache(self.scratch / "activations", max_bytes=_CACHE)
        cached = self._load(self._model_folder(), cache=cache)
        return ProbingCase(self._context(cached), self.lens, sets, settings, self.scratch / "artifacts")

    def _sets(self) -> list[LabelledSet]:
        train, test = self.arguments.texts
        seed = self.arguments.seed
        if not self.of_pipeline:
            lengths = [tuple(self.arguments.words)] if self.arguments.words else WORDS
            return random_sets(
                self.lm, self.arguments.sets, _CLASSES, train=train, test=test, seed=seed, lengths=lengths
            )
        names = self._params.settings_of(SPARSE_PROBING).dataset_names[: self.arguments.sets]
        return [load_labelled(self.hub, n, train_per_class=train, test_per_class=test, seed=seed) for n in names]

    def _absorption(self) -> Iterator[str]:
        taught = self if self.embedded else self._with_letters()
        settings = AbsorptionSettings(max_k_value=self.arguments.absorption_k, k_sparse_probe_batch_size=128)
        case = AbsorptionCase(taught._context(taught.lm), taught.lens, settings, self.scratch)
        yield from taught._spread_and_times(case, self.arguments.absorption_seeds, ABSORPTION_PARTS)

    def _with_letters(self) -> Comparison:
        """The same with a model that knows the first letters of words, as a random one does not."""
        taught, folder = copy(self), self.scratch / "letters"
        write_letters_model(SHAPES[self.arguments.model], folder, seed=self.arguments.seed)
        taught._read_model(folder)
        return taught

    def _ravel(self) -> Iterator[str]:
        case = ravel_case(
            self._context(self.lm), self._model_folder(), pairs=self.arguments.ravel_pairs, embedded=self.embedded
        )
        yield from self._spread_and_times(case, self.arguments.ravel_seeds, RAVEL_PARTS)

    def _spread_and_times(self, case: Any, n_seeds: int, parts: Sequence[str]) -> Iterator[str]:
        saes = self.saes(self.arguments.saes)
        yield from self._heading(saes)
        if n_seeds:
            yield spread_table(case, saes, n_seeds)
        if self.arguments.repeats:
            yield times_table(self._take_turns(case, saes, parts))

    def _unlearning(self) -> Iterator[str]:
        case = unlearning_case(self._context(self.lm), self.lens, self.site, self.scratch, embedded=self.embedded)
        saes = self.saes(self.arguments.saes)
        turns = self._take_turns(case, saes, UNLEARNING_PARTS)
        yield from self._heading(saes)
        yield unlearning_table(turns.their_runs, turns.our_outputs, saes)
        yield times_table(turns)

    def _ablations(self) -> Iterator[str]:
        base = self.probing_case()
        saes = self.saes(self.arguments.saes)
        most = min(sae.card.d_sae for sae in saes)
        case = ablation_case(base, self.scratch, embedded=self.embedded, most=most)
        case.theirs(saes[0], Inside())  # Both sides fill their caches; SAEBench's holds its probes too.
        case.ours(saes[:1], Inside())
        turns = self._take_turns(case, saes, ABLATION_PARTS)
        yield from self._heading(saes)
        yield ablation_table(turns.their_runs, case.as_sae_bench().ours(saes, Inside()).value)
        yield times_table(turns)

    def _take_turns(self, case: Any, saes: Sequence[Sae], parts: Sequence[str]) -> Turns:
        """Runs both sides `repeats` times, in turn."""
        turns = Turns(parts)
        for _ in range(self.arguments.repeats):
            theirs, ours = Inside(), Inside()
            turns.their_runs = [case.theirs(sae, theirs) for sae in saes]
            theirs.require(parts)
            measured = case.ours(saes, ours)
            ours.require(parts)
            turns.our_outputs = measured.value
            turns.theirs.add("all", sum(run.seconds for run in turns.their_runs))
            turns.ours.add("all", measured.seconds)
            for watch, inside in ((turns.theirs, theirs), (turns.ours, ours)):
                for part, seconds in inside.seconds.items():
                    watch.add(part, seconds)
            turns.memory["theirs"] = max(turns.memory["theirs"], *(run.peak_bytes for run in turns.their_runs))
            turns.memory["ours"] = max(turns.memory["ours"], measured.peak_bytes)
        return turns

    def _heading(self, saes: Sequence[Sae]) -> Iterator[str]:
        import os

        a = self.arguments
        names = ", ".join(sae.card.name for sae in saes)
        yield (
            f"{a.model}, {a.dtype} on {self.lm.device}, {a.threads} threads, {self.site.hook_name}, "
            f"d {self.lm.width(self.site)}, d_sae {saes[0].card.d_sae}; {len(saes)} SAEs: {names}; "
            f"load average {os.getloadavg()[0]:.1f}"
        )

    def _growth(self, case: Any, their_runs: Sequence[Measured]) -> Iterator[str]:
        if counts := self.arguments.growth:
            yield growth_table(case, self.saes(max(counts)), their_runs, counts)
