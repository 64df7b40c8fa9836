"""SAEBench's published results as a source of examples, on files of their layout that `tabulate` writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support import words
from support.outcomes import MakeSae
from support.words import RunSensitivity
from tabulate import tabulate

from sae_research.errors import UserError
from sae_research.evals.sensitivity.eval import data
from sae_research.evals.sensitivity.published_files import parse_log, parse_marks
from sae_research.sources.hub import Hub

EXAMPLES = (
    (51.3291, "to avoid<< bank>> fees from credit<< card>><< machines>>. He"),
    (47.2, "first line↵<<second>>"),
    (9.0, "a │ b<< c>>"),
    (0.5, "<<all>>"),
)


def _log(examples: Any = EXAMPLES, explanation: str = "numbers 12 │ 13") -> str:
    """As SAEBench writes it: prompts in a grid with wrapped cells, then a table of examples, twice."""
    prompts = [["system", "We study neurons. " * 12], ["user", "1. x<< y>>\n2. z"], ["assistant", explanation]]
    grid = tabulate(prompts, tablefmt="simple_grid", maxcolwidths=[None, 120])
    table = tabulate(examples, headers=["Top act", "Sequence"], tablefmt="simple_outline", floatfmt=".3f")
    scored = [(value, "Y", "", text.replace("<<", "").replace(">>", "")) for value, text in examples]
    headers = ["Top act", "Active?", "Predicted?", "Sequence"]
    second = tabulate(scored, headers=headers, tablefmt="simple_outline", floatfmt=".3f")
    return f"Generation phase\n{grid}\n{table}\nScoring phase\n{grid}\n{second}"


def test_the_examples_of_a_log_are_its_first_table() -> None:
    examples = parse_log(_log())
    assert [example.activation for example in examples] == [51.329, 47.2, 9.0, 0.5]
    assert [example.text for example in examples] == [
        (("to avoid", False), (" bank", True), (" fees from credit", False), (" card machines", True), (". He", False)),
        (("first line\n", False), ("second", True)),
        (("a │ b", False), (" c", True)),
        (("all", True),),
    ]


@pytest.mark.parametrize("log", ["", "Scoring phase", "Generation phase\nnothing", _log(examples=())])
def test_a_log_without_a_table_has_no_examples(log: str) -> None:
    assert parse_log(log) == []


def test_marks_that_are_none_stay_text() -> None:
    assert parse_marks("x >> y << z") == (("x >> y << z", False),)
    assert parse_marks("") == ()


def _write(folder: Path, latents: dict[str, Any], name: str = "a_eval_results.json") -> None:
    folder.mkdir(exist_ok=True)
    document = {"eval_type_id": "autointerp", "eval_result_unstructured": latents}
    (folder / name).write_text(json.dumps(document), encoding="utf-8")


def _entry(first_word: int) -> dict[str, Any]:
    rows = [(9.0 - i, f"{words.WORDS[40 + i]}<< {words.WORDS[first_word]}>> {words.WORDS[i]}") for i in range(8)]
    return {"latent": 0, "explanation": "x", "score": 1.0, "logs": _log(rows)}


def test_published_examples_are_what_the_judge_sees(
    sensitivity: RunSensitivity, make_sae: MakeSae, tmp_path: Path
) -> None:
    saes = [make_sae("topk", k=6), make_sae("topk", name="other", k=2)]
    _write(tmp_path / "files", {**{str(i): _entry(i) for i in (3, 5, 8, 9)}, "11": {"latent": 11}})
    named = {"topk": "a_eval_results.json"}
    one, other = sensitivity(
        saes, examples="published", published=str(tmp_path / "files"), published_files=named, n_latents=20
    )
    assert one.result is not None, one.error
    rows = {row["latent"]: row for row in one.result.output.details}
    assert set(rows) == {3, 5, 8, 9, 11}
    assert rows[11]["reason"] == "0 examples in the published file, needed 2"
    assert all(rows[i]["density"] is None and rows[i]["largest_activation"] == 9.0 for i in (3, 5, 8, 9))
    content = one.result.output.unstructured["5"]
    assert content["examples"][0]["shown"] == f"{words.WORDS[40]}<< {words.WORDS[5]}>> {words.WORDS[0]}"
    assert content["examples"][0]["peak"] == 9.0
    values = {(m.metric, *m.at.values()): m for m in one.result.output.measurements}
    assert values["sensitivity", 0].value is not None
    assert values["sensitivity_by_density",].reason == "the published examples do not tell how dense the latents are"
    assert isinstance(other.error, UserError) and "names no file with examples of SAE 'other'" in str(other.error)


@pytest.mark.parametrize(
    ("latents", "message"),
    [({}, "has no eval_result_unstructured"), ({"48": {}}, "expected latents from 0 to 47"), ({"x": {}}, "'x'")],
)
def test_files_of_another_sae_or_kind_are_refused(
    sensitivity: RunSensitivity, make_sae: MakeSae, tmp_path: Path, latents: dict[str, Any], message: str
) -> None:
    _write(tmp_path / "files", latents)
    named = {"topk": "a_eval_results.json"}
    [measured] = sensitivity(
        [make_sae("topk", k=6)], examples="published", published=str(tmp_path / "files"), published_files=named
    )
    assert isinstance(measured.error, UserError) and message in str(measured.error)


def test_the_files_are_part_of_what_determines_the_numbers(tmp_path: Path) -> None:
    import dataclasses

    _write(tmp_path / "files", {"3": _entry(3)})
    settings = dataclasses.replace(
        words.SENSITIVITY, examples="published", published=str(tmp_path / "files"),
        published_files={"topk": "a_eval_results.json"},
    )  # fmt: skip
    [published] = [one for one in data(settings) if one.field == "published"]
    before = published.revision(Hub(tmp_path))
    _write(tmp_path / "files", {"3": _entry(4)})
    assert published.revision(Hub(tmp_path)) != before
    wrong = dataclasses.replace(settings, published_files={"topk": "b.json"})
    with pytest.raises(UserError, match=r"no file or folder 'b.json'"):
        data(wrong)[-1].revision(Hub(tmp_path))
    assert len(data(words.SENSITIVITY)) == 2
