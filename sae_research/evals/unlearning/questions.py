"""Multiple-choice questions by subject: the embedded world's, WMDP's, MMLU's, or others in one of their layouts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sae_research.data.draw import draw
from sae_research.data.tables import column_names, read_files, split_files
from sae_research.errors import UserError
from sae_research.sources.hub import Hub

_COLUMNS = ("question", "choices", "answer")
_ENTITY = "entity"
_SUBJECT_NAMES = {"wmdp-bio": "biology", "wmdp-cyber": "cyber security", "wmdp-chem": "chemistry"}
"""Names of subjects in SAEBench's prompts, where they differ from the subject's id."""


@dataclass(frozen=True)
class QuestionSource:
    """The questions of some subjects of one data set."""

    dataset: str
    """A hub id, a local folder, or `embedded/<name>`. Either each subject is a configuration with a test split
    (`cais/mmlu`), or there is a train and a test split with a column `subject` (`embedded/facts`)."""
    subjects: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.subjects or len(set(self.subjects)) != len(self.subjects):
            raise ValueError(f"subjects is {list(self.subjects)}, expected at least one, and none twice")


class Question(NamedTuple):
    """One question; `answer` is the index of the right option in `choices`."""

    subject: str
    question: str
    choices: tuple[str, ...]
    answer: int
    entity: str | None = None
    """What it asks about, where the data set says so: questions about one entity are known, and forgotten, together."""

    @property
    def subject_name(self) -> str:
        """The subject in words."""
        return _SUBJECT_NAMES.get(self.subject, self.subject.replace("_", " "))

    def in_order(self, order: Sequence[int]) -> Question:
        """The same question with its options in this order."""
        return self._replace(choices=tuple(self.choices[i] for i in order), answer=tuple(order).index(self.answer))


class Halves(NamedTuple):
    """Questions to choose settings on, and questions to report."""

    select: list[Question]
    report: list[Question]


def load_questions(hub: Hub, source: QuestionSource, *, seed: int) -> Halves:
    """The questions of all subjects, in two halves.

    Where the data set names each question's entity: two random halves of the entities (by `seed`). Else the train and
    the test split, or two random halves of the questions of a test split.
    """
    names = hub.dataset_files(source.dataset, lambda name: name.endswith(".parquet")).names
    configs = {name.partition("/")[0] for name in names if "/" in name}
    if set(source.subjects) <= configs:
        parts = [_divided(hub, source.dataset, subject, seed) for subject in source.subjects]
    else:
        parts = [_by_column(hub, source, configs, seed)]
    return Halves([q for halves in parts for q in halves.select], [q for halves in parts for q in halves.report])


def _divided(hub: Hub, dataset: str, subject: str, seed: int) -> Halves:
    rows = read_files(split_files(hub, dataset, "test", config=subject), _COLUMNS)
    questions = [_question(dataset, subject, *row) for row in rows]
    order = draw([str(i) for i in range(len(questions))], len(questions), "questions", dataset, subject, seed)
    first = {int(i) for i in order[: len(order) // 2]}
    return Halves(
        [q for i, q in enumerate(questions) if i in first], [q for i, q in enumerate(questions) if i not in first]
    )


def _by_column(hub: Hub, source: QuestionSource, configs: set[str], seed: int) -> Halves:
    halves: list[list[Question]] = []
    present: set[str] = set()
    for split in ("train", "test"):
        files = split_files(hub, source.dataset, split)
        entity = [_ENTITY] if _ENTITY in column_names(files.fetch(files.names[0])) else []
        rows = list(read_files(files, ["subject", *_COLUMNS, *entity]))
        present |= {row[0] for row in rows}
        halves.append([_question(source.dataset, *row) for row in rows if row[0] in source.subjects])
    absent = [subject for subject in source.subjects if subject not in present]
    if absent:
        known = ", ".join(sorted(present | configs)[:20])
        raise UserError(f"data set {source.dataset!r} has no subject {', '.join(map(repr, absent))}; it has: {known}")
    questions = [question for half in halves for question in half]
    if any(question.entity is None for question in questions):
        return Halves(*halves)
    entities = {
        subject: dict.fromkeys(q.entity for q in questions if q.subject == subject) for subject in source.subjects
    }
    first = {
        (subject, entity)
        for subject, names in entities.items()
        for entity in draw([str(n) for n in names], len(names) // 2, "entities", source.dataset, subject, seed)
    }
    return Halves(
        [q for q in questions if (q.subject, q.entity) in first],
        [q for q in questions if (q.subject, q.entity) not in first],
    )


def _question(
    dataset: str, subject: str, question: str, choices: Sequence[str], answer: int, entity: str | None = None
) -> Question:
    if not 0 <= answer < len(choices):
        raise UserError(f"data set {dataset!r}: {question!r} has {len(choices)} choices, its answer is {answer}")
    return Question(subject, question, tuple(choices), int(answer), entity)
