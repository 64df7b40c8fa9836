"""sae-sensitivity's six CSV files from a result of ours: their columns, and every value that the result holds."""

from __future__ import annotations

import ast
import csv
import io
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from sae_research.errors import UserError
from sae_research.judges import prompts
from sae_research.judges.records import Request
from sae_research.measurements import EvalOutput, Result
from sae_research.results.sensitivity_files import sensitivity_files

# As in the table of files that sae-sensitivity writes (its `generate.py`, `sae_inference.py`, `run.py`).
COLUMNS = {
    "feature_examples.csv": "feature_index, Top_act, Sequence",
    "generation_queries_with_responses.csv": "sae_name, eval_name, feature_index, system_prompt, user_prompt, "
    "separator, num_per_call, llm_response, status",
    "generated_samples.csv": "feature_index, sample_index, text",
    "generated_samples_with_activations.csv": "feature_index, sample_index, text_annotated, text_clean, "
    "tokenized_text, max_activation, all_activations",
    "original_examples_with_activations.csv": "feature_index, Top_act, text_annotated, text_clean, tokenized_text, "
    "max_activation, all_activations",
    "feature_stats.csv": "feature_index, generated_sensitivity, original_sensitivity",
}
JUDGE = {"provider": "openai", "model": "gpt-4o-mini", "server": "http://127.0.0.1"}
SEED, WRITING = 5, {"max_tokens": 1500, "temperature": 1.0, "top_p": 1.0}
EXAMPLES = {
    12: ((("an ", False), ("owl", True), ("\nsat", False)), (("the ", False), ("owl", True))),
    3: ((("=1+", False), ("1", True)), (('2 "and" \'1', True), (", a\rb", False))),
}
TEXTS = {
    12: (
        ("=SUM(A1:A9)", "2 40 41", "0:1.25 1:0.5"),
        ("+an\towl\r\nsat", "2 7 8 9", "1:0.4"),
        ("NA", "2 5", ""),
    )
}


def content(latent: int) -> dict[str, Any]:
    """What the eval keeps of a latent."""
    shown = prompts.render(EXAMPLES[latent])
    request = Request(prompts.writing(EXAMPLES[latent], 11), **WRITING).seeded(SEED)
    read = {"text": "an owl", "tokens": "2 30 31", "token_ends": "2 6", "activations": "1:2.5"}
    originals = read if latent in TEXTS else {}
    return {
        "markers": list(shown.markers),
        "examples": [
            {"shown": text, "peak": peak, **originals} for text, peak in zip(shown.texts, (2.5, 1.5), strict=True)
        ],
        "texts": [
            {"text": text, "tokens": tokens, "token_ends": "", "activations": activations}
            for text, tokens, activations in TEXTS.get(latent, ())
        ],
        "answer": request.digest(JUDGE),
    }


@pytest.fixture
def result() -> Result:
    """Latent 12 has texts, latent 3 none, and latent 8 has no examples."""
    shares = {12: (2 / 3, 1.0), 3: (None, None), 8: (None, None)}
    rows = [{"latent": i, "sensitivity_0": own, "original_0": before} for i, (own, before) in shares.items()]
    output = EvalOutput((), rows, {str(latent): content(latent) for latent in EXAMPLES}, judge={"identity": JUDGE})
    return Result("key", "sensitivity", {"name": "mine"}, {"writing": WRITING}, {"seed": SEED}, output)


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_files_have_the_columns_of_the_program(result: Result) -> None:
    files = sensitivity_files(result, eval_name="run")
    assert {name: ", ".join(next(csv.reader(io.StringIO(text)))) for name, text in files.items()} == COLUMNS


def test_values_are_those_of_the_result(result: Result) -> None:
    files = sensitivity_files(result, eval_name="run")
    examples = read(files["feature_examples.csv"])
    assert [(row["feature_index"], row["Top_act"]) for row in examples] == [
        ("3", "2.5"), ("3", "1.5"), ("12", "2.5"), ("12", "1.5"),
    ]  # fmt: skip
    assert [row["Sequence"] for row in examples] == [
        "=1+<<1>>", "<<2 \"and\" '1>>, a\rb", "an <<owl>>\nsat", "the <<owl>>",
    ]  # fmt: skip
    samples = read(files["generated_samples.csv"])
    assert [(row["feature_index"], row["sample_index"]) for row in samples] == [("12", "0"), ("12", "1"), ("12", "2")]
    assert [row["text"] for row in samples] == ["=SUM(A1:A9)", "+an\towl\r\nsat", "NA"]
    active = read(files["generated_samples_with_activations.csv"])
    assert [row["text_clean"] for row in active] == [row["text_annotated"] for row in active]
    assert [ast.literal_eval(row["tokenized_text"]) for row in active] == [[2, 40, 41], [2, 7, 8, 9], [2, 5]]
    assert [ast.literal_eval(row["all_activations"]) for row in active] == [
        [0.0, 1.25, 0.5], [0.0, 0.0, 0.4, 0.0], [0.0, 0.0],
    ]  # fmt: skip
    assert [float(row["max_activation"]) for row in active] == [1.25, 0.4, 0.0]
    originals = read(files["original_examples_with_activations.csv"])
    assert [(row["feature_index"], row["Top_act"], row["text_clean"]) for row in originals] == [
        ("12", "2.5", "an owl"), ("12", "1.5", "an owl"),
    ]  # fmt: skip
    assert originals[0]["text_annotated"] == "an <<owl>>\nsat"


def test_a_latent_without_texts_has_failed_and_no_values(result: Result) -> None:
    files = sensitivity_files(result, eval_name="run")
    failed, written = read(files["generation_queries_with_responses.csv"])
    assert (failed["status"], failed["llm_response"]) == ("Failed", "")
    assert written["status"] == "Success with gpt-4o-mini"
    assert written["llm_response"] == prompts.SEPARATOR.join(text[0] for text in TEXTS[12])
    assert (written["sae_name"], written["eval_name"], written["num_per_call"]) == ("mine", "run", "10")
    system, user = prompts.writing(EXAMPLES[12], 11)
    assert (written["system_prompt"], written["user_prompt"]) == (system.text, user.text)
    stats = pd.read_csv(io.StringIO(files["feature_stats.csv"]))
    assert stats["feature_index"].tolist() == [3, 12]
    assert stats["generated_sensitivity"].isna().tolist() == [True, False]
    assert stats["generated_sensitivity"][1] == 2 / 3
    assert stats["original_sensitivity"][1] == 1.0


def test_prompts_that_are_not_those_of_the_result_are_not_made_up(result: Result) -> None:
    asked = replace(result, key_parts={"seed": SEED + 1})
    with pytest.raises(UserError, match="the result of mine was made with other prompts than this version's"):
        sensitivity_files(asked, eval_name="run")


def test_a_result_of_another_version_is_called_one(result: Result) -> None:
    old = {latent: {**content, "texts": [{"text": "an owl"}]} for latent, content in result.output.unstructured.items()}
    with pytest.raises(UserError, match=r"the result of mine was written by another version .*'tokens'"):
        sensitivity_files(replace(result, output=replace(result.output, unstructured=old)), eval_name="run")


def test_only_sensitivity_has_these_files(result: Result) -> None:
    with pytest.raises(UserError, match="made from results of sensitivity, not of core"):
        sensitivity_files(replace(result, eval_name="core"), eval_name="run")
