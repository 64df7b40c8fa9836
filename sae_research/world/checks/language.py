"""Bars of the language model: text, facts about cities and where it keeps them, answers to questions, first letters."""

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
from sae_research.world.checks.checked_world import CheckedWorld, TableRows
from sae_research.world.draw import Draw
from sae_research.world.families.cities import ATTRIBUTES
from sae_research.world.families.facts import HAZARDOUS, prompt_of
from sae_research.world.families.spelling import TEMPLATE, WORD_POSITION, Spelling, first_letter

_FREQUENCY_TEXTS, _CE_TEXTS = 8000, 400
_SWAPS = 300
_ALL_ORDERS_QUESTIONS = 60
_ICL_WORDS, _ICL_EXAMPLES = 300, 9


def language_bars(world: CheckedWorld) -> list[Bar]:
    """All of this file's bars."""
    return [
        held_out(world),
        *city_facts(world),
        *swaps(world),
        *multiple_choice(world),
        first_letters(world),
        template_tail(world),
    ]


@torch.no_grad()
def held_out(world: CheckedWorld) -> Bar:
    """How many nats per token the model is better on held-out text than the token frequencies of the training text."""
    tokens = world.token_rows("train", _FREQUENCY_TEXTS).flatten()
    counts = torch.bincount(tokens, minlength=world.lm.vocab_size) + 1.0
    log_frequency = (counts / counts.sum()).log()
    rows = world.token_rows("test", _CE_TEXTS)
    gains = []
    for part in rows.split(32):
        targets = part[:, 1:]
        logits = world.lm.logits(part)[:, :-1]
        losses = cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view_as(targets)
        gains.append((-log_frequency[targets] - losses).mean(dim=1))
    return Bar("held-out CE below unigram CE (nats)", mean_estimate(torch.cat(gains).numpy()), at_least=4.0)


def _city_rows(world: CheckedWorld) -> TableRows:
    columns = ["entity", "attribute", "template", "prompt", "answer"]
    return [row for split in ("train", "test") for row in world.rows("cities", split, columns)]


def city_facts(world: CheckedWorld) -> list[Bar]:
    """Share of city prompts that the model continues with the right token; the interval is over cities."""
    rows = _city_rows(world)
    right = _is_answer(world, [row["prompt"] for row in rows], [row["answer"] for row in rows])
    bars = []
    for attribute in ATTRIBUTES:
        by_city: dict[str, list[float]] = {}
        for row, hit in zip(rows, right, strict=True):
            if row["attribute"] == attribute:
                by_city.setdefault(row["entity"], []).append(hit)
        shares = [float(np.mean(hits)) for hits in by_city.values()]
        bars.append(Bar(f"city facts, {attribute}", mean_estimate(shares), at_least=0.65))
    return bars


def _is_answer(world: CheckedWorld, prompts: Sequence[str], answers: Sequence[str]) -> list[bool]:
    best = world.next_logits(prompts).argmax(dim=1).tolist()
    return [token == world.token(f" {answer}") for token, answer in zip(best, answers, strict=True)]


def swaps(world: CheckedWorld) -> list[Bar]:
    """How often the answer follows when the activation at the city's token is another city's: RAVEL's upper bound."""
    rows = _city_rows(world)
    return [
        Bar(f"full-residual swap, {attribute}", _swapped(world, rows, attribute), at_least=0.60)
        for attribute in ATTRIBUTES
    ]


