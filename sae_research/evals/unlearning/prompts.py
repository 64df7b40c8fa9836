"""Questions as token rows, and the positions at which the model's answer is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cache
from itertools import permutations
from string import ascii_uppercase
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from sae_research.errors import UserError
from sae_research.evals.shared.batches import is_real
from sae_research.evals.unlearning.prompt_formats import prompt_of, template_of
from sae_research.evals.unlearning.questions import Question
from sae_research.lm.model import LanguageModel
from sae_research.lm.tokens import bos_id, encode_continuations, encode_plain

Protocol = Literal["letters", "option_text"]


@cache
def orders_of(n_options: int, wanted: int) -> tuple[tuple[int, ...], ...]:
    """`wanted` orders of the options (or all, if fewer exist), the original one first, the others evenly spread."""
    every = list(permutations(range(n_options)))
    n = min(wanted, len(every))
    return tuple(every[i * len(every) // n] for i in range(n))


class _Read(NamedTuple):
    """The probability of `token` after `position` counts for `option`."""

    position: int
    token: int
    option: int


@dataclass(frozen=True)
class Prompt:
    """One question in one order: rows of tokens, and what is read from each row."""

    rows: tuple[tuple[int, ...], ...]
    reads: tuple[tuple[_Read, ...], ...]
    n_options: int
    answer: int

    @property
    def length(self) -> int:
        return max(len(row) for row in self.rows)


@dataclass(frozen=True)
class Prompter:
    """Makes prompts in one format, answered by one protocol."""

    tokenizer: PreTrainedTokenizerBase
    prompt_format: str
    protocol: Protocol

    def prompts(self, questions: Sequence[Question]) -> list[Prompt]:
        """One prompt per question, with its options in order."""
        template, start = template_of(self.prompt_format), bos_id(self.tokenizer)
        if not questions:
            return []
        texts = [prompt_of(q, template) for q in questions]
        letters = self._letters(max(len(q.choices) for q in questions), _last_line(texts[0]))
        prompts = []
        for question, text, ids in zip(questions, texts, encode_plain(self.tokenizer, texts), strict=True):
            tokens = tuple(ids) if ids[:1] == [start] else (start, *ids)
            prompts.append(
                self._lettered(question, tokens, letters) if letters else self._spelled(question, tokens, text)
            )
        return prompts

    def _letters(self, n: int, line: str) -> list[list[int]]:
        """The tokens of each of `n` letters, right after `line` and after a space; empty if options are spelled."""
        if self.protocol != "letters":
            return []
        letters: list[list[int]] = []
        for letter in ascii_uppercase[:n]:
            spellings = encode_continuations(self.tokenizer, line, [letter, f" {letter}"])
            letters.append(sorted({ids[0] for ids in spellings if len(ids) == 1}))
            if not letters[-1]:
                raise UserError(f"the tokenizer has no token for the answer {letter!r}; use protocol option_text")
        return letters

    def _lettered(self, question: Question, tokens: tuple[int, ...], letters: list[list[int]]) -> Prompt:
        n = len(question.choices)
        reads = tuple(_Read(len(tokens) - 1, token, option) for option in range(n) for token in letters[option])
        return Prompt((tokens,), (reads,), n, question.answer)

    def _spelled(self, question: Question, tokens: tuple[int, ...], text: str) -> Prompt:
        """Options of one token are read in one row; a longer option gets a row of its own."""
        last = len(tokens) - 1
        options = encode_continuations(self.tokenizer, _last_line(text), [f" {choice}" for choice in question.choices])
        together = tuple(_Read(last, ids[0], option) for option, ids in enumerate(options) if len(ids) == 1)
        rows, reads = ([tokens], [together]) if together else ([], [])
        for option, ids in enumerate(options):
            if len(ids) > 1:
                rows.append((*tokens, *ids[:-1]))
                reads.append(tuple(_Read(last + i, token, option) for i, token in enumerate(ids)))
        return Prompt(tuple(rows), tuple(reads), len(options), question.answer)


def _last_line(prompt: str) -> str:
    """What stands before the answer: enough to know how the answer is cut into tokens."""
    return prompt.rpartition("\n")[2] or prompt


@dataclass(frozen=True)
class PromptBatch:
    """Prompts padded to one length. The rows of a prompt are consecutive, and so are its reads."""

    places: Int[Tensor, " prompt"]
    """The index of each prompt among all prompts."""
    answers: Int[Tensor, " prompt"]
    n_options: Int[Tensor, " prompt"]
    tokens: Int[Tensor, "row position"]
    owners: Int[Tensor, " row"]
    """The prompt of each row."""
    reads: Int[Tensor, "read 4"]
    """Row, position, token and option of each read."""

    def to(self, device: torch.device) -> PromptBatch:
        """The same batch on `device`."""
        return PromptBatch(*(getattr(self, f.name).to(device) for f in fields(self)))

    def take(self, which: Int[Tensor, " wanted"]) -> tuple[PromptBatch, Int[Tensor, " rows"]]:
        """The prompts `which` (with repetitions), and their rows in this batch."""
        n = len(self.answers)
        n_rows = torch.bincount(self.owners, minlength=n)
        rows, owners, starts = _take_runs(n_rows, which)
        reads, readers, _ = _take_runs(torch.bincount(self.owners[self.reads[:, 0]], minlength=n), which)
        first_rows = n_rows.cumsum(0) - n_rows
        moved = self.reads[reads].clone()
        # A read of the first row of its prompt must name that row's place among the taken rows, and so on.
        moved[:, 0] += starts[readers] - first_rows[which][readers]
        taken = PromptBatch(
            self.places[which], self.answers[which], self.n_options[which], self.tokens[rows], owners, moved
        )
        return taken, rows


def _take_runs(counts: Tensor, which: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Items lie in consecutive runs of length `counts`. For the runs `which`: their items, the place in `which` of each
    item, and where each run starts among the items taken.

    Runs of 2, 1 and 3 items are [0 1] [2] [3 4 5]. Taking the runs 2, 0 gives the items 3 4 5 0 1, the places
    0 0 0 1 1 and the starts 0 3.
    """
    taken = counts[which]
    starts = taken.cumsum(0) - taken
    places = torch.arange(len(which), device=which.device).repeat_interleave(taken)
    within = torch.arange(len(places), device=which.device) - starts[places]
    return (counts.cumsum(0) - counts)[which][places] + within, places, starts


