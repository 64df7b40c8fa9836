"""Questions of both layouts, corpora, and how a question is put."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sae_research.errors import UserError
from sae_research.evals.unlearning.corpora import Corpus, corpus_files, load_corpus
from sae_research.evals.unlearning.prompt_formats import prompt_of, template_of
from sae_research.evals.unlearning.questions import Question, QuestionSource, load_questions
from sae_research.sources.hub import Hub

QUESTION = Question("human_aging", "What ages?", ("wine", "iron", "light", "time"), 0)


def write(path: Path, columns: dict[str, list[Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def table(n: int, **more: list[Any]) -> dict[str, list[Any]]:
    return {
        "question": [f"q{i}" for i in range(n)],
        "choices": [["a", "b"]] * n,
        "answer": [i % 2 for i in range(n)],
    } | more


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    sets = tmp_path / "datasets"
    for split, n in (("train", 3), ("test", 4)):
        rows = table(n, subject=["poison" if i % 2 else "birds" for i in range(n)])
        write(sets / "facts" / "data" / f"{split}-00000-of-00001.parquet", rows)
    for subject, n in (("wmdp-bio", 9), ("human_aging", 5)):
        write(sets / "mmlu" / subject / "test-00000-of-00001.parquet", table(n))
    (sets / "papers").mkdir()
    lines = [{"text": "x" * n} for n in (10, 60, 51, 50)]
    (sets / "papers" / "bio.jsonl").write_text("\n\n".join(map(json.dumps, lines)))
    return Hub(tmp_path)


def test_a_subject_column_keeps_the_data_sets_own_split(hub: Hub) -> None:
    halves = load_questions(hub, QuestionSource("embedded/facts", ("poison",)), seed=0)
    assert [q.question for q in halves.select] == ["q1"]
    assert [q.question for q in halves.report] == ["q1", "q3"]


def test_a_configuration_per_subject_is_divided_at_random_but_always_alike(hub: Hub) -> None:
    source = QuestionSource("embedded/mmlu", ("wmdp-bio", "human_aging"))
    halves = load_questions(hub, source, seed=0)
    assert (len(halves.select), len(halves.report)) == (4 + 2, 5 + 3)
    assert {q.subject for q in halves.select} == {"wmdp-bio", "human_aging"}
    every = [(q.subject, q.question) for half in halves for q in half]
    assert len(set(every)) == 14
    assert load_questions(hub, source, seed=0) == halves != load_questions(hub, source, seed=1)


def test_a_data_set_that_names_entities_is_divided_by_entity(hub: Hub) -> None:
    """Three questions about each of five poisons, one of them in the train split: none both chooses and reports."""
    entities = [f"p{i // 3}" for i in range(15)]
    for split, places in (("train", [0, 3, 6, 9, 12]), ("test", [i for i in range(15) if i % 3])):
        rows = {name: [column[i] for i in places] for name, column in table(15, entity=entities).items()}
        rows["subject"] = ["poison"] * len(places)
        write(hub.world / "datasets" / "toxins" / "data" / f"{split}-0.parquet", rows)
    source = QuestionSource("embedded/toxins", ("poison",))
    halves = load_questions(hub, source, seed=0)
    select, report = ({q.entity for q in half} for half in halves)
    assert (len(select), len(report)) == (2, 3)
    assert not select & report
    assert (len(halves.select), len(halves.report)) == (6, 9)
    others = [{q.entity for q in load_questions(hub, source, seed=seed).select} for seed in range(1, 6)]
    assert any(other != select for other in others), "the seed draws the entities"


def test_an_unknown_subject_lists_those_that_there_are(hub: Hub) -> None:
    with pytest.raises(UserError, match=r"no subject 'fish'; it has: birds, data, poison"):
        load_questions(hub, QuestionSource("embedded/facts", ("fish",)), seed=0)
    with pytest.raises(ValueError, match="none twice"):
        QuestionSource("embedded/facts", ("a", "a"))


def test_an_answer_beyond_the_choices_is_refused(hub: Hub) -> None:
    write(hub.world / "datasets" / "bad" / "x" / "test-0.parquet", table(1) | {"answer": [2]})
    with pytest.raises(UserError, match="2 choices, its answer is 2"):
        load_questions(hub, QuestionSource("embedded/bad", ("x",)), seed=0)


def test_a_corpus_of_json_lines(hub: Hub) -> None:
    corpus = Corpus("embedded/papers", file="bio.jsonl")
    assert [len(text) for text in load_corpus(hub, corpus, shortest=50)] == [60, 51]
    assert corpus_files(hub, corpus).revision.startswith("sha256:")
    before = corpus_files(hub, corpus).revision
    (hub.world / "datasets" / "papers" / "bio.jsonl").write_text('{"words": "none"}')
    assert corpus_files(hub, corpus).revision != before
    with pytest.raises(UserError, match=r"line 1: expected a JSON object with the key 'text'"):
        load_corpus(hub, corpus, shortest=50)
    with pytest.raises(UserError, match=r"corpus file 'c.jsonl': .*bio.jsonl"):
        load_corpus(hub, Corpus("embedded/papers", file="c.jsonl"), shortest=50)
    with pytest.raises(ValueError, match=r"ends in \.jsonl"):
        Corpus("embedded/papers", file="bio.csv")


def test_a_corpus_of_parquet_without_texts_long_enough(hub: Hub) -> None:
    corpus = Corpus("embedded/mmlu", config="wmdp-bio", split="test", column="question")
    assert len(load_corpus(hub, corpus, shortest=0)) == 9
    with pytest.raises(UserError, match="no text of more than 50"):
        load_corpus(hub, corpus, shortest=50)


def test_options_in_another_order_keep_their_right_one() -> None:
    turned = QUESTION.in_order((3, 1, 0, 2))
    assert turned.choices == ("time", "iron", "wine", "light")
    assert turned.choices[turned.answer] == "wine"


def test_prompts_by_name_and_by_template() -> None:
    assert prompt_of(QUESTION, template_of("plain")) == (
        "The following are multiple choice questions (with answers) about human aging.\n"
        "What ages?\nA. wine\nB. iron\nC. light\nD. time\nAnswer:"
    )
    assert prompt_of(QUESTION, template_of("embedded")) == (
        "Question: What ages?\nOptions: wine, iron, light, time\nAnswer:"
    )
    own = template_of("{{}} {question} {listed}")
    assert prompt_of(QUESTION._replace(question="{x}"), own) == "{} {x} wine, iron, light, time"


@pytest.mark.parametrize(
    "bad", ["gema", "{question}", "{lettered}", "{question} {listed} {answer}", "{question {listed}"]
)
def test_a_template_that_can_hold_no_question_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="prompt_format"):
        template_of(bad)
