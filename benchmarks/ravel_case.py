"""RAVEL on both sides: scores over seeds, and times."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measuring import Inside, Measured, measure, output_of
from benchmarks.random_data import ATTRIBUTES, random_prompts
from benchmarks.tables import Scores
from sae_research.evals.base import EvalContext
from sae_research.evals.ravel.entities import EntityPrompt, load_entity_prompts
from sae_research.evals.ravel.measure import measure_ravel
from sae_research.evals.ravel.prompts import Checker, Prompts, known_prompts, tokenize_prompts
from sae_research.evals.ravel.settings import RavelSettings
from sae_research.evals.ravel.training import AttributeRun
from sae_research.measurements import EvalOutput
from sae_research.reference.adapter import silenced
from sae_research.reference.ravel import SaeBenchRavel
from sae_research.saes.base import Sae

PARTS = ("train masks", "test")
CITY = "city"
_METRICS = ("disentanglement_score", "cause_score", "isolation_score")


@dataclass(frozen=True)
class RavelCase:
    """What both sides read; with `settings`, pairs are split and answers judged as SAEBench does."""

    context: EvalContext
    folder: Path
    items: Sequence[EntityPrompt]
    settings: RavelSettings

    def known(self, sae: Sae) -> Prompts:
        """The prompts that the model answers correctly; SAEBench caches these between runs."""
        asked = tokenize_prompts(self.context.lm, self.items)
        checker = Checker(self.context.lm, self.settings.n_generated_tokens)
        return known_prompts(self.context, sae.card.site, asked, checker, n_entities=self.settings.top_n_entities)

    def theirs(self, sae: Sae, inside: Inside) -> Measured:
        """SAEBench's scores for one SAE, means over attributes."""
        with silenced():  # `main` is imported here so that the time of its import is not SAEBench's.
            from sae_bench.evals.ravel import intervention, main, mdbm  # noqa: F401

        prompts = self.known(sae)
        watched = ((mdbm, "train_mdbm", PARTS[0]), (intervention, "generate_batched_interventions", PARTS[1]))
        with inside.watching(*watched):
            return measure(lambda: self._run_sae_bench(sae, prompts))

    def _run_sae_bench(self, sae: Sae, prompts: Prompts) -> Scores:
        ravel = SaeBenchRavel(self.context.lm, self.folder, self.settings)
        names = self.settings.attributes[CITY]
        scores = [
            ravel.score(sae, prompts, name, [other for other in names if other != name], seed=self.context.seed + i)
            for i, name in enumerate(names)
        ]
        columns = zip(*((s.disentanglement, s.cause, s.isolation) for s in scores), strict=True)
        return dict(zip(_METRICS, map(statistics.fmean, columns), strict=True))

    def ours(self, saes: Sequence[Sae], inside: Inside) -> Measured:
        """Our results for all SAEs, including the pass that finds the prompts the model knows."""
        with inside.watching((AttributeRun, "_train", PARTS[0]), (AttributeRun, "_test", PARTS[1])):
            measured = measure(lambda: list(measure_ravel(self.context, saes, {CITY: self.items}, self.settings)))
        return measured._replace(value=[output_of(outcome) for outcome in measured.value])

    def at_seed(self, seed: int) -> RavelCase:
        """The same with other draws of pairs in another order; SAEBench's seed per attribute counts up from there."""
        return dataclasses.replace(self, context=dataclasses.replace(self.context, seed=100 * seed))

    def scores(self, theirs: Scores, output: EvalOutput) -> tuple[Scores, Scores]:
        """Both sides' scores of one SAE by name."""
        return theirs, {m.metric: m.value for m in output.measurements if m.metric in _METRICS and not m.at}


def ravel_case(context: EvalContext, folder: Path, *, pairs: int, embedded: bool) -> RavelCase:
    """The model's facts about cities, or made-up ones of a random model; pairs and answers as SAEBench has them.

    A batch is small enough for one to be left to the test: SAEBench drops what does not fill a batch.
    """
    names = ("Country", "Continent", "Language") if embedded else ATTRIBUTES
    settings = RavelSettings(
        dataset="embedded/cities", attributes={CITY: names}, split="sae_bench", num_pairs_per_attribute=pairs,
        batch_size=min(32, pairs // 2), num_epochs=3, learning_rate=0.1, baselines=(),
    )  # fmt: skip
    if embedded:
        return RavelCase(context, folder, load_entity_prompts(context.hub, settings.dataset, CITY, names), settings)
    return RavelCase(context, folder, random_prompts(context.lm, seed=context.seed), settings)
