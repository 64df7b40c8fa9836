"""The explorer in a browser: its views by mouse and by keyboard, its numbers, links, colours, hostile names."""

from __future__ import annotations

import csv
import io
import math
import os
import threading
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from page.conftest import Explorer, Visit, drawn, open_view

from sae_research.page.build import write_page
from sae_research.page.run import Run, read_merged
from sae_research.plots.settings import VisualizationSettings
from sae_research.results.comparisons import compare_columns
from sae_research.results.leaders import contenders_of
from sae_research.results.pair_report import compare_pair
from sae_research.results.report_tables import leading_marks
from sae_research.results.rows import read_table

pytestmark = pytest.mark.browser
VIEWS = ("table", "scatter", "compare", "sae", "heatmap", "parts", "latents")
PINS = "pin=topk_0&pin=jumprelu_1"


def _downloaded(page: Any, name: str) -> list[dict[str, str]]:
    """The rows of the CSV that the button of this name saves."""
    with page.expect_download() as download:
        page.get_by_role("button", name=name, exact=True).click()
    return list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8"))))


def _shown(text: str) -> float:
    return float(text.replace("−", "-").replace(",", ""))


def test_every_view_by_mouse_and_its_picture(explorer: Explorer, visit: Visit, tmp_path: Path) -> None:
    """SAE_EXPLORER names another explorer's folder, SAE_SCREENSHOTS where pictures of it are kept."""
    named = os.environ.get("SAE_EXPLORER")
    url = (Path(named).resolve() / "index.html").as_uri() if named else explorer.url
    pictures = Path(os.environ.get("SAE_SCREENSHOTS") or tmp_path)
    page = visit.open(url)
    for pin in page.locator("button.pin").all()[:3]:
        pin.click()
    for view in VIEWS:
        page.locator(f"#views a[data-view={view}]").click()
        page.wait_for_function("view => document.querySelector('main.view-' + view + ' h2')", arg=view)
        assert (
            page.locator("#views a[aria-current]").inner_text()
            == page.locator(f"#views a[data-view={view}]").inner_text()
        )
        page.mouse.move(0, 0)
        # What a view draws when the browser is idle is for pictures that people look at.
        page.wait_for_timeout(400 if "SAE_SCREENSHOTS" in os.environ else 30)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), view
        page.screenshot(path=pictures / f"explorer_{view}.png")
    assert page.locator(".pins li a").count() == 3


def test_the_numbers_of_the_table_are_those_of_the_results(explorer: Explorer, visit: Visit) -> None:
    results: Any = pd.read_csv(
        explorer.merged / "results.csv",
        keep_default_na=False,
        na_values={"value": [""], "ci_low": [""], "ci_high": [""]},
    )
    known = {(row.sae, f"{row.eval}.{row.column}"): row for row in results.itertuples() if row.column}
    columns = list(dict.fromkeys(name for (_, name), row in known.items() if row.headline in (True, "true", "True")))
    page = visit.open(f"{explorer.url}#{'&'.join(f'column={name}' for name in columns)}")
    cells = page.evaluate(
        """() => [...document.querySelectorAll('table.numbers tbody tr')].map((row) => [row.querySelector('a').title,
           ...[...row.querySelectorAll('td.value')].map((cell) =>
             [cell.querySelector('.v')?.textContent ?? '', cell.title])])"""
    )
    compared = 0
    for sae, *of_sae in cells:
        for name, (text, title) in zip(columns, of_sae, strict=True):
            row = known.get((sae, name))
            if row is None or math.isnan(row.value):
                assert text == "" and title == (row.reason if row is not None else "not measured")
                continue
            digits = len(text.partition(".")[2])
            assert _shown(text) == pytest.approx(row.value, abs=0.51 * 10**-digits)
            low, high = (_shown(end) for end in title.partition("[")[2].rstrip("]").split(", "))
            assert (low, high) == pytest.approx((row.ci_low, row.ci_high), abs=0.51 * 10**-digits)
            compared += 1
    assert len(cells) == 10 and compared > 70
    saved = {row["sae"]: row for row in _downloaded(page, "CSV of this table")}
    for (sae, name), row in known.items():
        if name in columns and not math.isnan(row.value):
            assert float(saved[sae][name]) == row.value


