"""The explorer with many SAEs: how large it is, and how long a browser takes over what people do in it.

    python -m benchmarks.explorer [--saes 500] [--columns 100] [--keep DIR]

Prints a Markdown table of medians over three fresh pages. The SAEs are made up, with 32 replicates in every column. A
time ends when the browser has drawn the next frame after the change. Beside it stands what the page's main thread
computed in that time: on a machine that others use too, the time itself says little.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.browser import HOW_TO_GET_ONE, find_browser, open_browser
from sae_research.measurements import Measurement, MetricSpec
from sae_research.metrics.intervals import estimate
from sae_research.page.build import PAGE_FILE, write_page
from sae_research.page.run import Run
from sae_research.plots.settings import VisualizationSettings
from sae_research.results.columns import Column
from sae_research.results.rows import Row

RUNS, GROUPS, EVALS = 3, 32, ("core", "sparse_probing", "absorption", "ravel")
LABELS = ("topk", "jumprelu", "gated", "batchtopk", "relu", "mpsae")

_DRAWN = """async () => {
  const frame = () => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve, 0)));
  await frame();
  const start = performance.now();
  %s;
  await frame();
  return performance.now() - start;
}"""
_SEARCH = (
    "const box = document.querySelector('input[type=search]'); box.value = '%s'; box.dispatchEvent(new Event('input'))"
)
STEPS = {
    "sort by a column": "document.querySelectorAll('th.value .sorter')[%d].click()",
    "filter by text": _SEARCH.replace("%s", "topk %d"),
    "clear the filter": _SEARCH.replace("%s", ""),
    "open the scatter plot": "document.querySelector('[data-view=scatter]').click()",
    "choose an axis": "const axis = document.querySelectorAll('.controls select')[2];"
    " axis.selectedIndex = %d + 3; axis.dispatchEvent(new Event('change'))",
    "filter the scatter plot": _SEARCH.replace("%s", "gated %d"),
    "open the heat map": "document.querySelector('[data-view=heatmap]').click()",
}


def synthetic_run(saes: int, columns: int, seed: int = 0) -> Run:
    """A run of made-up SAEs with as many headline columns, all with replicates."""
    rng = np.random.default_rng(seed)
    l0 = np.exp(rng.uniform(np.log(5), np.log(300), saes))
    names = [f"{LABELS[i % len(LABELS)]}_{i:04}" for i in range(saes)]
    abouts = [_about(names[i], LABELS[i % len(LABELS)], float(l0[i]), 1024 * 2 ** (i % 4)) for i in range(saes)]
    rows = [_row(about, "core", "l0", about["l0"], headline=False) for about in abouts]
    of_columns = []
    for place in range(columns):
        eval_name = EVALS[place * len(EVALS) // columns]
        spec = MetricSpec(
            f"metric_{place}", "", "", "higher" if place % 3 else "lower", f"Metric {place}", headline=True
        )
        truth = 0.5 + 0.08 * np.log(l0 / 40) * rng.normal() + rng.normal(scale=0.02, size=saes)
        common = rng.normal(scale=0.004, size=GROUPS)
        column = Column(eval_name, spec.name, spec, "{}")
        for sae, about in enumerate(abouts):
            replicates = truth[sae] + common + rng.normal(scale=0.002, size=GROUPS)
            number = estimate(float(truth[sae]), replicates)
            column.measured[names[sae]] = Measurement(spec.name, *number[:1], None, *number[1:3], {}, number.replicates)
            rows.append(_row(about, eval_name, spec.name, number.value, number.low, number.high, spec=spec))
        of_columns.append(column)
    cells = {name: {"state": "done", "key": "0" * 64, "settings": {"rows": 100}} for name in EVALS}
    document = {
        "saes": [
            {"name": name, "source": "computed", "card": {"model_name": "made/up"}, "evals": cells} for name in names
        ]
    }
    return Run("synthetic", rows, document, of_columns)


def _about(name: str, label: str, l0: float, d_sae: int) -> dict[str, Any]:
    return {
        "sae": name, "architecture": label, "label": label, "control": False, "source": "computed", "baseline": None,
        "d_in": 512, "d_sae": d_sae, "hook_name": "blocks.4.hook_resid_post", "layer": 4, "l0": l0, "interpolates": 0.0,
    }  # fmt: skip


def _row(
    about: dict[str, Any],
    eval_name: str,
    metric: str,
    value: float,
    low: float | None = None,
    high: float | None = None,
    *,
    spec: MetricSpec | None = None,
    headline: bool = True,
) -> Row:
    return Row(
        **about, eval=eval_name, metric=metric, at="{}", value=value, reason=None, ci_low=low, ci_high=high, unit="",
        direction=spec.direction if spec else "lower", title=spec.title if spec else "L0", headline=headline,
        column=metric,
    )  # fmt: skip


class Times(NamedTuple):
    """Milliseconds of a step, one for each of the runs."""

    wall: list[float]
    computing: list[float]


def time_page(browser: Any, page_file: Path) -> dict[str, Times]:
    """The times of each step."""
    times = {step: Times([], []) for step in ("first picture", *STEPS)}
    for turn in range(RUNS):
        context = browser.new_context(offline=True, viewport={"width": 1440, "height": 900})
        page = context.new_page()
        session = context.new_cdp_session(page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        page.goto(page_file.as_uri())
        page.wait_for_function("performance.getEntriesByName('first picture').length")
        times["first picture"].wall.append(page.evaluate("performance.getEntriesByName('first picture')[0].startTime"))
        times["first picture"].computing.append(_computed(session))
        # What the page does by itself after its first picture is not what is timed next.
        page.wait_for_timeout(1500)
        for step, act in STEPS.items():
            before = _computed(session)
            times[step].wall.append(page.evaluate(_DRAWN.replace("%s", act.replace("%d", str(turn + 1)))))
            times[step].computing.append(_computed(session) - before)
            page.wait_for_timeout(700)
        context.close()
    return times


def _computed(session: Any) -> float:
    """Milliseconds that the page's main thread has computed so far."""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return 1000 * next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--saes", type=int, default=500)
    parser.add_argument("--columns", type=int, default=100)
    parser.add_argument("--keep", type=Path, help="a folder to leave the page in")
    parsed = parser.parse_args(arguments)
    path = find_browser()
    if path is None:
        sys.exit(HOW_TO_GET_ONE)
    with tempfile.TemporaryDirectory() as scratch, open_browser(path) as browser:
        folder = (parsed.keep or Path(scratch) / "explorer").resolve()
        run = synthetic_run(parsed.saes, parsed.columns)
        start = time.perf_counter()
        write_page([run], folder, VisualizationSettings(), scratch=Path(scratch))
        seconds = time.perf_counter() - start
        times = time_page(browser, folder / PAGE_FILE)
        size = (folder / PAGE_FILE).stat().st_size
        print(f"{parsed.saes} SAEs, {parsed.columns} columns; Chromium {browser.version}; written in {seconds:.0f} s")
        print(f"index.html: {size / 1e6:.2f} MB\n")
        print("| step | ms, median of three | computing | all |\n|---|--:|--:|---|")
        for step, (wall, computing) in times.items():
            middle, cpu = statistics.median(wall), statistics.median(computing)
            print(f"| {step} | {middle:.0f} | {cpu:.0f} | {', '.join(f'{ms:.0f}' for ms in wall)} |")
        print(f"\nLoad of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
