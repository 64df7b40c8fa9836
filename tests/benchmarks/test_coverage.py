"""A small cut of `python -m benchmarks.coverage`: intervals hold the truth about 95 times in 100, on dependent data."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.coverage import Line, coverage
from benchmarks.simulated_draws import Draws
from sae_research.evals.core import formulas
from sae_research.metrics.groups import Grouping

DOCUMENTS = {"n_rows": 800, "mean_rows": 9.0, "icc": 0.3}
DRAWS = {"draws": Draws(seeds=5, pool=400, spread=0.02)}
LINES = [
    Line("core", "explained_variance", "", DOCUMENTS),
    Line("core", "ce_loss_increase", "", {**DOCUMENTS, "icc": 0.1}),
    Line("core, latents", "frac_alive", "", {"n_rows": 800, "mean_rows": 9.0, "topics": 8}),
    Line("ravel", "disentanglement_score", "", {"entities": 32, "pairs": 144, "icc": 0.2}),
    Line("unlearning", "unlearning_score", "", {"entities": 100, "questions": 3, "icc": 0.3}),
    Line("sparse_probing", "sae_top_k_test_accuracy", "", DRAWS, {"k": 1}),
    Line("scr", "scr_metric", "", DRAWS, {"n": 2}),
    Line("tpp", "tpp_total_metric", "", DRAWS, {"n": 2}),
    Line("absorption", "mean_absorption_fraction_score", "", {"most_words": 30}),
]


@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line.simulation}-{line.metric}")
def test_intervals_of_scores_and_of_differences_hold(line: Line) -> None:
    """In 100 runs; the whole table has more."""
    found = coverage(line, 100)
    assert 0.9 <= found.scores <= 0.995
    assert 0.9 <= found.differences <= 1.0
    assert found.half_width > 0


def test_rows_of_a_document_are_no_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulation sees an interval that is too narrow: with each row as a unit of its own."""

    def rows_alone(documents: np.ndarray) -> Grouping:
        return Grouping(np.arange(len(documents)), len(documents))

    monkeypatch.setattr(formulas, "whole_documents", rows_alone)
    assert coverage(LINES[0], 60).scores < 0.75