def test_best_and_ties_are_those_of_the_report(explorer: Explorer, visit: Visit) -> None:
    rows, columns = read_table(explorer.merged / "results.parquet"), read_merged(explorer.merged, "x").columns
    marks = leading_marks(rows, contenders_of(rows), compare_columns(columns))
    names = [f"{c.eval}.{c.name}" for c in columns if c.spec.headline]
    page = visit.open(f"{explorer.url}#{'&'.join(f'column={name}' for name in names)}")
    page.wait_for_selector(".star")
    starred = page.evaluate(
        """() => [...document.querySelectorAll('table.numbers tbody tr')].flatMap((row) =>
           [...row.querySelectorAll('td.value')].map((cell, i) =>
             [row.querySelector('a').title, i, Boolean(cell.querySelector('.star'))]))"""
    )
    found: dict[str, set[str]] = {name: set() for name in names}
    for sae, place, has_star in starred:
        if has_star:
            found[names[place]].add(sae)
    assert found == {f"{c.eval}.{c.name}": set(marks.everywhere[c.name]) for c in columns if c.spec.headline}
    assert sum(map(len, found.values())) > 5


def test_pinned_pairs_are_those_of_the_comparisons(explorer: Explorer, visit: Visit) -> None:
    pairs: Any = pd.read_parquet(explorer.merged / "comparisons.parquet")
    page = visit.open(f"{explorer.url}#view=compare&set=headline&pin=topk_0&pin=jumprelu_1&pin=ihtp_3&pin=topk_8")
    page.wait_for_selector("table.forest")
    lines = _downloaded(page, "CSV")
    of_pair = {(f"{p.eval}.{p.column}", *sorted((p.sae_a, p.sae_b))): p for p in pairs.itertuples()}
    assert len(lines) == 3 * len({key[0] for key in of_pair if of_pair[key].headline})
    compared = 0
    for line in lines:
        pair = of_pair.get((line["column"], *sorted((line["sae"], line["minus"]))))
        if pair is None:
            assert line["difference"] == ""
            continue
        sign = 1 if pair.sae_a == line["sae"] else -1
        ends = sorted((sign * pair.ci_low, sign * pair.ci_high))
        scale = abs(ends[1] - ends[0])
        numbers = [float(line[name]) for name in ("difference", "ci_low", "ci_high")]
        assert numbers == pytest.approx([sign * pair.difference, *ends], abs=1e-6 * scale)
        assert float(line["p"]) == pytest.approx(pair.p, rel=1e-4)
        better = None if line["verdict"] == "alike" else line["sae"] if line["verdict"] == "better" else line["minus"]
        assert (better, line["method"]) == (pair.better, pair.method)
        compared += 1
    assert compared > 15


def test_what_needs_no_sae_is_compared_like_one(explorer: Explorer, visit: Visit) -> None:
    columns = {column.name: column for column in read_merged(explorer.merged, "x").columns}
    (pair,) = compare_pair(
        [columns["disentanglement_score"]], "topk_0", "baseline:neurons", metrics=[], headline_only=True
    )
    page = visit.open(f"{explorer.url}#column=ravel.disentanglement_score")
    page.get_by_role("button", name="Pin Neurons").click()
    page.get_by_role("button", name="Pin topk_0").click()
    drawn(page, lambda: page.get_by_role("link", name="Compare").click())
    page.wait_for_selector("table.forest")
    (line,) = _downloaded(page, "CSV")
    assert (line["sae"], line["minus"], line["method"]) == ("topk_0", "baseline:neurons", "paired")
    assert [float(line[name]) for name in ("difference", "ci_low", "ci_high")] == pytest.approx(
        [pair.difference, pair.ci_low, pair.ci_high], rel=1e-5
    )
    pins = "pin=topk_0&pin=model:llm_top_k_test_accuracy"
    again = visit.open(f"{explorer.url}#view=compare&column=sparse_probing.sae_top_k_test_accuracy_k1&{pins}")
    again.wait_for_selector("table.forest")
    assert "the model's k best channels" in again.locator("table.forest thead").inner_text()
    assert again.locator(".pins li").count() == 3


