"""How a multiple-choice question is put to a model: named formats, or a template of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from string import Formatter, ascii_uppercase

from sae_research.evals.unlearning.questions import Question

_ABOUT = "The following are multiple choice questions (with answers) about {subject}.\n{question}{lettered}"
FORMATS: Mapping[str, str] = {
    "gemma": "<start_of_turn>user\n" + _ABOUT + "<end_of_turn>\n<start_of_turn>model\nAnswer: (",
    "plain": _ABOUT + "\nAnswer:",
    "embedded": "Question: {question}\nOptions: {listed}\nAnswer:",
}
"""`gemma` is what SAEBench asks Gemma's instruct models, `plain` the same without turns, `embedded` what the embedded
model has read. BOS comes before all of them by itself."""
FIELDS = ("subject", "question", "lettered", "listed")
"""What a template may hold in braces: `lettered` is a line `A. option` for each option (with its line break before),
`listed` the options in one line with commas."""


def template_of(prompt_format: str) -> str:
    """The template that a name or a template means; ValueError where it can hold no question."""
    template = FORMATS.get(prompt_format, prompt_format)
    try:
        used = {field for _, field, _, _ in Formatter().parse(template) if field is not None}
    except ValueError as error:
        raise ValueError(f"prompt_format {prompt_format!r}: {error}; double the braces that are text") from error
    if "question" not in used or not used & {"lettered", "listed"} or not used <= set(FIELDS):
        raise ValueError(
            f"prompt_format is {prompt_format!r}, expected {', '.join(FORMATS)}, or a template with {{question}}, "
            f"{{lettered}} or {{listed}}, and no other field than {{subject}}"
        )
    return template


def prompt_of(question: Question, template: str) -> str:
    """The prompt up to where the answer begins, without BOS."""
    return template.format(
        subject=question.spoken_subject,
        question=question.question,
        lettered="".join(f"\n{ascii_uppercase[i]}. {choice}" for i, choice in enumerate(question.choices)),
        listed=", ".join(question.choices),
    )
