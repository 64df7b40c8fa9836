"""SCR and TPP on both sides: scores with SAEBench's draws and rules, times with ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.measuring import Inside, Measured, measure, output_of, table
from benchmarks.probing_case import ProbingCase
from benchmarks.random_data import random_pools
from sae_research.data.labelled import LabelledSet
from sae_research.data.paired import PairPool, cut_pair, read_pairs
from sae_research.errors import UserError
from sae_research.evals.base import EvalContext
from sae_research.evals.scr.eval import SCR
from sae_research.evals.scr.measure import measure_scr
from sae_research.evals.scr.settings import ScrSettings
from sae_research.evals.tpp.measure import measure_tpp
from sae_research.evals.tpp.settings import TppSettings
from sae_research.measurements import EvalOutput
from sae_research.pipeline.params import load_params
from sae_research.reference.scr_and_tpp import SaeBenchAblationPlan, SaeBenchAblations, run_scr, run_tpp
from sae_research.saes.base import Sae

PARTS = ("SCR", "TPP")
_PUBLISHED_N = (2, 5, 10, 20, 50, 100, 500)


@dataclass(frozen=True)
class AblationCase:
    """What both sides read."""

    context: EvalContext
    lens: Any
    pools: Sequence[PairPool]
    sets: Sequence[LabelledSet]
    scr: ScrSettings
    tpp: TppSettings
    artifacts: Path
    """SAEBench's cache of activations and probes; full after its first run."""

    def theirs(self, sae: Sae, inside: Inside) -> Measured:
        """SAEBench's results for one SAE: of SCR, then of TPP."""
        plan = SaeBenchAblationPlan(
            self.scr.train_size, self.scr.test_size, self.scr.n_values, self.context.seed,
            self.scr.context_size, self.context.batch_size,
        )  # fmt: skip

        def work() -> tuple[SaeBenchAblations, SaeBenchAblations]:
            scr, tpp = inside.timed(run_scr, PARTS[0]), inside.timed(run_tpp, PARTS[1])
            of_scr = scr(self.lens, sae, self.pools, plan, artifacts=self.artifacts / "scr")
            return of_scr, tpp(self.lens, sae, self.sets, plan, artifacts=self.artifacts / "tpp")

        return measure(work)

    def ours(self, saes: Sequence[Sae], inside: Inside) -> Measured:
        """Our results for all SAEs, of both evals in one tuple."""

        def work() -> list[tuple[EvalOutput, EvalOutput]]:
            return list(zip(self._our_scr(saes, inside), self._our_tpp(saes, inside), strict=True))

        return measure(work)

    def _our_scr(self, saes: Sequence[Sae], inside: Inside) -> list[EvalOutput]:
        sizes = {"train": self.scr.train_size // 4, "test": self.scr.test_size // 4}
        sets = [
            cut_pair(pool, pair, **sizes, seed=self.context.seed, sampling=self.scr.sampling)
            for pool in self.pools
            for pair in pool.pairs
        ]
        run = inside.timed(lambda: list(measure_scr(self.context, saes, {self.context.seed: sets}, self.scr)), PARTS[0])
        return [output_of(outcome) for outcome in run()]

    def _our_tpp(self, saes: Sequence[Sae], inside: Inside) -> list[EvalOutput]:
        run = inside.timed(
            lambda: list(measure_tpp(self.context, saes, {self.context.seed: self.sets}, self.tpp)), PARTS[1]
        )
        return [output_of(outcome) for outcome in run()]

    def as_sae_bench(self) -> AblationCase:
        """The same with SAEBench's draws and rules."""
        return replace(
            self,
            scr=replace(self.scr, sampling="sae_bench", rules="sae_bench"),
            tpp=replace(self.tpp, sampling="sae_bench", rules="sae_bench"),
        )


def ablation_table(their_runs: Sequence[Measured], our_outputs: Sequence[tuple[EvalOutput, EvalOutput]]) -> str:
    """Every mean of both sides: over SAEs, and the largest difference of any SAE."""
    rows = []
    for which in range(2):
        for key in their_runs[0].value[which].means:
            theirs = [run.value[which].means[key] for run in their_runs]
            ours = [_mean(outputs[which], key) for outputs in our_outputs]
            gap = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
            rows.append((key, sum(theirs) / len(theirs), sum(ours) / len(ours), f"{gap:.1e}"))
    return table(["metric", "theirs (mean over SAEs)", "ours", "largest difference of any SAE"], rows)


def _mean(output: EvalOutput, key: str) -> float:
    values = [record[key] for record in output.details if key in record]
    return sum(values) / len(values)


def ablation_case(base: ProbingCase, scratch: Path, *, embedded: bool, most: int) -> AblationCase:
    """TPP on the texts of `base`, SCR on as many data sets at equal sizes; no more than `most` latents are ablated."""
    train, test = (len(next(iter(classes.values()))) // 2 for classes in (base.sets[0].train, base.sets[0].test))
    if train < 5 or test < 1:
        raise UserError("SCR and TPP read half of each class's texts, and at least 5 and 1: --texts 10 2 or more")
    if embedded:
        pools = [
            read_pairs(base.context.hub, name)
            for name in load_params(Path("params.yaml")).settings_of(SCR).dataset_names[: len(base.sets)]
        ]
    else:
        seed = base.context.seed + 1
        pools = random_pools(base.context.lm, len(base.sets), train=train, test=test, seed=seed)
    n_values = tuple(n for n in _PUBLISHED_N if n <= most)
    return AblationCase(
        base.context, base.lens, pools, base.sets,
        ScrSettings(tuple(pool.name for pool in pools), 4 * train, 4 * test, n_values=n_values),
        TppSettings(tuple(labelled.name for labelled in base.sets), 4 * train, 4 * test, n_values=n_values),
        scratch / "ablations",
    )  # fmt: skip
