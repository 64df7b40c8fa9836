"""A small world of results, its explorer, and a browser that fails a test on anything it complains about."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from support.workspace import Workspace, make_card, make_core, make_probing

from benchmarks.browser import HOW_TO_GET_ONE, find_browser, open_browser
from sae_research.measurements import EvalOutput, Measurement, Result, Table, measured
from sae_research.metrics.intervals import jackknife
from sae_research.page.build import PAGE_FILE, write_page
from sae_research.page.run import read_merged
from sae_research.pipeline.stages.process_results import process_results
from sae_research.plots.settings import VisualizationSettings
from sae_research.results.latent_notes import NOTES_FILE, NoteRow
from sae_research.results.rows import table_as_parquet

LABELS = ("topk", "jumprelu", "relu", "ihtp")
GROUPS, LETTERS = 20, "abcd"
METRICS = ("ce_loss_score", "explained_variance", "ce_loss_increase", "mse")


class Explorer(NamedTuple):
    """An explorer with the results that it was written from."""

    merged: Path
    folder: Path

    @property
    def url(self) -> str:
        return (self.folder / PAGE_FILE).as_uri()


def numbers(rng: np.random.Generator, common: np.ndarray, level: float) -> Any:
    """An estimate with replicates over the same units as every other one made from `common`."""
    values = level + 0.05 * common + rng.normal(scale=0.02, size=common.shape)
    return jackknife({"x": values}, lambda sums: {"mean": sums["x"] / len(values)})["mean"]


def fill(workspace: Workspace) -> None:
    """Ten SAEs: two are controls, two interpolate, one failed an eval; numbers, parts, missing ones."""
    rng = np.random.default_rng(0)
    common = rng.normal(size=40)
    for place in range(10):
        label = LABELS[place % 4]
        control = {"control": True, "label": f"{label} on random atoms"} if place > 7 else {}
        card = make_card(f"{label}_{place}", label, model_name="embedded/lm", d_sae=512 * (1 + place % 2), **control)
        level = 0.9 - (0.3 if control else 0.004 * place)
        core = make_core(card, l0=4.0 * 1.4**place, interpolates={3: 0.9, 7: 0.1}.get(place, 0.0))
        kept = [m for m in core.output.measurements if m.metric not in METRICS]
        found = [measured(metric, numbers(rng, common, level)) for metric in METRICS[:2]]
        found += [measured(metric, numbers(rng, common, 1 - level)) for metric in METRICS[2:]]
        workspace.add(replace(core, output=EvalOutput((*found, *kept))))
        if place == 5:
            workspace.fail("sparse_probing", f"{label}_{place}", "out of memory <b>&")
        else:
            workspace.add(_probing(card, rng, common, level))
        workspace.add(_absorption(card, rng, common, place))
        workspace.add(_ravel(card, common, level, place))


TOKENS = [" the", " news", "\n", "</b>", "\u202eabc", "\ufffd", " word", " end"]


def dashboards(card: Any) -> Result:
    """Of three latents: one fires with both signs, one is dead, one has an explanation."""
    windows = np.full((3, 2, 5), -1, dtype=np.int32)
    windows[0] = [[0, 1, 2, 3, 4], [1, 6, 7, -1, -1]]
    windows[2, 0] = [6, 7, 5, 0, 1]
    codes = np.zeros(windows.shape, dtype=np.float32)
    codes[0, 0, 1:3], codes[0, 1, 0], codes[2, 0, 1] = (4.0, -2.0), 1.0, 3.0
    logits = np.tile(np.array([0, 1], dtype=np.int32), (3, 1))
    table = {
        "latent": np.array([3, 8, 40], dtype=np.int32),
        "fired": np.array([5, 0, 2000], dtype=np.int32),
        "density": np.array([0.0005, 0.0, 0.2]),
        "largest": np.array([4.0, 0.0, 3.0], dtype=np.float32),
        "least": np.array([-2.0, 0.0, 0.0], dtype=np.float32),
        "histogram": np.array([[1, 0, 4], [0, 0, 0], [1500, 400, 100]], dtype=np.int32),
        "window_kind": np.array([[0, 1], [-1, -1], [0, -1]], dtype=np.int8),
        "window_row": np.zeros((3, 2), dtype=np.int32),
        "window_start": np.zeros((3, 2), dtype=np.int32),
        "window_centre": np.array([[1, 0], [-1, -1], [1, -1]], dtype=np.int8),
        "window_tokens": windows.reshape(3, -1),
        "window_codes": codes.reshape(3, -1),
        "neighbour": np.array([[40, 7], [3, 7], [3, -1]], dtype=np.int32),
        "neighbour_cosine": np.array([[0.5, 0.25], [0.1, 0.0], [0.5, -1]], dtype=np.float32),
        "promoted": logits,
        "promoted_by": np.array([[2.0, 1.0]] * 3, dtype=np.float32),
        "suppressed": logits + 2,
        "suppressed_by": np.array([[-1.0, -0.5]] * 3, dtype=np.float32),
    }
    tokens = {"token": np.arange(len(TOKENS), dtype=np.int32), "text": np.array(TOKENS, dtype=object)}
    output = EvalOutput(
        (),
        unstructured={"tokens_read": 10000, "no_logits": None},
        tables={"latents": Table(table), "tokens": Table(tokens)},
    )
    settings = {"dataset": "embedded/text", "split": "test", "n_quantiles": 2}
    return Result("dashboards", "dashboards", card, settings, make_core(card).key_parts, output)


NOTES = [
    NoteRow("topk_0", "autointerp", 40, "explanation", "words for <b>weather</b>", 0.81, 0.7, 0.9, None, "{}"),
    NoteRow("topk_0", "core", 3, "among the rarest", None, 0.5, None, None, None, "{}"),
    NoteRow("topk_0", "sensitivity", 40, "sensitivity", None, None, None, None, "no text was written", "{}"),
    NoteRow(
        "topk_0", "absorption", 3, "split latent", "first letter a, 1 of 2", None, None, None, None, '{"letter": "a"}'
    ),
]


def _probing(card: Any, rng: np.random.Generator, common: np.ndarray, level: float) -> Result:
    ks = (1, 2, 5)
    result = make_probing(card, ks)
    others = [m for m in result.output.measurements if m.metric != "sae_top_k_test_accuracy" or "dataset" in m.at]
    found = [measured("sae_top_k_test_accuracy", numbers(rng, common, level + 0.01 * k), {"k": k}) for k in ks]
    return replace(result, output=EvalOutput((*found, *others)))


def _absorption(card: Any, rng: np.random.Generator, common: np.ndarray, place: int) -> Result:
    mean = "mean_absorption_fraction_score"
    missing = Measurement(mean, None, "the probe detects 0 letters; 5 are needed")
    first = missing if place in (2, 6) else measured(mean, numbers(rng, common, 0.2 + 0.02 * place))
    letters = [
        measured("absorption_fraction_score", numbers(rng, common, 0.1 + 0.1 * i), {"letter": letter})
        for i, letter in enumerate(LETTERS)
    ]
    core = make_core(card)
    output = EvalOutput((first, *letters))
    return Result(f"absorption-{card['name']}", "absorption", card, {"max_k_value": 10}, core.key_parts, output)


def _ravel(card: Any, common: np.ndarray, level: float, place: int) -> Result:
    """A number with that of the model's neurons, which all SAEs of the site come with."""
    score, neurons = "disentanglement_score", numbers(np.random.default_rng(1), common, 0.7)
    measurements = (
        measured(score, numbers(np.random.default_rng(2 + place), common, level - 0.1)),
        measured(f"baseline_{score}", neurons, {"baseline": "neurons"}),
    )
    core = make_core(card)
    return Result(f"ravel-{card['name']}", "ravel", card, {}, core.key_parts, EvalOutput(measurements))


