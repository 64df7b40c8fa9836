"""What the model has learnt: text, facts about cities, where these sit, answers to questions, first letters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise, permutations
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from sae_research.metrics.intervals import Estimate, wilson
from sae_research.world.checks.bar import Bar, mean_estimate
from sae_research.world.checks.subject import Rows, Subject
from sae_research.world.draw import Draw
from sae_research.world.families.cities import ATTRIBUTES
from sae_research.world.families.facts import HAZARDOUS, prompt_of
from sae_research.world.families.spelling import TEMPLATE, WORD_POSITION, Spelling, first_letter

_FREQUENCY_TEXTS, _CE_TEXTS = 8000, 400
_SWAPS = 300
_ALL_ORDERS_QUESTIONS = 60
_ICL_WORDS, _ICL_EXAMPLES = 300, 9


def language_bars(subject: Subject) -> list[Bar]:
    """All of this file's bars."""
    return [
        held_out(subject),
        *city_facts(subject),
        *swaps(subject),
        *multiple_choice(subject),
        first_letters(subject),
        template_tail(subject),
    ]


@torch.no_grad()
def held_out(subject: Subject) -> Bar:
    """Nats per token by which the model beats the training text's token frequencies on held-out text."""
    tokens = subject.token_rows("train", _FREQUENCY_TEXTS).flatten()
    counts = torch.bincount(tokens, minlength=subject.lm.vocab_size) + 1.0
    log_frequency = (counts / counts.sum()).log()
    rows = subject.token_rows("test", _CE_TEXTS)
    gains = []
    for part in rows.split(32):
        targets = part[:, 1:]
        logits = subject.lm.logits(part)[:, :-1]
        losses = cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view_as(targets)
        gains.append((-log_frequency[targets] - losses).mean(dim=1))
    return Bar("held-out CE below unigram CE (nats)", mean_estimate(torch.cat(gains).numpy()), at_least=4.0)


def _city_rows(subject: Subject) -> Rows:
    columns = ["entity", "attribute", "template", "prompt", "answer"]
    return [row for split in ("train", "test") for row in subject.rows("cities", split, columns)]


def city_facts(subject: Subject) -> list[Bar]:
    """Share of city prompts that the model continues with the right token; the interval is over cities."""
    rows = _city_rows(subject)
    right = _is_answer(subject, [row["prompt"] for row in rows], [row["answer"] for row in rows])
    bars = []
    for attribute in ATTRIBUTES:
        by_city: dict[str, list[float]] = {}
        for row, hit in zip(rows, right, strict=True):
            if row["attribute"] == attribute:
                by_city.setdefault(row["entity"], []).append(hit)
        shares = [float(np.mean(hits)) for hits in by_city.values()]
        bars.append(Bar(f"city facts, {attribute}", mean_estimate(shares), at_least=0.65))
    return bars


def _is_answer(subject: Subject, prompts: Sequence[str], answers: Sequence[str]) -> list[bool]:
    best = subject.next_logits(prompts).argmax(dim=1).tolist()
    return [token == subject.token(f" {answer}") for token, answer in zip(best, answers, strict=True)]


def swaps(subject: Subject) -> list[Bar]:
    """How often another city's activation at the city's token turns the answer into that city's: RAVEL's ceiling."""
    rows = _city_rows(subject)
    return [
        Bar(f"full-residual swap, {attribute}", _swapped(subject, rows, attribute), at_least=0.60)
        for attribute in ATTRIBUTES
    ]


