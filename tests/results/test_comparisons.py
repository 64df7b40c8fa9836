"""Differences between SAEs: by hand, when they are missing, what the report says of them, and whether they cover."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control, t
from support.workspace import make_core

from sae_research.measurements import EvalOutput, Measurement, MetricSpec, Result, measured
from sae_research.metrics.accuracies import ProbeTest, mean_accuracy
from sae_research.metrics.intervals import Estimate, jackknife, paired_difference
from sae_research.pipeline.stages.process_results import process_results
from sae_research.results.comparison_report import comparison_section
from sae_research.results.comparisons import Comparison, compare_columns, compare_saes
from sae_research.results.leaders import contenders_of
from sae_research.results.merge import Entry, tidy_rows
from sae_research.results.replicates import columns_of, read_replicates
from sae_research.results.rows import table_as_csv

SPECS = (
    MetricSpec("good", "c", "", "higher", "Good", headline=True),
    MetricSpec("bad", "c", "", "lower", "Bad", headline=True),
    MetricSpec("fact", "c", "", "neither", "Fact"),
    MetricSpec("llm_test_accuracy", "c", "", "higher", "The model's"),
    MetricSpec("at_k", "c", "", "higher", "At k", "at_{k}", headline=True),
)


def _entry(card: Any, name: str, measurements: Sequence[Measurement], *, interpolates: float = 0.0) -> Entry:
    core = [Measurement("l0", 8.0), Measurement("interpolates", interpolates)]
    specs = (*SPECS, MetricSpec("l0", "c", "", "neither", ""), MetricSpec("interpolates", "c", "", "neither", ""))
    result = Result(name, "core", card(name), {}, {}, EvalOutput((*measurements, *core)))
    return Entry("computed", name, "core", result, specs)


def _noisy(shift: float, common: np.ndarray, seed: int) -> Estimate:
    individual = np.random.default_rng(seed).normal(scale=0.1, size=len(common))
    individual -= individual.mean()  # So that `shift` alone, not luck, decides who is better.
    rows = {"a": common + shift + individual, "b": np.ones(len(common))}
    return jackknife(rows, lambda s: {"mean": s["a"] / s["b"]})["mean"]


TWO = ("mse", "explained_variance")
COMMON = np.random.default_rng(9).normal(size=320)
"""What makes a sequence hard, for every SAE."""


def _pair(comparisons: Sequence[Comparison], a: str, b: str, metric: str) -> Comparison:
    return next(c for c in comparisons if (c.sae_a, c.sae_b, c.metric) == (a, b, metric))


def test_a_pair_is_the_paired_difference_of_its_estimates(card: Any) -> None:
    one, two = _noisy(0.3, COMMON, 1), _noisy(0.0, COMMON, 2)
    comparisons = compare_saes([_entry(card, n, [measured("bad", e)]) for n, e in (("one", one), ("two", two))])
    (pair,) = comparisons
    expected = paired_difference(one, two)
    assert expected is not None
    assert (pair.difference, pair.ci_low, pair.ci_high) == pytest.approx(expected[:3])
    assert (pair.distinguishable, pair.better, pair.method) == (True, "two", "paired"), "lower is better"


def test_equals_are_told_to_be_equal(card: Any) -> None:
    entries = [_entry(card, f"s{i}", [measured("good", _noisy(0.0, COMMON, i))]) for i in range(2)]
    (pair,) = compare_saes(entries)
    assert (pair.distinguishable, pair.better) == (False, None)


def test_every_pair_of_every_column_with_a_direction_once(card: Any) -> None:
    measurements = [measured(m, _noisy(0.0, COMMON, 1)) for m in ("good", "bad", "fact", "llm_test_accuracy")]
    measurements += [measured("at_k", _noisy(0.0, COMMON, 1), {"k": k}) for k in (1, 5)]
    measurements += [measured("at_k", _noisy(0.0, COMMON, 1), {"k": 1, "dataset": "x"})]
    comparisons = compare_saes([_entry(card, f"s{i}", measurements) for i in range(4)])
    assert {c.column for c in comparisons} == {"good", "bad", "at_1", "at_5"}
    assert len(comparisons) == len({(c.column, c.sae_a, c.sae_b) for c in comparisons}) == 4 * 6
    assert not any(c.distinguishable for c in comparisons)


def test_raw_and_adjusted_verdicts_stand_side_by_side(workspace: Any, card: Any) -> None:
    """Of 45 pairs of equals some are told apart by chance, and none after the correction over the headline columns."""
    for i in range(10):
        estimates = {m: _noisy(0.05 if m == "mse" and i == 9 else 0.0, COMMON, 10 * i + j) for j, m in enumerate(TWO)}
        # Luck that `_noisy` takes away comes back, so that chance has its say.
        drawn = [
            e._replace(value=e.value + np.random.default_rng([i, j]).normal(scale=0.1 / math.sqrt(len(COMMON))))
            for j, e in enumerate(estimates.values())
        ]
        base = make_core(card(f"s{i}"))
        rest = [m for m in base.output.measurements if m.metric not in TWO]
        scores = [measured(m, e) for m, e in zip(TWO, drawn, strict=True)]
        output = EvalOutput((*rest, *scores))
        workspace.add(Result(base.key, "core", base.sae, base.settings, base.key_parts, output))
    process_results(workspace.paths, {"core": True})
    pairs: Any = pd.read_parquet(workspace.paths.merged / "comparisons.parquet")
    tested = pairs[pairs.headline & pairs.p.notna()]
    assert len(tested) == 2 * 45
    equals = tested[~((tested.metric == "mse") & (tested.sae_b == "s9"))]
    assert equals.distinguishable.sum() > 0
    assert equals.distinguishable_adjusted.sum() == 0
    differing = tested[(tested.metric == "mse") & (tested.sae_b == "s9")]
    assert differing.distinguishable_adjusted.all()
    assert list(tested.p_adjusted) == pytest.approx(list(false_discovery_control(tested.p)))
    assert list(tested.p <= 0.05) == list(tested.distinguishable)
    assert list(tested.p_adjusted <= 0.05) == list(tested.distinguishable_adjusted)
    assert (tested.ci_high_adjusted - tested.ci_low_adjusted > tested.ci_high - tested.ci_low).all()
    outside = (tested.ci_low_adjusted > 0) | (tested.ci_high_adjusted < 0)
    assert list(outside) == list(tested.distinguishable_adjusted)
    untested = pairs[pairs.p.isna()]
    assert untested.distinguishable_adjusted.isna().all()


def test_without_replicates_the_intervals_count_as_independent(card: Any) -> None:
    bare = [Measurement("good", 0.5, ci_low=0.4, ci_high=0.7), Measurement("good", 0.9, ci_low=0.86, ci_high=0.93)]
    (pair,) = compare_saes([_entry(card, f"s{i}", [m]) for i, m in enumerate(bare)])
    expected = (-0.4 - math.hypot(0.1, 0.03), -0.4 + math.hypot(0.2, 0.04))
    assert (pair.ci_low, pair.ci_high) == pytest.approx(expected)
    assert (pair.distinguishable, pair.better, pair.method) == (True, "s1", "unpaired")


def test_other_groups_of_units_are_never_paired(card: Any) -> None:
    few, many, more = _noisy(0.0, COMMON[:20], 1), _noisy(0.0, COMMON, 2), _noisy(0.0, COMMON, 3)
    names = [("few", few), ("many", many), ("more", more)]
    comparisons = compare_saes([_entry(card, n, [measured("good", e)]) for n, e in names])
    assert [c.method for c in comparisons] == ["unpaired", "unpaired", "paired"]


def test_a_number_without_interval_gives_a_difference_without(card: Any) -> None:
    entries = [_entry(card, "a", [Measurement("good", 1.0)]), _entry(card, "b", [measured("good", Estimate(0, -1, 1))])]
    (pair,) = compare_saes(entries)
    assert (pair.difference, pair.ci_low, pair.distinguishable, pair.method) == (1.0, None, None, "none")


def test_a_missing_number_has_no_pair(card: Any) -> None:
    entries = [_entry(card, "a", [Measurement("good", None, "why")]), _entry(card, "b", [Measurement("good", 1.0)])]
    assert not compare_saes(entries)


def test_seeds_widen_a_pair_by_the_spread_of_its_own_difference(card: Any) -> None:
    """All seeds test on the same texts, so that the spread of the difference over seeds is that of the draws alone."""
    by_seed = {"a": [0.80, 0.84, 0.88], "b": [0.70, 0.75, 0.77]}
    change = {"a": np.array([0.01, -0.01, 0.02, -0.02]), "b": np.array([0.01, -0.01, 0.00, 0.00])}

    def entry(name: str) -> Entry:
        seeds = [
            Measurement("at_k", v, at={"k": 1, "seed": s}, replicates=tuple(v + change[name]))
            for s, v in enumerate(by_seed[name])
        ]
        value = float(np.mean(by_seed[name]))
        whole = Measurement("at_k", value, ci_low=0.1, ci_high=0.9, at={"k": 1}, replicates=tuple(value + change[name]))
        return _entry(card, name, [whole, *seeds])

    (pair,) = compare_saes([entry("a"), entry("b")])
    units = 3 / 4 * 2 * 0.02**2
    draws = np.var([0.10, 0.09, 0.11], ddof=1) / 3
    degrees = (units + draws) ** 2 / (units**2 / 3 + draws**2 / 2)
    assert pair.ci_low is not None
    assert pair.difference == pytest.approx(0.1)
    assert pair.difference - pair.ci_low == pytest.approx(t.ppf(0.975, degrees) * np.sqrt(units + draws))
    assert pair.method == "paired"


def test_saes_that_agree_on_every_unit_are_compared_by_their_intervals(card: Any) -> None:
    """No ablation turned a text of either: nothing is known of how far they are apart on other texts."""
    same = Measurement("good", 0.0, ci_low=-0.1, ci_high=0.2, replicates=(0.0, 0.0, 0.0))
    (pair,) = compare_saes([_entry(card, name, [same]) for name in "ab"])
    assert (pair.ci_low, pair.ci_high) == pytest.approx((-math.hypot(0.1, 0.2), math.hypot(0.1, 0.2)))
    assert (pair.distinguishable, pair.method) == (False, "unpaired")


def test_published_results_take_no_part(card: Any) -> None:
    entries = [_entry(card, f"s{i}", [measured("good", _noisy(0, COMMON, i))]) for i in range(2)]
    published = Entry("published", "p", "core", entries[0].result, SPECS)
    assert len(compare_saes([*entries, published])) == 1


def _section(entries: Sequence[Entry]) -> str:
    rows, comparisons = tidy_rows(entries), compare_saes(entries)
    return comparison_section(rows, contenders_of(rows), comparisons)


def test_the_report_names_the_best_and_who_is_as_good(card: Any) -> None:
    values = {"best": 0.0, "equal": -0.001, "worse": -0.5, "worst": -0.9}
    entries = [_entry(card, n, [measured("good", _noisy(v, COMMON, 3 + i))]) for i, (n, v) in enumerate(values.items())]
    exact = _entry(card, "exact", [measured("good", _noisy(4.0, COMMON, 1))], interpolates=0.9)
    text = _section([*entries, exact])
    line = text.splitlines()[-1]
    assert line in [f"| core | Good ↑ | {both} | {both} |" for both in ("`best`, `equal`", "`equal`, `best`")]
    assert "| at L0 8 |" in text
    assert "That leaves 9 of 10 pairs; 9 have a 95 % interval without 0." in text
    assert "`exact`" not in text


def test_nobody_is_best_where_nobody_can_be_told_from_the_best(card: Any) -> None:
    equal = [_entry(card, f"s{i}", [measured("good", _noisy(i / 1000, COMMON, i))]) for i in range(5)]
    worse = _entry(card, "worse", [measured("good", _noisy(-1.0, COMMON, 7))])
    assert "`worse`" not in _section([*equal, worse]).splitlines()[-1]
    assert _section(equal).endswith("| core | Good ↑ | – | – |")
    assert _section([equal[0], worse]).endswith("| core | Good ↑ | `s0` | `s0` |")
    bare = [_entry(card, n, [Measurement("good", v)]) for n, v in (("a", 0.1), ("b", 0.2))]
    assert _section(bare).endswith("| core | Good ↑ | – | – |"), "without intervals nothing is known"


def test_one_sae_alone_has_no_section(card: Any) -> None:
    assert _section([_entry(card, "a", [measured("good", _noisy(0, COMMON, 1))])]) == ""


def test_the_table_is_written_in_both_forms(workspace: Any, core_result: Any, card: Any) -> None:
    for name, score in (("a", 0.9), ("b", 0.8)):
        workspace.add(core_result(card(name), ce_loss_score=score))
    process_results(workspace.paths, {"core": True})
    frame = pd.read_parquet(workspace.paths.merged / "comparisons.parquet")
    text = (workspace.paths.merged / "comparisons.csv").read_text()
    lines = list(csv.DictReader(io.StringIO(text)))
    assert list(frame.columns) == list(lines[0])
    row = next(line for line in lines if line["column"] == "ce_loss_score")
    assert (row["sae_a"], row["sae_b"], row["difference"], row["method"]) == ("a", "b", "0.1", "none")
    assert row["distinguishable"] == row["ci_low"] == ""


def test_21_saes_take_no_time(card: Any) -> None:
    estimates = [_noisy(0.001 * i, COMMON, i) for i in range(21)]
    entries = [
        _entry(card, f"s{i}", [measured("at_k", estimates[i], {"k": k}) for k in range(1, 101)]) for i in range(21)
    ]
    start = time.process_time()
    comparisons = compare_saes(entries)
    text = table_as_csv(comparisons, Comparison)
    assert len(comparisons) == 100 * 210
    assert time.process_time() - start < 5
    assert len(text) < 7e6


PAIRS, PLACES = 50, (1, 2, 5, 10, 20, 50)


def _core_numbers(rng: np.random.Generator) -> tuple[Estimate, Estimate]:
    """Two SAEs' ratio of sums over 60 sequences that are hard for both; the truths are 2 and 2.1."""
    length, hard = rng.gamma(8.0, size=60), rng.normal(scale=0.5, size=60)
    rows = [length * (truth + hard + rng.normal(scale=0.2, size=60)) for truth in (2.0, 2.1)]
    first, second = (jackknife({"a": a, "b": length}, lambda s: {"r": s["a"] / s["b"]})["r"] for a in rows)
    return first, second