def batches(prompts: Sequence[Prompt], *, pad: int, tokens_at_once: int) -> Iterator[PromptBatch]:
    """The prompts in order of length, in batches of at most `tokens_at_once` tokens, at least one prompt each."""
    order = sorted(range(len(prompts)), key=lambda i: prompts[i].length)
    group: list[int] = []
    n_rows = 0
    for place in order:
        prompt = prompts[place]
        if group and (n_rows + len(prompt.rows)) * prompt.length > tokens_at_once:
            yield _batch(prompts, group, pad)
            group, n_rows = [], 0
        group.append(place)
        n_rows += len(prompt.rows)
    if group:
        yield _batch(prompts, group, pad)


def _batch(prompts: Sequence[Prompt], places: Sequence[int], pad: int) -> PromptBatch:
    chosen = [prompts[place] for place in places]
    rows = [(i, row) for i, prompt in enumerate(chosen) for row in prompt.rows]
    tokens = torch.full((len(rows), max(prompt.length for prompt in chosen)), pad, dtype=torch.long)
    for place, (_, row) in enumerate(rows):
        tokens[place, : len(row)] = torch.tensor(row)
    reads_by_row = [reads for prompt in chosen for reads in prompt.reads]
    return PromptBatch(
        torch.tensor(places),
        torch.tensor([prompt.answer for prompt in chosen]),
        torch.tensor([prompt.n_options for prompt in chosen]),
        tokens,
        torch.tensor([i for i, _ in rows]),
        torch.tensor([(row, *read) for row, reads in enumerate(reads_by_row) for read in reads]),
    )


def real_tokens(lm: LanguageModel, batch: PromptBatch) -> Bool[Tensor, "row position"]:
    """The positions that an SAE may change: all but BOS, EOS and padding."""
    return is_real(lm, batch.tokens)


def right_answers(
    lm: LanguageModel, hidden: Float[Tensor, "row position d"], batch: PromptBatch, protocol: Protocol
) -> Bool[Tensor, " prompt"]:
    """Whether each prompt's right option is the likeliest: by its best letter, or by all tokens of its text."""
    rows, positions, tokens, options = batch.reads.unbind(dim=1)
    spots, spot = torch.unique(rows * hidden.shape[1] + positions, return_inverse=True)
    log_p = lm.unembed(hidden.flatten(0, 1)[spots]).float().log_softmax(dim=-1)[spot, tokens]
    width = int(batch.n_options.max())
    slots = batch.owners[rows] * width + options
    table = torch.zeros(len(batch.answers) * width, device=log_p.device)
    reduce = "amax" if protocol == "letters" else "sum"
    table = table.scatter_reduce(0, slots, log_p, reduce=reduce, include_self=reduce == "sum")
    absent = torch.arange(width, device=table.device) >= batch.n_options[:, None]
    return table.view(-1, width).masked_fill(absent, -torch.inf).argmax(dim=1) == batch.answers