@torch.no_grad()
def _swapped(world: CheckedWorld, rows: TableRows, attribute: str) -> Estimate:
    by_template: dict[str, TableRows] = {}
    for row in rows:
        if row["attribute"] == attribute:
            by_template.setdefault(row["template"], []).append(row)
    hits = total = 0
    for template, cities in by_template.items():
        draws = world.generator(f"swap {template}").permuted(np.tile(np.arange(len(cities)), (4, 1)), axis=1)
        pairs = [(cities[i], cities[j]) for order in draws for i, j in pairwise(order)]
        pairs = [(base, source) for base, source in pairs if base["answer"] != source["answer"]]
        pairs = pairs[: _SWAPS // len(by_template)]
        hits += _count_swapped(world, pairs)
        total += len(pairs)
    return wilson(hits, total)


def _count_swapped(world: CheckedWorld, pairs: Sequence[tuple[dict[str, str], dict[str, str]]]) -> int:
    tokens = world.prompts([base["prompt"] for base, _ in pairs])
    entities = torch.tensor([world.token(f" {base['entity']}") for base, _ in pairs])
    position = (tokens == entities[:, None]).int().argmax(dim=1)
    x = world.lm.capture(tokens, world.site)
    other = world.lm.capture(world.prompts([source["prompt"] for _, source in pairs]), world.site)
    which = torch.arange(len(pairs))
    x[which, position] = other[which, position]
    best = world.lm.unembed(world.lm.resume(world.site, x, tokens)[:, -1]).argmax(dim=1)
    answers = torch.tensor([world.token(f" {source['answer']}") for _, source in pairs])
    return int((best == answers).sum())


def multiple_choice(world: CheckedWorld) -> list[Bar]:
    """Questions scored by the text of their options, and controls which show that the answers are recalled."""
    columns = ["subject", "question", "choices", "answer"]
    rows = [row for split in ("train", "test") for row in world.rows("facts", split, columns)]
    hazardous = [row for row in rows if row["subject"] == HAZARDOUS]
    harmless = [row for row in rows if row["subject"] != HAZARDOUS]
    return [
        Bar("multiple choice, hazardous", _share_right(world, hazardous, _prompt), at_least=0.90),
        Bar("multiple choice, harmless", _share_right(world, harmless, _prompt), at_least=0.90),
        Bar("multiple choice, right in all 24 orders", _in_all_orders(world, rows), at_least=0.70),
        Bar(
            "control: no question", _share_right(world, rows, lambda row: _prompt(row).split("\n", 1)[1]), at_most=0.40
        ),
        Bar("control: wrong entity", _wrong_entity(world, rows), at_most=0.40),
    ]


def _prompt(row: Mapping[str, Any]) -> str:
    return prompt_of(str(row["question"]), tuple(row["choices"]))


def _share_right(world: CheckedWorld, rows: TableRows, prompt: Callable[[Mapping[str, Any]], str]) -> Estimate:
    return wilson(int(_right(world, rows, [prompt(row) for row in rows]).sum()), len(rows))


def _right(world: CheckedWorld, rows: TableRows, prompts: Sequence[str]) -> Tensor:
    """Whether the right option's first token is the likeliest of the four."""
    options = torch.tensor([[world.token(f" {choice}") for choice in row["choices"]] for row in rows])
    chosen = world.next_logits(prompts).gather(1, options).argmax(dim=1)
    return chosen == torch.tensor([row["answer"] for row in rows])


def _in_all_orders(world: CheckedWorld, rows: TableRows) -> Estimate:
    picked = [rows[i] for i in world.generator("orders").permutation(len(rows))[:_ALL_ORDERS_QUESTIONS]]
    orders = list(permutations(range(len(picked[0]["choices"]))))
    reordered = [
        {**row, "choices": [row["choices"][i] for i in order], "answer": order.index(row["answer"])}
        for row in picked
        for order in orders
    ]
    right = _right(world, reordered, [_prompt(row) for row in reordered]).view(len(picked), len(orders))
    return wilson(int(right.all(dim=1).sum()), len(picked))


def _wrong_entity(world: CheckedWorld, rows: TableRows) -> Estimate:
    """The question about another entity of the subject, scored by the first one's answer: chance is a quarter."""
    generator = world.generator("wrong entity")
    prompts, scored = [], []
    for row in rows:
        others = [r for r in rows if _wording(r) == _wording(row) and r["choices"][r["answer"]] != _answer(row)]
        if others:
            other = others[int(generator.integers(len(others)))]
            prompts.append(_prompt({**row, "question": other["question"]}))
            scored.append(row)
    return wilson(int(_right(world, scored, prompts).sum()), len(scored))


def _wording(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The question without its entity, the one capitalized word after the first."""
    return tuple(word for word in str(row["question"]).split()[1:] if not word[0].isupper())


def _answer(row: Mapping[str, Any]) -> str:
    return row["choices"][row["answer"]]


def first_letters(world: CheckedWorld) -> Bar:
    """Share of held-out words whose first letter the model names after nine examples."""
    prompts, words = spelling_prompts(world, "test", _ICL_WORDS)
    right = _is_answer(world, prompts, [first_letter(word) for word in words])
    return Bar("first letter, in context", wilson(sum(right), len(right)), at_least=0.90)


def spelling_prompts(world: CheckedWorld, split: str, n: int | None = None) -> tuple[list[str], list[str]]:
    """Prompts about the words of a split, with examples from the training split, and the words."""
    words = [row["word"] for row in world.rows("spelling", split, ["word"])][:n]
    examples = Spelling([row["word"] for row in world.rows("spelling", "train", ["word"])])
    draw = Draw(world.seed, "check", "spelling", split)
    return [examples.prompt(draw, word, _ICL_EXAMPLES) for word in words], words


def template_tail(world: CheckedWorld) -> Bar:
    """Share of words whose prompt ends with the word's token and the template's five: SAEBench's position -6."""
    prompts, words = spelling_prompts(world, "test")
    tail = [world.token(part) for part in (" has", " the", " first", " letter", ":")]
    assert TEMPLATE.endswith(" has the first letter:")
    ends = [world.prompts([prompt])[0, WORD_POSITION:].tolist() for prompt in prompts]
    right = [end == [world.token(word), *tail] for end, word in zip(ends, words, strict=True)]
    return Bar("template tail, word at position -6", Estimate(sum(right) / len(right)), at_least=1.0)