def _probe_numbers(rng: np.random.Generator) -> tuple[Estimate, Estimate]:
    """Two SAEs' accuracy on two mirrored tasks over 400 texts, some hard for both; the truths are 0.85 and 0.8."""
    hard = rng.random(400)
    estimates = []
    for truth in (0.85, 0.8):
        chance = np.clip(truth + 0.2 * (0.5 - hard), 0, 1)
        hits = rng.random(400) < chance
        estimates.append(mean_accuracy([ProbeTest(hits, np.arange(400)), ProbeTest(hits, np.arange(400))]))
    return estimates[0], estimates[1]


def _fill(workspace: Any, card: Any) -> None:
    rng = np.random.default_rng(0)
    for pair in range(PAIRS):
        core = {metric: _core_numbers(rng) for metric in ("mse", "ce_loss_with_sae", "ce_loss_score")}
        probes = {k: _probe_numbers(rng) for k in PLACES}
        for side, name in enumerate(("a", "b")):
            about = card(f"{name}{pair:02}")
            for eval_name, output in (
                ("core", [measured(metric, both[side]) for metric, both in core.items()]),
                ("sparse_probing", [measured("sae_top_k_test_accuracy", e[side], {"k": k}) for k, e in probes.items()]),
            ):
                key = f"{eval_name}-{about['name']}"
                settings: Mapping[str, Any] = {"dataset_names": ["x"], "k_values": list(PLACES)}
                if eval_name == "core":
                    settings = {"dataset": "x", "batch_size": 16, "n_reconstruction_batches": 1}
                    settings |= {"n_sparsity_batches": 1, "context_size": 8}
                    settings |= {"exclude_special_tokens_from_reconstruction": True}
                parts = {"model": {"name": "embedded/lm", "revision": "r", "dtype": "float32"}, "seed": 42}
                workspace.add(Result(key, eval_name, about, settings, parts, EvalOutput(tuple(output))))


