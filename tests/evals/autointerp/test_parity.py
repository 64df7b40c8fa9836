"""SAEBench's own parsing and scoring on the windows and answers of a run of ours."""

from __future__ import annotations

import asyncio
import random
import warnings
from typing import Any

import pytest
import torch
from support.outcomes import MakeSae
from support.words import RunAutointerp

from sae_research.judges import prompts
from sae_research.judges.prompts import numbered_texts
from sae_research.judges.replies import Unreadable, read_explanation, read_numbers
from sae_research.results.document import to_document

pytest.importorskip("sae_bench")
with warnings.catch_warnings():
    # SAEBench 0.6.0 declares its validators in a way that pydantic 2.12 deprecates.
    warnings.simplefilter("ignore")
    from sae_bench.evals.autointerp.eval_config import AutoInterpEvalConfig
    from sae_bench.evals.autointerp.eval_output import AutoInterpEvalOutput
    from sae_bench.evals.autointerp.main import AutoInterp, Example, Examples

FORMS = ("{}", "{}.", " {} \n", "{}, and none else", "I say {}")
"""What the judge below makes of its numbers; the last two cannot be read."""


class OneToken:
    """The part of a model that SAEBench's windows ask for: a window is one token here."""

    def __init__(self, texts: list[str]) -> None:
        self._texts = texts

    def to_str_tokens(self, tokens: torch.Tensor) -> list[str]:
        return [self._texts[int(token)] for token in tokens]


class Erratic:
    """A judge that explains by number and answers at random, in several forms; it notes its answers by prompt."""

    def __init__(self) -> None:
        self.said: dict[str, str] = {}
        self._rng = random.Random(0)

    def __call__(self, messages: list[dict[str, str]]) -> str:
        if messages[0]["content"] == prompts.EXPLAIN:
            return f"This unit activates on words like {len(self.said)}."
        asked = messages[1]["content"]
        if asked not in self.said:
            numbers = sorted(self._rng.sample(range(1, 15), self._rng.choice([0, 1, 3, 4, 6])))
            form = self._rng.choice(FORMS[:3] if len(self.said) % 5 else FORMS)
            self.said[asked] = form.format(", ".join(map(str, numbers)) or "None")
        return self.said[asked]


def _sae_bench(rows: list[dict[str, Any]], said: dict[str, str]) -> dict[int, dict[str, Any]]:
    """What SAEBench's whole run makes of these windows, with these answers in place of its requests."""
    config = AutoInterpEvalConfig(n_latents=None, override_latents=[row["latent"] for row in rows])
    run: Any = AutoInterp.__new__(AutoInterp)
    run.cfg, run.latents, run.n_latents = config, config.latents, config.n_latents
    scoring = {}
    for row in rows:
        model: Any = OneToken(row["windows"])
        windows = [Example([i], [float(kind != "silent")], 0.5, model) for i, kind in enumerate(row["kinds"])]
        scoring[row["latent"]] = Examples([])
        scoring[row["latent"]].examples = windows
    run.gather_data = lambda: (scoring, scoring)
    explanations = {tuple(row["windows"]): row["explanation"] for row in rows}
    questions = [(asked, tuple(numbered_texts(asked))) for asked in said]
    answers = {
        windows: said[asked]
        for asked, windows in questions
        if asked.startswith(f"The unit is said to activate on: {explanations.get(windows)}\n")
    }

    def answer(messages: list[dict[str, str]], max_tokens: int) -> tuple[list[str], str]:
        [windows] = [some for some in explanations if all(text in messages[1]["content"] for text in some)]
        if max_tokens == config.max_tokens_in_explanation:
            return [f"This neuron activates on {explanations[windows]}."], ""
        return [answers[windows].strip()], ""

    run.get_api_response = answer
    return asyncio.run(run.run())


def test_scores_of_equal_windows_and_answers_are_equal(autointerp: RunAutointerp, make_sae: MakeSae) -> None:
    judge = Erratic()
    [measured] = autointerp(
        [make_sae("topk", k=6)], caller=judge, negatives="sae_bench", n_latents=20, min_judge_gold=0.0,
        max_unanswered=1.0,
    )  # fmt: skip
    assert measured.result is not None
    output = measured.result.output
    rows = [row for row in output.unstructured.values() if row["windows"]]
    theirs = _sae_bench(rows, judge.said)
    ours = {row["latent"]: row for row in rows if row["score"] is not None}
    assert theirs.keys() == ours.keys() and 10 < len(ours) < len(rows)
    for latent, row in theirs.items():
        for key in ("explanation", "predictions", "correct seqs", "score"):
            assert ours[latent][key] == row[key]
    scores = torch.tensor([row["score"] for row in theirs.values()], dtype=torch.float64)
    values = {m.metric: m.value for m in output.measurements if not m.at}
    assert values["autointerp_score"] == pytest.approx(float(scores.mean()))
    assert values["autointerp_std_dev"] == pytest.approx(float(scores.std()))


@pytest.mark.parametrize("text", ["1, 2, 14", "3.", " 7 ", "1, 2 and 3", "None", "None.", "14", "I think 3", "1; 2"])
def test_answers_are_read_alike(text: str) -> None:
    theirs = AutoInterp.parse_predictions(None, text)  # type: ignore[arg-type]
    try:
        ours = sorted(read_numbers(text, n=14))
    except Unreadable:
        assert theirs is None
    else:
        assert theirs == ours


@pytest.mark.parametrize(("text", "theirs"), [("15", [15]), ("0, 2", [0, 2]), ("1,,2", [1, 2]), ("", [])])
def test_answers_that_sae_bench_takes_and_we_do_not(text: str, theirs: list[int]) -> None:
    """Numbers without a window, gaps, and nothing at all, which counts as 'None' there."""
    assert AutoInterp.parse_predictions(None, text) == theirs  # type: ignore[arg-type]
    with pytest.raises(Unreadable):
        read_numbers(text, n=14)


@pytest.mark.parametrize("text", ["This neuron activates on names of rivers.", "it activates on x", "rivers"])
def test_explanations_are_read_alike(text: str) -> None:
    assert read_explanation(text) == AutoInterp.parse_explanation(None, text)  # type: ignore[arg-type]


@pytest.mark.parametrize("fit", [True, False])
def test_sae_bench_s_class_takes_the_document(fit: bool, autointerp: RunAutointerp, make_sae: MakeSae) -> None:
    from pydantic import TypeAdapter

    [measured] = autointerp([make_sae("topk", k=6)], min_judge_gold=0.9 if fit else 1.0)
    assert measured.result is not None
    document = to_document(measured.result)
    read = TypeAdapter(AutoInterpEvalOutput).validate_python(document)
    [value] = [m.value for m in measured.result.output.measurements if m.metric == "autointerp_score"]
    assert read.eval_result_metrics.autointerp.autointerp_score == pytest.approx(-1 if value is None else value)
    assert read.eval_config.dead_latent_threshold == 15
    assert read.eval_config.llm_context_size == 48
    assert (value is not None) is fit
