"""The table of what the judge `rules` tells apart, from measurements made by hand."""

from __future__ import annotations

from benchmarks.judged_scores import COLUMNS, CONTROLS, JUDGE, SAES, TRAINED, tables
from sae_research.evals.registry import find_eval
from sae_research.measurements import EvalOutput, Measurement


def _output(value: float) -> EvalOutput:
    replicates = tuple(value + 0.01 * (i - 1.5) for i in range(4))
    return EvalOutput(
        tuple(
            Measurement(c.metric, value, ci_low=value - 0.1, ci_high=value + 0.1, at=c.at, replicates=replicates)
            for c in (*COLUMNS, *JUDGE)
        )
    )


def test_scores_leads_and_the_judge_are_shown() -> None:
    values = {sae: 0.9 if sae == TRAINED else 0.5 for sae in SAES}
    by_sae = {sae: _output(value) for sae, value in values.items()}
    scores, leads, judge = tables({3: {"autointerp": by_sae, "sensitivity": by_sae}})
    assert f"| 3 | {TRAINED} | 0.900 [0.800, 1.000] |" in scores
    for control in CONTROLS:
        assert f"| 3 | {control} | 0.400 [0.400, 0.400] |" in leads
    assert judge.splitlines()[-1] == "| 3 | 0.900 | 0.900 | 0.900 |"


def test_columns_are_metrics_that_there_are() -> None:
    for column in (*COLUMNS, *JUDGE):
        assert column.metric in {spec.name for spec in find_eval(column.eval).specs}
