"""Unlearning the hazardous subject by clamping latents: a trained SAE against a random one.

As SAEBench does it, but scored by the text of the options, with clamps in units of the model's activations, and the
settings chosen on one half of the questions and reported on the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_research.lm.tokens import encode_plain, tokenize_texts
from sae_research.saes.base import Sae
from sae_research.world.checks.bar import Bar, bootstrapped, resamples
from sae_research.world.checks.subject import Rows, Subject
from sae_research.world.families.facts import HAZARDOUS, prompt_of

_THRESHOLDS = (0.004, 0.01)
_NUMBERS = (5, 10)
_CLAMPS = (5.0, 7.0, 10.0, 15.0)
_KEPT = 0.99
"""Share of harmless questions that must stay right."""


class _Batch(NamedTuple):
    """Questions of one length, with the model's activations at the site."""

    tokens: Int[Tensor, "question position"]
    x: Float[Tensor, "question position d"]
    options: Int[Tensor, "question option"]
    answers: Int[Tensor, " question"]
    places: list[int]


def unlearning_bars(subject: Subject) -> list[Bar]:
    """The difference of the scores, and the two scores; nothing is required of them."""
    columns = ["subject", "question", "choices", "answer"]
    halves = {split: subject.rows("facts", split, columns) for split in ("train", "test")}
    hits = {
        name: _best_setting(subject, subject.sae(folder), halves)
        for name, folder in (("trained", "sae-topk/k16"), ("random", "sae-random/k16"))
    }
    n = len(hits["trained"])
    forgotten = {name: 1 - found for name, found in hits.items()}
    difference = forgotten["trained"] - forgotten["random"]
    samples = resamples(n, seed=subject.seed)
    return [
        Bar("unlearning, trained minus random", bootstrapped(float(difference.mean()), difference[samples].mean(1))),
        *(
            Bar(f"unlearning, {name}", bootstrapped(float(gone.mean()), gone[samples].mean(1)))
            for name, gone in forgotten.items()
        ),
    ]


@torch.no_grad()
def _best_setting(subject: Subject, sae: Sae, halves: dict[str, Rows]) -> np.ndarray:
    """Whether each hazardous question of the test half is right under the setting that is best on the training half."""
    batches = {split: list(_batches(subject, rows)) for split, rows in halves.items()}
    hazardous = {s: np.array([row["subject"] == HAZARDOUS for row in rows]) for s, rows in halves.items()}
    scale = sae.card.d_in**0.5 / float(torch.cat([b.x.flatten(0, 1) for b in batches["train"]]).norm(dim=1).mean())
    forget, retain = (_firing_rates(subject, sae, name) for name in ("forget", "retain"))
    best, lowest = None, 1.0
    for threshold, number, clamp in product(_THRESHOLDS, _NUMBERS, _CLAMPS):
        latents = torch.where(retain < threshold, forget, 0).topk(number).indices
        right = _right(subject, sae, batches["train"], latents, clamp / scale)
        if right[~hazardous["train"]].mean() >= _KEPT and right[hazardous["train"]].mean() < lowest:
            best, lowest = (latents, clamp / scale), float(right[hazardous["train"]].mean())
    latents, clamp = best or (torch.tensor([], dtype=torch.long), 0.0)
    return _right(subject, sae, batches["test"], latents, clamp)[hazardous["test"]]


def _batches(subject: Subject, rows: Rows) -> Iterator[_Batch]:
    prompts = [prompt_of(row["question"], tuple(row["choices"])) for row in rows]
    lengths = [len(ids) for ids in encode_plain(subject.tokenizer, prompts)]
    for length in sorted(set(lengths)):
        places = [i for i, own in enumerate(lengths) if own == length]
        tokens = subject.prompts([prompts[i] for i in places])
        options = torch.tensor([[subject.token(f" {choice}") for choice in rows[i]["choices"]] for i in places])
        answers = torch.tensor([rows[i]["answer"] for i in places])
        yield _Batch(tokens, subject.lm.capture(tokens, subject.site), options, answers, places)


def _firing_rates(subject: Subject, sae: Sae, data_set: str) -> Float[Tensor, " d_sae"]:
    texts = [row["text"] for row in subject.rows(data_set, "train", ["text"])]
    counts, total = torch.zeros(sae.card.d_sae), 0
    for start in range(0, len(texts), 64):
        batch = tokenize_texts(subject.tokenizer, texts[start : start + 64], context_size=subject.context_size)
        codes = sae.encode(subject.lm.capture(batch.tokens, subject.site)[batch.real])
        counts += (codes > 0).sum(0)
        total += len(codes)
    return counts / total


def _right(subject: Subject, sae: Sae, batches: Sequence[_Batch], latents: Tensor, clamp: float) -> np.ndarray:
    """Whether each question is answered right when the `latents` that fire are set to -`clamp`; bos is left alone."""
    right = np.zeros(sum(len(batch.places) for batch in batches))
    for batch in batches:
        codes = sae.encode(batch.x)[..., latents]
        change = torch.where(codes > 0, -clamp - codes, 0) @ sae.W_dec[latents]
        change[:, 0] = 0
        hidden = subject.lm.resume(subject.site, batch.x + change, batch.tokens)[:, -1]
        chosen = subject.lm.unembed(hidden).gather(1, batch.options).argmax(dim=1)
        right[batch.places] = (chosen == batch.answers).numpy()
    return right
