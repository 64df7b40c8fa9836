"""RAVEL's prompts as tokens: where the entity ends, and which prompts the model answers correctly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_research.errors import UserError
from sae_research.evals.base import EvalContext
from sae_research.evals.ravel.completions import settled, states_value
from sae_research.evals.ravel.entities import EntityPrompt
from sae_research.lm.model import LanguageModel
from sae_research.lm.site import Site
from sae_research.lm.tokens import bos_id, encode_continuations, encode_plain


class Prompts(NamedTuple):
    """Prompts as tokens, padded on the right; row i of every tensor belongs to `items[i]`."""

    items: list[EntityPrompt]
    tokens: Int[Tensor, "prompt position"]
    lengths: Int[Tensor, " prompt"]
    entity: Int[Tensor, " prompt"]
    """The position of the entity's last token."""
    first: Int[Tensor, " prompt"]
    """The token with which the model continues; -1 before it has answered."""

    def take(self, rows: Sequence[int]) -> Prompts:
        """These rows, in this order."""
        at = torch.tensor(rows, dtype=torch.long)
        items = [self.items[row] for row in rows]
        return Prompts(items, self.tokens[at], self.lengths[at], self.entity[at], self.first[at])


def tokenize_prompts(lm: LanguageModel, items: Sequence[EntityPrompt], *, prepend_bos: bool = True) -> Prompts:
    """Every prompt, after BOS or without; the model has not answered any yet."""
    if not lm.tokenizer.is_fast:
        raise UserError(
            f"model {lm.name!r}: its tokenizer does not say which characters a token covers, which RAVEL needs; "
            "use a model with a tokenizer.json, or set 'eval_types.ravel: false'"
        )
    start = [bos_id(lm.tokenizer)] if prepend_bos else []
    rows = [[*start, *ids] for ids in encode_plain(lm.tokenizer, [item.text for item in items])] if items else []
    lengths = torch.tensor([len(row) for row in rows], dtype=torch.long)
    width, pad = max(map(len, rows), default=1), int(lm.tokenizer.pad_token_id or 0)  # type: ignore[arg-type]
    padded = [row + [pad] * (width - len(row)) for row in rows]
    tokens = torch.tensor(padded, dtype=torch.long).reshape(len(rows), width)
    entity = torch.tensor([len(start) + place for place in _last_entity_tokens(lm, items)], dtype=torch.long)
    return Prompts(list(items), tokens, lengths, entity, torch.full_like(lengths, -1))


def _last_entity_tokens(lm: LanguageModel, items: Sequence[EntityPrompt]) -> list[int]:
    """The place of the entity's last token in each text: the last token that begins before the entity's end."""
    if not items:
        return []
    encoded = lm.tokenizer(
        [item.text for item in items], add_special_tokens=False, return_offsets_mapping=True, verbose=False
    )
    return [
        sum(begin < item.entity_end for begin, _ in spans) - 1
        for item, spans in zip(items, encoded["offset_mapping"], strict=True)  # type: ignore[arg-type]
    ]


def equal_lengths(lengths: Int[Tensor, " row"], most: int) -> Iterator[Int[Tensor, " part"]]:
    """The places in `lengths`, in groups of equal length with at most `most` places."""
    for length in lengths.unique().tolist():
        yield from (lengths == length).nonzero().squeeze(1).split(most)


def rows_at_once(context: EvalContext) -> int:
    """Prompts per batch: they are at most a quarter as long as the texts that `batch_size` is meant for."""
    return 4 * context.batch_size


class ModelAnswers(NamedTuple):
    """The answers of the model."""

    first: Int[Tensor, " row"]
    """The first token of each answer."""
    right: list[bool]


class Checker:
    """Lets the model answer prompts, and checks the answers.

    `n_tokens` are generated and compared with the label as SAEBench does; None: the next token must be the label's
    first one.
    """

    def __init__(self, lm: LanguageModel, n_tokens: int | None) -> None:
        self._lm, self._n_tokens = lm, n_tokens
        self._first_ids: dict[tuple[str, str], int] = {}

    def answer(
        self, tokens: Int[Tensor, "row position"], site: Site, x: Float[Tensor, "row position d"],
        items: Sequence[EntityPrompt], labels: Sequence[str],
    ) -> ModelAnswers:  # fmt: skip
        """The answers to prompts of equal length whose activations at `site` are `x`, and whether they state `labels`.

        Generation stops after the first token where that token already decides.
        """
        first = self._lm.generate(tokens, 1, site=site, x=x)
        if self._n_tokens is None:
            wanted = [self._first_id(item.text, name) for item, name in zip(items, labels, strict=True)]
            return ModelAnswers(first[:, 0], [a == b for a, b in zip(first[:, 0].tolist(), wanted, strict=True)])
        beginnings = self._lm.tokenizer.batch_decode(first)
        right = [settled(item.text, name, text) for item, name, text in zip(items, labels, beginnings, strict=True)]
        undecided = [i for i, is_right in enumerate(right) if is_right is None]
        if undecided:
            at = torch.tensor(undecided, device=tokens.device)
            generated = self._lm.generate(tokens[at], self._n_tokens, site=site, x=x[at])
            for i, text in zip(undecided, self._lm.tokenizer.batch_decode(generated), strict=True):
                right[i] = states_value(items[i].text, labels[i], text)
        return ModelAnswers(first[:, 0], [bool(is_right) for is_right in right])

    def _first_id(self, prompt: str, label: str) -> int:
        if (prompt, label) not in self._first_ids:
            (ids,) = encode_continuations(self._lm.tokenizer, prompt, [f" {label}"])
            self._first_ids[prompt, label] = ids[0]
        return self._first_ids[prompt, label]


@torch.no_grad()
def known_prompts(context: EvalContext, site: Site, prompts: Prompts, checker: Checker, *, n_entities: int) -> Prompts:
    """The prompts that the model answers correctly, about the `n_entities` entities that it knows best.

    Of entities with equally many correct answers those that come first in the data set are taken. The first tokens of
    all answers are written into `prompts.first`.
    """
    right = [False] * len(prompts.items)
    for rows in equal_lengths(prompts.lengths, rows_at_once(context)):
        tokens = prompts.tokens[rows][:, : int(prompts.lengths[rows[0]])].to(context.lm.device)
        items = [prompts.items[row] for row in rows.tolist()]
        x = context.lm.capture(tokens, site)
        answers = checker.answer(tokens, site, x, items, [item.label for item in items])
        prompts.first[rows] = answers.first.cpu()
        for row, is_right in zip(rows.tolist(), answers.right, strict=True):
            right[row] = is_right
    answered = [i for i, is_right in enumerate(right) if is_right]
    counts = Counter(prompts.items[i].entity for i in answered)
    best_known = {entity for entity, _ in counts.most_common(n_entities)}
    return prompts.take([i for i in answered if prompts.items[i].entity in best_known])