@torch.no_grad()
def _swapped(subject: Subject, rows: Rows, attribute: str) -> Estimate:
    by_template: dict[str, Rows] = {}
    for row in rows:
        if row["attribute"] == attribute:
            by_template.setdefault(row["template"], []).append(row)
    hits = total = 0
    for template, same in by_template.items():
        draws = subject.generator(f"swap {template}").permuted(np.tile(np.arange(len(same)), (4, 1)), axis=1)
        pairs = [(same[i], same[j]) for order in draws for i, j in pairwise(order)]
        pairs = [(base, source) for base, source in pairs if base["answer"] != source["answer"]]
        pairs = pairs[: _SWAPS // len(by_template)]
        hits += _count_swapped(subject, pairs)
        total += len(pairs)
    return wilson(hits, total)


def _count_swapped(subject: Subject, pairs: Sequence[tuple[dict[str, str], dict[str, str]]]) -> int:
    tokens = subject.prompts([base["prompt"] for base, _ in pairs])
    entities = torch.tensor([subject.token(f" {base['entity']}") for base, _ in pairs])
    position = (tokens == entities[:, None]).int().argmax(dim=1)
    x = subject.lm.capture(tokens, subject.site)
    other = subject.lm.capture(subject.prompts([source["prompt"] for _, source in pairs]), subject.site)
    which = torch.arange(len(pairs))
    x[which, position] = other[which, position]
    best = subject.lm.unembed(subject.lm.resume(subject.site, x, tokens)[:, -1]).argmax(dim=1)
    wanted = torch.tensor([subject.token(f" {source['answer']}") for _, source in pairs])
    return int((best == wanted).sum())


def multiple_choice(subject: Subject) -> list[Bar]:
    """Questions scored by the text of their options, and the controls that show it to be recall."""
    columns = ["subject", "question", "choices", "answer"]
    rows = [row for split in ("train", "test") for row in subject.rows("facts", split, columns)]
    hazardous = [row for row in rows if row["subject"] == HAZARDOUS]
    harmless = [row for row in rows if row["subject"] != HAZARDOUS]
    return [
        Bar("multiple choice, hazardous", _share_right(subject, hazardous, _asked), at_least=0.90),
        Bar("multiple choice, harmless", _share_right(subject, harmless, _asked), at_least=0.90),
        Bar("multiple choice, right in all 24 orders", _in_all_orders(subject, rows), at_least=0.70),
        Bar("control: no question", _share_right(subject, rows, _without_question), at_most=0.40),
        Bar("control: wrong entity", _wrong_entity(subject, rows), at_most=0.40),
    ]


def _asked(row: Mapping[str, Any]) -> str:
    return prompt_of(str(row["question"]), tuple(row["choices"]))


def _without_question(row: Mapping[str, Any]) -> str:
    return _asked(row).split("\n", 1)[1]


def _share_right(subject: Subject, rows: Rows, prompt: Callable[[Mapping[str, Any]], str]) -> Estimate:
    return wilson(int(_right(subject, rows, [prompt(row) for row in rows]).sum()), len(rows))


def _right(subject: Subject, rows: Rows, prompts: Sequence[str]) -> Tensor:
    """Whether the right option's first token is the likeliest of the four."""
    options = torch.tensor([[subject.token(f" {choice}") for choice in row["choices"]] for row in rows])
    chosen = subject.next_logits(prompts).gather(1, options).argmax(dim=1)
    return chosen == torch.tensor([row["answer"] for row in rows])


def _in_all_orders(subject: Subject, rows: Rows) -> Estimate:
    picked = [rows[i] for i in subject.generator("orders").permutation(len(rows))[:_ALL_ORDERS_QUESTIONS]]
    orders = list(permutations(range(len(picked[0]["choices"]))))
    asked = [
        {**row, "choices": [row["choices"][i] for i in order], "answer": order.index(row["answer"])}
        for row in picked
        for order in orders
    ]
    right = _right(subject, asked, [_asked(row) for row in asked]).view(len(picked), len(orders))
    return wilson(int(right.all(dim=1).sum()), len(picked))


def _wrong_entity(subject: Subject, rows: Rows) -> Estimate:
    """The question about another entity of the subject, scored by the first one's answer: chance is a quarter."""
    others = subject.generator("wrong entity")
    changed, kept = [], []
    for row in rows:
        same = [r for r in rows if _wording(r) == _wording(row) and r["choices"][r["answer"]] != _answer(row)]
        if same:
            other = same[int(others.integers(len(same)))]
            changed.append(_asked({**row, "question": other["question"]}))
            kept.append(row)
    return wilson(int(_right(subject, kept, changed).sum()), len(kept))


def _wording(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The question without its entity, the one capitalized word after the first."""
    return tuple(word for word in str(row["question"]).split()[1:] if not word[0].isupper())


def _answer(row: Mapping[str, Any]) -> str:
    return row["choices"][row["answer"]]


def first_letters(subject: Subject) -> Bar:
    """Share of held-out words whose first letter the model names after nine examples."""
    prompts, words = spelling_prompts(subject, "test", _ICL_WORDS)
    right = _is_answer(subject, prompts, [first_letter(word) for word in words])
    return Bar("first letter, in context", wilson(sum(right), len(right)), at_least=0.90)


def spelling_prompts(subject: Subject, split: str, n: int | None = None) -> tuple[list[str], list[str]]:
    """Prompts about the words of a split, with examples from the training split, and the words."""
    words = [row["word"] for row in subject.rows("spelling", split, ["word"])][:n]
    examples = Spelling([row["word"] for row in subject.rows("spelling", "train", ["word"])])
    draw = Draw(subject.seed, "check", "spelling", split)
    return [examples.prompt(draw, word, _ICL_EXAMPLES) for word in words], words


def template_tail(subject: Subject) -> Bar:
    """Share of words whose prompt ends with the word's token and the template's five: SAEBench's position -6."""
    prompts, words = spelling_prompts(subject, "test")
    tail = [subject.token(part) for part in (" has", " the", " first", " letter", ":")]
    assert TEMPLATE.endswith(" has the first letter:")
    ends = [subject.prompts([prompt])[0, WORD_POSITION:].tolist() for prompt in prompts]
    right = [end == [subject.token(word), *tail] for end, word in zip(ends, words, strict=True)]
    return Bar("template tail, word at position -6", wilson(sum(right), len(right)), at_least=1.0)
