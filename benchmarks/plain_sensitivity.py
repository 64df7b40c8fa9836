"""Sensitivity as sae-sensitivity computes it, written plainly after the description of its steps.

One SAE at a time. Two passes of the whole model, unembedding included, over the text: the first counts how often each
latent fires, the second keeps the codes of the chosen latents as one (row, position, latent) tensor. Then each text,
four at a time, goes through the whole model, and all latents are encoded to look at one. Two things differ so that
results can be compared: codes stay in float32 (there bfloat16), and windows are chosen by our definition, which needs
no sort of all tokens for each latent as theirs does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sae_research.evals.judged.counts import Counts
from sae_research.evals.judged.windows import Windows, choose_windows
from sae_research.evals.windows.corpus import Corpus
from sae_research.evals.windows.firings import Firings
from sae_research.lm.model import LanguageModel
from sae_research.lm.tokens import bos_id, encode_plain
from sae_research.saes.base import Sae

_ROWS, _TEXTS, _LONGEST = 32, 4, 128
"""Rows of a batch, texts of a batch, tokens of a text."""
_LEAST = 1e-6
"""A latent with a larger activation counts as active."""


class PlainLatent(NamedTuple):
    """What was found of a latent."""

    latent: int
    windows: Windows
    generated: float
    """The share of the texts on which it is active."""
    original: float


class PlainSensitivity:
    """The steps for one SAE, on a model whose site is the output of a layer."""

    def __init__(self, lm: LanguageModel, sae: Sae) -> None:
        if sae.card.site.kind != "resid_post":
            raise ValueError(f"{sae.card.name} reads {sae.card.site.hook_name}, expected the output of a layer")
        self._lm, self._sae = lm, sae
        self._special = torch.tensor(sorted(lm.special_ids))

    def alive(self, rows: Tensor, least: int) -> Tensor:
        """First pass: the latents that fire more than `least` times."""
        counts = torch.zeros(self._sae.card.d_sae)
        for codes in self._codes(rows, _ROWS):
            counts += (codes > 0).sum(dim=(0, 1))
        return (counts > least).nonzero()[:, 0]

    def windows(
        self, rows: Tensor, latents: Sequence[int], corpus: Corpus, *, seed: int, counts: Counts
    ) -> list[Windows]:
        """Second pass: the windows of each latent, from the dense codes of all of them."""
        acts = torch.cat([codes[..., list(latents)].cpu() for codes in self._codes(rows, _ROWS)])
        found = []
        for i, latent in enumerate(latents):
            places = acts[..., i].nonzero().numpy()
            of_latent = acts[..., i].numpy()
            firings = Firings(1, places[:, 0], places[:, 1], of_latent[places[:, 0], places[:, 1]])
            found.append(choose_windows(corpus, firings, latent=latent, seed=seed, counts=counts))
        return found

    def largest(self, texts: Sequence[str], latents: Sequence[int]) -> list[float]:
        """The largest activation of each text's latent on it."""
        found: list[float] = []
        for start in range(0, len(texts), _TEXTS):
            tokens = self._padded(texts[start : start + _TEXTS])
            codes = torch.cat([codes.cpu() for codes in self._codes(tokens, _TEXTS)])
            found += [float(codes[i, :, latent].max()) for i, latent in enumerate(latents[start : start + _TEXTS])]
        return found

    def _padded(self, texts: Sequence[str]) -> Tensor:
        """Each text after BOS, padded to the longest."""
        tokenizer = self._lm.tokenizer
        rows = [[bos_id(tokenizer), *ids][:_LONGEST] for ids in encode_plain(tokenizer, list(texts))]
        longest, pad = max(map(len, rows)), bos_id(tokenizer)
        return torch.tensor([row + [pad] * (longest - len(row)) for row in rows])

    def shares(self, texts: Sequence[Sequence[str]], latents: Sequence[int]) -> list[float]:
        """Of each latent, the share of its texts on which it is active."""
        flat = [text for of_latent in texts for text in of_latent]
        owners = [latent for of_latent, latent in zip(texts, latents, strict=True) for _ in of_latent]
        active = (value > _LEAST for value in self.largest(flat, owners))
        return [float(np.mean([next(active) for _ in of_latent])) for of_latent in texts]

    def _codes(self, tokens: Tensor, batch_size: int) -> Iterator[Tensor]:
        """All codes of one batch after the other; those of special tokens are 0."""
        kept: list[Tensor] = []
        layer: Any = self._lm.layers[self._sae.card.site.layer]

        def keep(_module: Any, _inputs: Any, output: Any) -> None:
            kept.append(output[0] if isinstance(output, tuple) else output)

        hook = layer.register_forward_hook(keep)
        try:
            for batch in tokens.split(batch_size):
                batch = batch.to(self._lm.device)
                self._lm.plain_model(input_ids=batch, use_cache=False)
                codes = self._sae.encode(kept.pop().float())
                yield codes * ~torch.isin(batch, self._special.to(batch.device))[..., None]
        finally:
            hook.remove()
