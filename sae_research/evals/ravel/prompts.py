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
from sae_research.evals.ravel.settings import RavelSettings
from sae_research.lm.model import LanguageModel
from sae_research.lm.site import Site
from sae_research.lm.tokens import bos_id, encode_plain


class Prompts(NamedTuple):
    """Prompts as tokens, right-padded; row i of everything belongs to `items[i]`."""

    items: list[EntityPrompt]
    tokens: Int[Tensor, "prompt position"]
    lengths: Int[Tensor, " prompt"]
    entity: Int[Tensor, " prompt"]
    """The position of the entity's last token."""
    first: Int[Tensor, " prompt"]
    """The token that the model goes on with."""

    def take(self, rows: Sequence[int]) -> Prompts:
        """Those rows, in that order."""
        at = torch.tensor(rows, dtype=torch.long)
        items = [self.items[row] for row in rows]
        return Prompts(items, self.tokens[at], self.lengths[at], self.entity[at], self.first[at])


def tokenize_prompts(lm: LanguageModel, items: Sequence[EntityPrompt]) -> Prompts:
    """Every prompt after bos; the model has not been asked yet."""
    start = bos_id(lm.tokenizer)
    texts = [item.text for item in items]
    rows = [[start, *ids] for ids in encode_plain(lm.tokenizer, texts)] if items else []
    lengths = torch.tensor([len(row) for row in rows], dtype=torch.long)
    tokens = torch.full((len(rows), max(map(len, rows), default=1)), int(lm.tokenizer.pad_token_id or 0))  # type: ignore[arg-type]
    for i, row in enumerate(rows):
        tokens[i, : len(row)] = torch.tensor(row)
    entity = torch.tensor([1 + place for place in _last_tokens(lm, items)], dtype=torch.long)
    return Prompts(list(items), tokens, lengths, entity, torch.full_like(lengths, -1))


def _last_tokens(lm: LanguageModel, items: Sequence[EntityPrompt]) -> list[int]:
    """The place of the entity's last token in each text: the last token that begins before the entity's end."""
    if not lm.tokenizer.is_fast:
        raise UserError(
            f"model {lm.name!r}: its tokenizer does not say which characters a token covers, which RAVEL needs; "
            "use a model with a tokenizer.json, or set 'eval_types.ravel: false'"
        )
    if not items:
        return []
    encoded = lm.tokenizer(
        [item.text for item in items], add_special_tokens=False, return_offsets_mapping=True, verbose=False
    )
    spans = encoded["offset_mapping"]
    return [sum(begin < item.entity_end for begin, _ in own) - 1 for item, own in zip(items, spans, strict=True)]  # type: ignore[union-attr]


def equal_lengths(lengths: Int[Tensor, " row"], most: int) -> Iterator[Int[Tensor, " part"]]:
    """Places in `lengths`, in runs of one length, at most so many at a time."""
    for length in lengths.unique().tolist():
        yield from (lengths == length).nonzero().squeeze(1).split(most)


def rows_at_once(context: EvalContext) -> int:
    """Prompts of one run: they are a quarter as long as the texts that `batch_size` is meant for, at most."""
    return 4 * context.batch_size


def known_prompts(context: EvalContext, site: Site, prompts: Prompts, settings: RavelSettings) -> Prompts:
    """The prompts that the model answers correctly, of the entities that it knows best.

    Of entities with equally many correct answers those that come first in the data set are kept.
    """
    right = answered(context, site, prompts, settings)
    counts = Counter(item.entity for item, good in zip(prompts.items, right, strict=True) if good)
    kept = {entity for entity, _ in counts.most_common(settings.top_n_entities)}
    rows = [i for i, (item, good) in enumerate(zip(prompts.items, right, strict=True)) if good and item.entity in kept]
    return prompts.take(rows)


@torch.no_grad()
def answered(context: EvalContext, site: Site, prompts: Prompts, settings: RavelSettings) -> list[bool]:
    """Whether the model's own answer to each prompt is right; the answers' first tokens go into `prompts.first`."""
    checker = Checker(context.lm, settings)
    right = [False] * len(prompts.items)
    for rows in equal_lengths(prompts.lengths, rows_at_once(context)):
        tokens = prompts.tokens[rows][:, : int(prompts.lengths[rows[0]])].to(context.lm.device)
        items = [prompts.items[row] for row in rows.tolist()]
        found = checker.ask(tokens, site, context.lm.capture(tokens, site), items, [item.label for item in items])
        prompts.first[rows] = found.first.cpu()
        for row, good in zip(rows.tolist(), found.right, strict=True):
            right[row] = good
    return right


class Answers(NamedTuple):
    """What the model answered."""

    first: Int[Tensor, " row"]
    """The first tokens."""
    right: list[bool]


class Checker:
    """Has the model answer, and judges its answers, as the settings say."""

    def __init__(self, lm: LanguageModel, settings: RavelSettings) -> None:
        self._lm = lm
        self._by_token = settings.answer == "first_token"
        self._n = settings.n_generated_tokens
        self._ids: dict[str, int] = {}

    def ask(
        self, tokens: Int[Tensor, "row position"], site: Site, x: Float[Tensor, "row position d"],
        asked: Sequence[EntityPrompt], labels: Sequence[str],
    ) -> Answers:  # fmt: skip
        """The answers after rows of equal length whose activations at `site` are `x`, and whether they state `labels`.

        Where the first token settles it, no more are written.
        """
        first = self._lm.generate(tokens, 1, site=site, x=x)
        if self._by_token:
            return Answers(
                first[:, 0], [t == self._id(name) for t, name in zip(first[:, 0].tolist(), labels, strict=True)]
            )
        texts = self._lm.tokenizer.batch_decode(first)
        found = [settled(item.text, name, text) for item, name, text in zip(asked, labels, texts, strict=True)]
        still = [i for i, right in enumerate(found) if right is None]
        if still:
            at = torch.tensor(still, device=tokens.device)
            written = self._lm.tokenizer.batch_decode(self._lm.generate(tokens[at], self._n, site=site, x=x[at]))
            for i, text in zip(still, written, strict=True):
                found[i] = states_value(asked[i].text, labels[i], text)
        return Answers(first[:, 0], [bool(right) for right in found])

    def _id(self, label: str) -> int:
        if label not in self._ids:
            self._ids[label] = encode_plain(self._lm.tokenizer, [f" {label}"])[0][0]
        return self._ids[label]
