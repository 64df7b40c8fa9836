"""Token rows, labelled texts, pairs, questions and prompts of random words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from sae_research.data.labelled import LabelledSet
from sae_research.data.paired import PairPool
from sae_research.evals.base import EvalContext
from sae_research.evals.ravel.entities import EntityPrompt
from sae_research.evals.unlearning.measure import UnlearningInputs
from sae_research.evals.unlearning.questions import Question
from sae_research.evals.unlearning.report import QuestionSet
from sae_research.evals.unlearning.settings import UnlearningSettings
from sae_research.lm.model import LanguageModel
from sae_research.lm.tokens import bos_id

# Words of a text in the first, second, ... data set: as in biographies, reviews, news. Half of the positions of rows
# padded to 128 tokens are then padding, as in SAEBench's own sets (between 30 and 60 %).
WORDS = ((40, 120), (16, 112), (30, 70))
ATTRIBUTES = ("first", "second", "third")
"""Of the entities in RAVEL's prompts."""


def random_rows(
    lm: LanguageModel, n: int, *, context_size: int, seed: int, special: bool = True
) -> Int[Tensor, "n context"]:
    """Rows that begin with BOS and hold another about every 60 tokens, as running text of short documents does.

    Without `special` they hold ordinary tokens only.
    """
    generator = torch.Generator().manual_seed(seed)
    ids = _words(lm)
    # Zipf frequencies as in text, so that probabilities and latents are uneven.
    weights = 1 / torch.arange(10, len(ids) + 10, dtype=torch.float64)
    rows = ids[torch.multinomial(weights, n * context_size, replacement=True, generator=generator)]
    rows = rows.view(n, context_size)
    if not special:
        return rows
    bos = bos_id(lm.tokenizer)
    rows[torch.rand(rows.shape, generator=generator) < 1 / 60] = bos
    rows[:, 0] = bos
    return rows


def random_sets(
    lm: LanguageModel,
    n_sets: int,
    n_classes: int,
    *,
    train: int,
    test: int,
    seed: int,
    lengths: Sequence[tuple[int, int]] = WORDS,
) -> list[LabelledSet]:
    """Labelled texts in which each class prefers words of its own.

    `lengths` are the shortest and longest text in words, cycled over the data sets; readers cut texts to 128 tokens.
    """
    generator = torch.Generator().manual_seed(seed)
    ids = _words(lm)

    def texts(first: int, n: int, shortest: int, longest: int) -> list[str]:
        made = []
        for length in torch.randint(shortest, longest + 1, (n,), generator=generator).tolist():
            words = torch.randint(0, len(ids), (length,), generator=generator)
            of_class = torch.randint(first, first + 10, (length,), generator=generator) % len(ids)
            chosen = torch.where(torch.rand(length, generator=generator) < 0.06, of_class, words)
            made.append(str(lm.tokenizer.decode(ids[chosen].tolist())))
        return made

    sets = []
    for index in range(n_sets):
        firsts = {str(c): 15 * (n_classes * index + c) for c in range(n_classes)}
        halves = [
            {name: texts(first, n, *lengths[index % len(lengths)]) for name, first in firsts.items()}
            for n in (train, test)
        ]
        sets.append(LabelledSet(f"set{index}", "none", halves[0], halves[1], codes={name: name for name in firsts}))
    return sets


def random_questions(lm: LanguageModel, subject: str, n: int, *, seed: int) -> list[Question]:
    """Questions of 30 words with four options of one word each."""
    generator = torch.Generator().manual_seed(seed)
    ids = _words(lm)
    made = []
    for _ in range(n):
        chosen = ids[torch.randperm(len(ids), generator=generator)[:34]].tolist()
        words = [str(lm.tokenizer.decode([i])).strip() for i in chosen]
        answer = int(torch.randint(4, (1,), generator=generator))
        made.append(Question(subject, " ".join(words[:30]), tuple(words[30:]), answer))
    return made


def random_pools(lm: LanguageModel, n: int, *, train: int, test: int, seed: int) -> list[PairPool]:
    """`n` data sets of one pair each, of random texts; a quadrant prefers words of its own."""
    pools = []
    for drawn in random_sets(lm, n, 4, train=2 * train + 1, test=2 * test + 1, seed=seed):
        splits = [
            {"a": {"m": texts["0"], "f": texts["1"]}, "b": {"m": texts["2"], "f": texts["3"]}}
            for texts in (dict(drawn.train), dict(drawn.test))
        ]
        pools.append(PairPool(drawn.name, ("m", "f"), (("a", "b"),), *splits))
    return pools


def random_unlearning_inputs(
    context: EvalContext, settings: UnlearningSettings, *, hazardous: int = 240, harmless: int = 400
) -> UnlearningInputs:
    """Rows of tokens for both corpora, and so many questions of each kind."""
    lm, seed = context.lm, context.seed
    forget, retain = (random_rows(lm, 100, context_size=settings.context_size, seed=seed + i) for i in range(2))
    asked = random_questions(lm, "hazardous", hazardous, seed=seed)
    asked += random_questions(lm, "harmless", harmless, seed=seed + 1)
    yes = np.ones(len(asked), dtype=bool)
    is_forget = np.array([q.subject == "hazardous" for q in asked])
    return UnlearningInputs(forget, retain, QuestionSet(asked, is_forget, yes, yes))


@torch.no_grad()
def random_prompts(lm: LanguageModel, *, seed: int, entities: int = 96, templates: int = 4) -> list[EntityPrompt]:
    """Prompts of random words about random words; the label is the word with which the model continues."""
    generator = torch.Generator().manual_seed(seed)
    words = torch.randperm(len(lm.tokenizer) - 4, generator=generator)[:600].add(4).tolist()
    cities, filling = words[:entities], words[entities:]
    prompts: list[EntityPrompt] = []
    for attribute in ATTRIBUTES:
        for _ in range(templates):
            before, after = (
                [filling[i] for i in torch.randint(0, len(filling), (n,), generator=generator).tolist()] for n in (3, 5)
            )
            rows = torch.tensor([[bos_id(lm.tokenizer), *before, city, *after] for city in cities])
            best = torch.cat([lm.logits(part.to(lm.device))[:, -1].argmax(dim=-1) for part in rows.split(32)])
            template = f"{lm.tokenizer.decode(before)} %s {lm.tokenizer.decode(after)}"
            prompts += [
                EntityPrompt(
                    str(lm.tokenizer.decode([city])), attribute, template, str(lm.tokenizer.decode([label])),
                    held_out=i % 3 == 0,
                )
                for i, (city, label) in enumerate(zip(cities, best.tolist(), strict=True))
            ]  # fmt: skip
    return prompts


def _words(lm: LanguageModel) -> Tensor:
    """The ids of all ordinary tokens."""
    return torch.tensor([i for i in range(min(lm.vocab_size, len(lm.tokenizer))) if i not in lm.special_ids])