def test_filters_sort_and_their_csv(explorer: Explorer, visit: Visit) -> None:
    page = visit.open(explorer.url)
    drawn(page, lambda: page.get_by_placeholder("name or label").fill("topk"))
    assert page.locator(".count").inner_text() == "3 of 10 SAEs"
    drawn(page, lambda: page.get_by_role("button", name="Clear filters").click())
    drawn(page, lambda: page.get_by_label("Controls").select_option("hidden"))
    drawn(page, lambda: page.locator("th.value .sorter", has_text="Cross entropy").click())
    results: Any = pd.read_parquet(explorer.merged / "results.parquet")
    first = results[(results.metric == "ce_loss_increase") & ~results.control]
    order = page.evaluate("[...document.querySelectorAll('table.numbers tbody a')].map((link) => link.title)")
    assert order == list(first.sort_values("value").sae)
    assert page.locator("th[aria-sort]").get_attribute("aria-sort") == "ascending"
    assert [row["sae"] for row in _downloaded(page, "CSV of this table")] == order


def test_a_link_gives_the_same_page_and_back_works(explorer: Explorer, visit: Visit) -> None:
    page = visit.open(f"{explorer.url}#view=parts&metric=absorption.absorption_fraction_score.letter&{PINS}")
    page.wait_for_selector("table.parts")
    drawn(page, lambda: page.get_by_role("link", name="Scatter").click())
    drawn(page, lambda: page.get_by_label("Vertical").select_option("core.explained_variance"))
    again = visit.open(page.url)
    text = "document.querySelector('main').textContent"
    page.wait_for_selector(".multiple")
    again.wait_for_selector(".multiple")
    assert again.evaluate(text) == page.evaluate(text)
    drawn(page, lambda: page.go_back())
    assert page.locator("main h2").inner_text() == "Absorption fraction by letter (lower is better)"
    drawn(page, lambda: page.go_forward())
    assert page.locator("main h2").inner_text() == "Metric against metric"
    broken = visit.open(f"{explorer.url}#view=nothing&pin=who&x=no.column&{PINS}")
    assert "view “nothing”, pin “who”, x “no.column”" in broken.locator("#notice").inner_text()
    assert broken.locator(".pins li a").count() == 2


