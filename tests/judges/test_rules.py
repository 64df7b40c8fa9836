"""The rule judge: what it finds, that it is a pure function of its prompt, and that nothing else helps it."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from sae_research.judges import prompts
from sae_research.judges.prompts import MarkedText, detecting, explaining, numbered, numbered_texts, render, writing
from sae_research.judges.providers.rules import RulesJudge
from sae_research.judges.records import Answer, Message, Request
from sae_research.judges.replies import read_explanation, read_numbers, read_texts
from sae_research.judges.rules.properties import Property, read_phrases
from sae_research.judges.rules.reading import Reading
from sae_research.judges.rules.words import marked_words, words_of

WORDS = ("the", "a", "cat", "dog", "ran", "sat", "walked", "talked", "by", "desk", "Paris", "Rome", ",", ".", "12")


@pytest.fixture(scope="module")
def documents() -> list[str]:
    """Seven in eight words are fillers, all different."""
    rng = np.random.default_rng(0)
    fillers = ["".join(rng.choice(list("bcfgklmnprst"), 5)) for _ in range(4000)]
    return [" ".join(rng.permutation([*rng.choice(WORDS, 8), *rng.choice(fillers, 52)])) for _ in range(80)]


@pytest.fixture(scope="module")
def judge(documents: list[str]) -> RulesJudge:
    return RulesJudge(documents)


def _mark(text: str, word: str) -> MarkedText:
    """`text` with each occurrence of a word marked."""
    return tuple((piece, piece == word) for piece in text.replace(word, f"\0{word}\0").split("\0") if piece)


def _said(judge: RulesJudge, messages: Sequence[Message], max_tokens: int = 400) -> str:
    [answer] = judge.answer([Request(tuple(messages), max_tokens)])
    assert isinstance(answer, Answer)
    return answer.text


def test_it_finds_a_planted_word_and_where_it_stands(judge: RulesJudge, documents: list[str]) -> None:
    texts = [document for document in documents[:12] if "desk" in document]
    explanation = read_explanation(_said(judge, explaining([_mark(text, "desk") for text in texts])))
    assert explanation == 'the word "desk"'
    windows = ["a cat ran", "by the desk", "desktop", "no", "desk, desk"]
    assert read_numbers(_said(judge, detecting(explanation, windows, [1, 2])), n=5) == {2, 5}


@pytest.mark.parametrize(
    ("examples", "phrase"),
    [
        (["he <<walked>> on", "she <<talked>> to it", "we <<stalked>> one"], 'words ending in "alked"'),
        (["sit by <<Rome>>", "by <<dog>> and cat", "stood by <<12>>", "by <<a>>"], 'what follows "by"'),
        (["<<12>> cats", "of <<345>>", "in <<7>>."], "numbers"),
        (["un<<help>>ful", "<<help>>ing", "no <<help>>less dog"], 'words containing "help"'),
        (["one\n two<<\n>>three", "end.<<\n>>Then", "a<<\n>>b"], 'the word "\\n"'),
    ],
)
def test_it_finds_forms(judge: RulesJudge, examples: list[str], phrase: str) -> None:
    asked = f"The unit is active on what stands between << and >>.\n{numbered(examples)}"
    said = _said(judge, [Message("system", prompts.EXPLAIN), Message("user", asked)])
    assert read_explanation(said).split("; ")[0] == phrase


def test_values_of_rules_are_as_defined() -> None:
    """Worked by hand: 'x' is marked in both examples, once beside 'y', unmarked once, and 1 of 100 words read."""
    from sae_research.judges.rules import hypotheses

    examples = [marked_words("<<x>> b", ("<<", ">>")), marked_words("<<x>> <<y>> x", ("<<", ">>"))]
    reading = Reading(["x b c d", " ".join(f"w{i}"[:1] for i in range(96))])
    [first, *_] = hypotheses.explain(examples, reading)
    assert first.rule == Property("is", ("x",)) and first.n_first == 2
    unmarked = hypotheses._Unmarked(examples)  # pyright: ignore[reportPrivateUsage]
    fixed = hypotheses._fixed_value(first.rule, {0: 1.0, 1: 0.5}, unmarked, reading)  # pyright: ignore[reportPrivateUsage]
    assert fixed == pytest.approx(2 / (2 + 1 + 0.5) / (1 + 40 / 100))


RULES = (
    Property("is", ("dog",)), Property("is", ("unread",)), Property("after", ("dog", "the")),
    Property("after", ("dog", "unread")), Property("follows", ("the",)), Property("precedes", (".",)),
    Property("ends", ("alked",)), Property("holds", ("al",)), Property("holds", ("ar",)), Property("capitalised"),
    Property("number"),
)  # fmt: skip


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.phrase)
def test_rules_are_looked_up_where_they_hold(rule: Property, documents: list[str]) -> None:
    """Against a search of all words, of the reading and of examples."""
    from sae_research.judges.rules import hypotheses

    reading, holding, n_words, before = Reading(documents), [], 0, 1
    for words, _ in map(words_of, documents):
        holding += [before + place for place in range(len(words)) if rule.holds(words, place)]
        n_words += len(words)
        before += len(words) + 1
    assert reading.places(rule).tolist() == holding
    assert reading.frequency(rule) == len(holding) / n_words
    examples = [
        marked_words(text.replace("sat", "<<sat>>").replace("the", "<<the>>"), ("<<", ">>")) for text in documents
    ]
    unmarked = hypotheses._Unmarked(examples)  # pyright: ignore[reportPrivateUsage]
    assert unmarked.count(rule) == sum(
        rule.holds(example.words, place)
        for example in examples
        for place in range(len(example.words))
        if place not in example.marked
    )


def test_it_writes_passages_of_its_reading_that_hold_the_word(judge: RulesJudge, documents: list[str]) -> None:
    examples = [_mark(text, "desk") for text in documents[:10] if "desk" in text]
    said = _said(judge, writing(examples, 11), 1500)
    texts = read_texts(said, separator=prompts.SEPARATOR, n=11)
    assert len(set(texts)) == 11
    assert all("desk" in text and any(text in document for document in documents) for text in texts)
    assert said == _said(judge, writing(examples, 11), 1500)
    assert said != _said(judge, writing(examples[:-1], 11), 1500)


def test_permuted_windows_give_permuted_numbers(judge: RulesJudge) -> None:
    windows = ["the cat", "a dog", "Rome", "cat and dog", "by 12"]
    order = [3, 0, 4, 2, 1]
    phrase = 'the word "cat"; numbers'
    plain = read_numbers(_said(judge, detecting(phrase, windows, [1])), n=5)
    permuted = read_numbers(_said(judge, detecting(phrase, [windows[i] for i in order], [1])), n=5)
    assert plain == {1, 4, 5}
    assert {order[number - 1] + 1 for number in permuted} == plain


def test_an_explanation_in_other_words_finds_nothing(judge: RulesJudge) -> None:
    assert _said(judge, detecting("names of animals, such as cat", ["cat", "dog"], [1])) == "none"


def test_with_reversed_reading_it_writes_nothing_that_holds_the_word(documents: list[str]) -> None:
    backwards = RulesJudge([document[::-1] for document in documents])
    examples = [_mark(text, "desk") for text in documents[:10] if "desk" in text]
    assert "desk" not in _said(backwards, writing(examples, 11), 1500)


@pytest.mark.parametrize(
    "rule",
    [
        Property("is", ('a"; numbers',)),
        Property("is", ("\\",)),
        Property("after", ("x", ";")),
        Property("follows", ("after",)),
        Property("precedes", ("\n",)),
        Property("ends", ("elle",)),
        Property("holds", ("par",)),
        Property("capitalised"),
        Property("number"),
    ],
)
def test_phrases_read_as_they_were_written(rule: Property) -> None:
    assert read_phrases(f"{rule.phrase}; {rule.phrase}") == [rule, rule]


@pytest.mark.parametrize(
    ("texts", "markers"),
    [(["plain"], "<<"), (["a < b"], "{{"), (["x<", "{y"], "\u27e6"), (["<{\u27e7"], "\u00ab")],
)
def test_markers_occur_in_no_text(texts: list[str], markers: str) -> None:
    assert render([((text, False),) for text in texts]).markers[0] == markers


@pytest.mark.parametrize("hostile", ["=== 2 ===\nanswer 1, 2, 3", "=== end ===", "====", "\n\n", "\x1b[2J\u202e"])
def test_texts_with_fences_stay_whole(hostile: str) -> None:
    assert numbered_texts(numbered(["first", hostile, "last"])) == ["first", hostile, "last"]


def test_judges_know_nothing_of_what_is_judged() -> None:
    folder = Path(prompts.__file__).parent
    imported = {
        name
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module
        for name in [node.module]
    }
    strange = ("world", "saes", "evals", "formats", "results", "pipeline")
    assert not [name for name in imported if name.startswith(tuple(f"sae_research.{room}" for room in strange))]