ENABLED = {"core": True, "sparse_probing": True, "absorption": True, "ravel": True}


@pytest.fixture(scope="session")
def explorer(tmp_path_factory: pytest.TempPathFactory) -> Explorer:
    """The explorer of the small world; its folder has spaces and an umlaut in its path."""
    root = tmp_path_factory.mktemp("results")
    workspace = Workspace(root)
    fill(workspace)
    process_results(workspace.paths, ENABLED)
    workspace.add(dashboards(make_card("topk_0")))
    (workspace.paths.merged / NOTES_FILE).write_bytes(table_as_parquet(NOTES, NoteRow))
    folder = tmp_path_factory.mktemp("moved") / "für Ärzte 100 %" / "explorer"
    write_page(
        [read_merged(workspace.paths.merged, "small")], folder, VisualizationSettings(), scratch=root / "scratch"
    )
    return Explorer(workspace.paths.merged, folder)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """One browser for all tests; without one they are skipped, or fail where SAE_REQUIRE_BROWSER is set."""
    path = find_browser()
    if path is None and os.environ.get("SAE_REQUIRE_BROWSER"):
        pytest.fail(HOW_TO_GET_ONE)
    if path is None:
        pytest.skip(HOW_TO_GET_ONE)
    with open_browser(path) as opened:
        yield opened


class Visit:
    """Pages of a browser without a network, all of whose complaints are kept."""

    def __init__(self, browser: Any) -> None:
        self._browser = browser
        self._contexts: list[Any] = []
        self.complaints: list[str] = []
        self.requests: list[str] = []

    def open(self, url: str, *, offline: bool = True, **options: Any) -> Any:
        """A page in a context of its own, once it has drawn something."""
        context = self._browser.new_context(offline=offline, **{"viewport": {"width": 1280, "height": 900}, **options})
        context.set_default_timeout(30000)
        self._contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))
        page.on("requestfinished", lambda request: self.requests.append(request.url))
        page.goto(url)
        page.wait_for_selector("body[data-drawn]")
        return page

    def close(self) -> None:
        for context in self._contexts:
            context.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Visit]:
    """Opens pages; the test fails where a page complains, or fetches what is not its own."""
    visit = Visit(browser)
    yield visit
    visit.close()
    assert visit.complaints == []
    assert [url for url in visit.requests if not url.startswith(("file:", "blob:", "http://127.0.0.1:"))] == []


def drawn(page: Any, act: Any) -> None:
    """Does something that redraws the page, and waits until it has.

    A condition must be a function: the page's policy lets Playwright evaluate a bare expression once, then no more.
    """
    before = page.evaluate("document.body.dataset.drawn")
    act()
    page.wait_for_function("before => document.body.dataset.drawn !== before", arg=before)


def open_view(page: Any, view: str) -> None:
    """Clicks on a view's name, and waits until it is drawn."""
    drawn(page, lambda: page.locator(f"#views a[data-view={view}]").click())