def test_by_keyboard_alone_to_a_pinned_comparison(explorer: Explorer, visit: Visit) -> None:
    page = visit.open(f"{explorer.url}#view=scatter")

    def tab_to(selector: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                return
        raise AssertionError(selector)

    tab_to(".stage")
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    spoken = page.locator("#live").inner_text()
    assert "L0" in spoken and "[" in spoken
    page.keyboard.press("Enter")
    assert page.locator(".pins li a").count() == 1
    tab_to(".stage")
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    assert page.locator(".pins li a").count() == 2
    page.locator("#copy-link").focus()
    tab_to("[data-view=compare]")
    page.keyboard.press("Enter")
    page.wait_for_selector("table.forest")
    tab_to(".view-head button")
    with page.expect_download():
        page.keyboard.press("Enter")


def test_latents_by_link_by_words_and_by_keyboard(explorer: Explorer, visit: Visit) -> None:
    page = visit.open(f"{explorer.url}#view=latents&sae=topk_0&latent=3")
    page.wait_for_selector(".windows")
    assert page.locator(".latent-detail h3").inner_text() == "Latent 3"
    assert "0.5000" in page.locator(".notes").inner_text(), "a value without an interval"
    tokens = page.locator(".windows").first.locator(".token").all_inner_texts()
    assert [text.strip() for text in tokens] == ["the", "news", "", "</b>", "\\u{202e}abc"]
    window = page.locator(".window").first
    assert [window.locator(f".token.{name}").count() for name in ("fires", "fires-below", "centre")] == [1, 1, 1]
    window.focus()
    for spoken in ("␣the: 0", "␣news: 4", "↵: −2"):
        page.keyboard.press("ArrowRight")
        assert page.locator("#live").inner_text().startswith(spoken)
    drawn(page, lambda: page.get_by_role("link", name="40").click())
    assert "words for <b>weather</b>" in page.locator(".notes").inner_text()
    assert "no text was written" in page.locator(".notes").inner_text()
    drawn(page, lambda: page.get_by_placeholder("explanation, token or index").fill("letter A"))
    assert page.locator(".latent-list li").all_inner_texts() == ["3 first letter a, 1 of 2"]
    drawn(page, lambda: page.get_by_placeholder("explanation, token or index").fill(""))
    page.get_by_role("listbox").focus()
    drawn(page, lambda: page.keyboard.press("ArrowUp"))
    assert "Silent" in page.locator(".latent-detail").inner_text()
    assert "latent=8" in page.url


def test_numbers_lead_to_the_latents_behind_them(explorer: Explorer, visit: Visit) -> None:
    page = visit.open(f"{explorer.url}#view=parts&metric=absorption.absorption_fraction_score.letter")
    page.wait_for_selector("table.noted")
    row = page.locator("table.noted tbody tr")
    assert row.inner_text().split("\t")[0] == "letter = a"
    drawn(page, lambda: page.locator("table.parts td a").click())
    assert page.locator(".latent-detail h3").inner_text() == "Latent 3"
    drawn(page, lambda: page.go_back())
    drawn(page, lambda: page.locator("table.noted a").click())
    assert "view=latents" in page.url and "latent=3" in page.url
    page = visit.open(f"{explorer.url}#view=latents&sae=topk_0&densefrom=0.0001&denseto=0.1&latentsort=density")
    page.wait_for_selector(".latent-list li")
    assert [text.split()[0] for text in page.locator(".latent-list li").all_inner_texts()] == ["3"]
    drawn(page, lambda: page.get_by_label("Density from").fill("0.2") or page.keyboard.press("Enter"))
    assert "No latent" in page.locator(".latent-detail").inner_text()


def test_a_chart_has_its_numbers_as_a_table(explorer: Explorer, visit: Visit) -> None:
    page = visit.open(f"{explorer.url}#view=scatter&text=topk")
    page.locator("summary", has_text="As a table").click()
    table = page.get_by_role("table")
    assert table.locator("tbody tr").count() == 3
    drawn(page, lambda: page.get_by_placeholder("name or label").fill("topk_0"))
    assert table.locator("tbody tr").count() == 1
    drawn(page, lambda: page.get_by_role("link", name="Heat map").click())
    drawn(page, lambda: page.get_by_role("button", name="As a table").click())
    assert page.locator("table.numbers tbody tr").count() == 1 and "column=" in page.url


@pytest.mark.parametrize(
    ("scheme", "rules"), [("light", {}), ("dark", {"runOnly": {"type": "rule", "values": ["color-contrast"]}})]
)
def test_axe_finds_nothing_in_any_view(explorer: Explorer, visit: Visit, scheme: str, rules: dict[str, Any]) -> None:
    """In the dark scheme only colours differ."""
    page = visit.open(f"{explorer.url}#{PINS}", color_scheme=scheme)
    found = []
    for view in VIEWS:
        open_view(page, view)
        result = Axe().run(page, options=rules).response
        assert result["passes"], "axe has looked at something"
        for violation in result["violations"]:
            nodes = [node["html"][:120] for node in violation["nodes"][:3]]
            found.append((view, violation["id"], violation["impact"], nodes))
    assert found == []


def test_charts_are_saved_as_pictures_that_hold_what_is_shown(explorer: Explorer, visit: Visit) -> None:
    page = visit.open(f"{explorer.url}#{PINS}")
    for view, least in (("scatter", 10), ("heatmap", 50)):
        open_view(page, view)
        with page.expect_download() as download:
            page.get_by_role("button", name="SVG").click()
        picture = ElementTree.parse(download.value.path()).getroot()
        shapes = [node for node in picture.iter() if node.tag.rpartition("}")[2] in ("path", "rect", "circle")]
        assert len(shapes) >= least and "var(" not in "".join(shapes[0].attrib.values())
        assert any("topk_0" in (node.text or "") for node in picture.iter())


def test_a_narrow_window_and_print_lose_nothing(explorer: Explorer, visit: Visit, tmp_path: Path) -> None:
    page = visit.open(explorer.url, viewport={"width": 360, "height": 700})
    for view in VIEWS:
        open_view(page, view)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), view
    page.locator("#views a[data-view=table]").click()
    page.emulate_media(media="print")
    assert not page.locator("#filters").is_visible()
    assert page.locator("table.numbers tbody tr").count() == 10


