"""The page's statistics against SciPy and against our own, its state and its texts."""

from __future__ import annotations

import numpy as np
import pytest
from page.script import evaluate
from scipy.special import ndtr, stdtr, stdtrit

from sae_research.metrics.draws import error_over_draws
from sae_research.metrics.intervals import standard_errors
from sae_research.results.pair_report import holm


def test_student_and_normal_as_scipy_has_them() -> None:
    grid = [(t, d) for t in (0.0, 0.3, 1.7, 2.04, 5.0, 30.0) for d in (1.0, 2.5, 7.31, 31.0, 400.0, 1e5)]
    found = evaluate("a[0].map(([t, d]) => twoSidedP(t, d))", grid)
    assert found == pytest.approx([2 * stdtr(d, -t) for t, d in grid], rel=1e-9)
    ts = [0.0, 0.01, 1.0, 1.96, 4.0, 8.0]
    assert evaluate("a[0].map((t) => twoSidedP(t, Infinity))", ts) == pytest.approx(
        2 * ndtr([-t for t in ts]), rel=1e-9
    )
    levels = [(level, d) for level in (0.05, 0.0123, 1e-6) for d in (1.0, 3.7, 31.0)]
    quantiles = evaluate("a[0].map(([level, d]) => studentQuantile(level, d))", levels)
    assert quantiles == pytest.approx([-stdtrit(d, level / 2) for level, d in levels], rel=1e-9)


def test_errors_as_process_results_has_them() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 32))
    one = evaluate("jackknifeError({ a: a[0], b: a[1] }, 0, 32, 0)", a.tolist(), b.tolist())
    assert one == pytest.approx(float(standard_errors(a - b)), rel=1e-12)
    for spread in (0.0, 0.1, 3.0):
        values, replicates = rng.normal(scale=spread + 1e-9, size=4), rng.normal(size=(4, 16))
        expected = error_over_draws(values, values[:, None] + replicates)
        found = evaluate("errorOverDraws(a[0], a[1])", values.tolist(), replicates.tolist())
        assert (found["error"], found["degrees"]) == pytest.approx(
            (float(expected.standard_error), float(expected.degrees))
        )


def test_holm_and_the_pareto_front() -> None:
    rng = np.random.default_rng(1)
    p = rng.uniform(size=20) ** 3
    assert evaluate("holm(a[0])", p.tolist()) == pytest.approx(holm(p))
    points = [{"x": round(x, 1), "y": round(y, 1)} for x, y in rng.normal(size=(60, 2))]
    for sign_x, sign_y in ((1, 1), (-1, 1), (-1, -1)):
        front = evaluate("paretoFront(a[0], a[1], a[2])", points, sign_x, sign_y)

        def beats(one: dict[str, float], other: dict[str, float], signs: tuple[int, int] = (sign_x, sign_y)) -> bool:
            gains = [sign * (one[axis] - other[axis]) for sign, axis in zip(signs, "xy", strict=True)]
            return min(gains) >= 0 and max(gains) > 0

        expected = {(q["x"], q["y"]) for q in points if not any(beats(other, q) for other in points)}
        assert {(q["x"], q["y"]) for q in front} == expected


def test_a_state_survives_its_hash_whatever_the_names() -> None:
    name = "a&b=c #%\u202e</script> é"
    known = """{
        columns: new Set(['e.x']), orders: new Set(['l0', a[0]]), saes: new Set([a[0]]),
        pins: new Set([a[0]]), labels: new Set([a[0]]),
        sites: new Set(), widths: new Set(['512']), sources: new Set(), runs: new Set(), parts: new Set() }"""
    expression = f"""((known) => {{
        const usual = readState('', known).state;
        const state = {{ ...usual, view: 'compare', pin: [a[0]], label: [a[0]], x: 'e.x', from: '3', text: a[0] }};
        return [state, readState('#' + writeState(state), known)];
    }})({known})"""
    state, read = evaluate(expression, name)
    assert read == {"state": state, "ignored": []}
    ignored = evaluate(f"readState('#view=x&pin=gone&width=7&odd=1&from=abc', {known}).ignored", name)
    assert ignored == ["view “x”", "pin “gone”", "width “7”", "odd", "from “abc”"]


def test_digits_follow_the_interval() -> None:
    cases = [
        (0.912345, 0.0123, "0.912"),
        (0.912345, 0.00123, "0.9123"),
        (123456.7, 210.0, "123,457"),
        (-0.5, 0.2, "−0.50"),
    ]
    numbers = [{"value": value, "below": half, "above": half} for value, half, _ in cases]
    assert evaluate("a[0].map(valueText)", numbers) == [text for *_, text in cases]
    assert evaluate("intervalText({ below: 0.011, above: 0.02 })") == "−0.011 +0.020"
    assert evaluate("a[0].map((x) => plainNumber(x))", [0, 8, 0.91234, 0.0000123]) == ["0", "8", "0.9123", "1.23e−5"]


def test_names_and_cells_are_harmless() -> None:
    assert evaluate("visible(a[0])", "a\u202eb\x00") == "a\\u{202e}b\\u{0}"
    assert evaluate("shortName(a[0], 10)", "x" * 500) == "xxxxxx…xxx"
    cells = ["=1+1", "-x", 'say "hi", you', "plain"]
    assert evaluate("a[0].map(csvCell)", cells) == ["'=1+1", "'-x", '"say ""hi"", you"', "plain"]