def test_intervals_cover_from_the_sums_to_the_tables(workspace: Any, card: Any) -> None:
    """Of numbers with known truths, written, merged and compared: intervals of both kinds hold them about 95 times."""
    _fill(workspace, card)
    process_results(workspace.paths, {"core": True, "sparse_probing": True})
    rows: Any = pd.read_parquet(workspace.paths.merged / "results.parquet")
    columns = columns_of(read_replicates(workspace.paths.merged))
    compared = compare_columns(columns.values())
    pairs: Any = pd.DataFrame(
        compared.get((*column, f"a{pair:02}", f"b{pair:02}")) for column in columns for pair in range(PAIRS)
    )
    in_table: Any = pd.read_parquet(workspace.paths.merged / "comparisons.parquet")
    assert (in_table.groupby(["eval", "column"]).size() == 2 * PAIRS - 1).all(), "of many SAEs those with the best"
    for eval_name, truths in (("core", (2.0, 2.1)), ("sparse_probing", (0.85, 0.8))):
        of_eval = rows[rows["eval"] == eval_name]
        truth = of_eval.sae.str[0].map(dict(zip("ab", truths, strict=True)))
        covered = ((of_eval.ci_low <= truth) & (truth <= of_eval.ci_high)).mean()
        assert 0.92 <= covered <= 0.98, (eval_name, covered)
        apart = pairs[pairs["eval"] == eval_name]
        difference = truths[0] - truths[1]
        covered = ((apart.ci_low <= difference) & (difference <= apart.ci_high)).mean()
        assert 0.91 <= covered <= 0.985, (eval_name, "pairs", covered)
        assert set(apart.method) == {"paired"}
        assert len(apart) == PAIRS * (3 if eval_name == "core" else len(PLACES))