def test_the_loopback_server_serves_it_too(explorer: Explorer, visit: Visit) -> None:
    handler = partial(_Silent, directory=str(explorer.folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        page = visit.open(f"http://127.0.0.1:{server.server_port}/#view=compare&{PINS}", offline=False)
        page.wait_for_selector("table.forest")
        assert visit.complaints == []
        fetched = "fetch('/index.html').then(() => 'fetched', () => 'refused')"
        assert page.evaluate(fetched) == "refused", "the page's own policy forbids it"
        visit.complaints.clear()
    finally:
        server.shutdown()
        server.server_close()
    assert any(url.endswith("/data/replicates-core.js") for url in visit.requests)


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/favicon.ico":
            self.send_response(204)
            self.end_headers()
            return
        super().do_GET()


HOSTILE = {
    "script": "</script><script>alert(1)</script><img src=x onerror=alert(2)>",
    "direction": "safe\u202egpj.exe\u2066 \u061c",
    "control": "bell\x07 null\x00 line\u2028 \x1b[31m \x85",
    "formula": '=HYPERLINK("http://127.0.0.1/","x") {{DATA}} ${x} \'"`',
    "long": "ab\U0001f9ec" * 3400,
    "other": "مرحبا 日本語 \U0001f468\u200d\U0001f469\u200d\U0001f467",
}


def test_hostile_names_are_shown_as_text_and_run_nothing(explorer: Explorer, visit: Visit, tmp_path: Path) -> None:
    run = read_merged(explorer.merged, HOSTILE["script"])
    write_page([_renamed(run)], tmp_path / "explorer", VisualizationSettings(), scratch=tmp_path / "scratch")
    page = visit.open((tmp_path / "explorer" / "index.html").as_uri())
    names = page.evaluate("[...document.querySelectorAll('table.numbers tbody a')].map((link) => link.textContent)")
    assert any("</script>" in name for name in names) and "safe\\u{202e}gpj.exe\\u{2066} \\u{61c}" in names
    assert all(len(name) <= 60 for name in names)
    for pin in page.locator("button.pin").all()[:6]:
        pin.click()
    for view in VIEWS[:-1]:
        open_view(page, view)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), view
    again = visit.open(page.url)
    assert again.locator(".pins li a").count() == 6
    assert page.evaluate("document.querySelectorAll('img').length") == 0
    page.locator("#views a[data-view=table]").click()
    saved = [row["sae"] for row in _downloaded(page, "CSV of this table")]
    assert f"'{HOSTILE['formula']}" in saved


def _renamed(run: Run) -> Run:
    """The run with hostile names in place of those of its first SAEs, reasons and titles too."""
    from dataclasses import replace

    old = list(dict.fromkeys(row.sae for row in run.rows))
    names = dict(zip(old, HOSTILE.values(), strict=False))

    def renamed(by_name: Mapping[str, Any]) -> dict[str, Any]:
        return {names.get(name, name): content for name, content in by_name.items()}

    rows = [
        replace(row, sae=names.get(row.sae, row.sae), label=HOSTILE["control"] if row.sae == old[0] else row.label,
                reason=row.reason and HOSTILE["script"], title=row.title and f"{row.title} {HOSTILE['script']}")
        for row in run.rows
    ]  # fmt: skip
    columns = [
        replace(c, measured=renamed(c.measured), seeds=renamed(c.seeds), seed_replicates=renamed(c.seed_replicates))
        for c in run.columns
    ]
    saes = [
        {
            **sae,
            "name": names.get(sae["name"], sae["name"]),
            "card": {**sae["card"], "model_name": HOSTILE["direction"]},
        }
        for sae in run.document["saes"]
    ]
    return replace(run, rows=rows, columns=columns, document={"saes": saes}, health=None)


def test_one_sae_and_none_are_pages_too(explorer: Explorer, visit: Visit, tmp_path: Path) -> None:
    run = read_merged(explorer.merged, "one")
    alone = [row for row in run.rows if row.sae == "topk_0"]
    for name, rows in (("one", alone), ("none", [])):
        one = Run(
            name, rows, {"saes": [sae for sae in run.document["saes"] if sae["name"] == "topk_0"] if rows else []}
        )
        write_page([one], tmp_path / name, VisualizationSettings(), scratch=tmp_path / "scratch")
        page = visit.open((tmp_path / name / "index.html").as_uri())
        for view in VIEWS[:-1]:
            open_view(page, view)
            assert page.locator("main h2").count() == 1
        assert not page.locator("#notice").is_visible()
