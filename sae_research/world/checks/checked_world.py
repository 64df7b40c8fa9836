"""A finished world as the checks read it: through the pipeline's own loaders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_research.data.tables import read_files, split_files
from sae_research.data.text import token_rows
from sae_research.formats.registry import read_sae
from sae_research.lm.load import load_language_model
from sae_research.lm.site import Site
from sae_research.lm.tokens import encode_plain, tokenize_texts
from sae_research.saes.base import Sae, SaeCard
from sae_research.saes.build import build_sae
from sae_research.saes.controls import principal_atoms, random_atoms, topk_tensors
from sae_research.sources.hub import Hub
from sae_research.world.sae_files import MODEL_NAME
from sae_research.world.sae_plan import HOOK_NAME
from sae_research.world.settings import WorldSettings

RANDOM, PCA = "random k16", "pca k16"
"""What `CheckedWorld.sae` calls TopK with k = 16 on random atoms, and on principal directions: controls, which are none
of the world's SAEs."""
_TEXTS_AT_ONCE = 64
_CONTROL_TEXTS, _CONTROL_K = 400, 16
TableRows = list[dict[str, Any]]


class CheckedWorld:
    """The world in `folder`: its model, its SAEs, its data."""

    def __init__(self, folder: Path, settings: WorldSettings) -> None:
        self.folder = folder
        self.seed = settings.seed
        self.context_size = settings.recipe.context_size
        self.d_sae = settings.recipe.d_sae
        self.hub = Hub(folder)
        self.lm = load_language_model(self.hub, MODEL_NAME, device="cpu")
        self.tokenizer = self.lm.tokenizer
        self.site = Site.parse(HOOK_NAME)

    def sae(self, name: str) -> Sae:
        """The SAE at `models/<name>`, or one of the controls."""
        return self._controls.get(name) or read_sae(self.folder / "models" / name, name=name, source={})

    @cached_property
    @torch.no_grad()
    def _controls(self) -> Mapping[str, Sae]:
        rows = self.token_rows("train", _CONTROL_TEXTS)
        x = torch.cat([self.lm.capture_real(part, self.site) for part in rows.split(_TEXTS_AT_ONCE)])
        dictionaries = {RANDOM: random_atoms(self.d_sae, x.shape[1], seed=self.seed), PCA: principal_atoms(x)}
        return {name: self._topk(name, atoms, x) for name, atoms in dictionaries.items()}

    def _topk(self, name: str, atoms: Float[Tensor, "d_sae d_in"], x: Float[Tensor, "token d_in"]) -> Sae:
        card = SaeCard(
            name.split()[0], "topk", self.site, x.shape[1], len(atoms), MODEL_NAME, hyperparameters={"k": _CONTROL_K}
        )
        return build_sae(card, topk_tensors(atoms, x.mean(dim=0), x, k=_CONTROL_K))

    def rows(self, data_set: str, split: str, columns: Sequence[str]) -> TableRows:
        """The rows of a data set."""
        files = split_files(self.hub, f"embedded/{data_set}", split)
        return [dict(zip(columns, row, strict=True)) for row in read_files(files, columns)]

    def token_rows(self, split: str, n_texts: int) -> Int[Tensor, "row position"]:
        """Running text: the first `n_texts` documents of the `text` data set."""
        texts = [row["text"] for row in self.rows("text", split, ["text"])[:n_texts]]
        return token_rows(texts, self.tokenizer, context_size=self.context_size)

    def token(self, text: str) -> int:
        """The id of `text`, which must be one token."""
        (ids,) = encode_plain(self.tokenizer, [text])
        if len(ids) != 1:
            raise ValueError(f"{text!r} is {len(ids)} tokens, expected one")
        return ids[0]

    def prompts(self, texts: Sequence[str]) -> Int[Tensor, "prompt position"]:
        """Prompts of equal length, with bos."""
        start = int(self.tokenizer.bos_token_id)  # type: ignore[arg-type]
        return torch.tensor([[start, *ids] for ids in encode_plain(self.tokenizer, texts)])

    @torch.no_grad()
    def next_logits(self, texts: Sequence[str]) -> Float[Tensor, "text vocab"]:
        """The logits after each text, whatever the texts' lengths."""
        out = torch.empty(len(texts), self.lm.vocab_size)
        for places, tokens in self._by_length(texts):
            hidden = self.lm.resume(self.site, self.lm.capture(tokens, self.site), tokens)
            out[places] = self.lm.unembed(hidden[:, -1])
        return out

    def _by_length(self, texts: Sequence[str]) -> Iterator[tuple[list[int], Tensor]]:
        """Batches of prompts of equal length, with the places of their texts."""
        start = int(self.tokenizer.bos_token_id)  # type: ignore[arg-type]
        encoded = [[start, *ids] for ids in encode_plain(self.tokenizer, texts)]
        by_length: dict[int, list[int]] = {}
        for place, ids in enumerate(encoded):
            by_length.setdefault(len(ids), []).append(place)
        for places in by_length.values():
            for i in range(0, len(places), _TEXTS_AT_ONCE):
                part = places[i : i + _TEXTS_AT_ONCE]
                yield part, torch.tensor([encoded[place] for place in part])

    @torch.no_grad()
    def pooled(self, texts: Sequence[str], saes: Mapping[str, Sae]) -> dict[str, Float[Tensor, "text width"]]:
        """For each text the mean over its real tokens of the activation ('residual') and of each SAE's codes."""
        parts: dict[str, list[Tensor]] = {"residual": [], **{name: [] for name in saes}}
        for i in range(0, len(texts), _TEXTS_AT_ONCE):
            batch = tokenize_texts(self.tokenizer, texts[i : i + _TEXTS_AT_ONCE], context_size=self.context_size)
            x = self.lm.capture(batch.tokens, self.site)
            owner = batch.real.nonzero()[:, 0]
            counts = batch.real.sum(1, keepdim=True)
            flat = x[batch.real]
            for name, values in {"residual": flat, **{n: sae.encode(flat) for n, sae in saes.items()}}.items():
                sums = torch.zeros(len(counts), values.shape[1]).index_add_(0, owner, values)
                parts[name].append(sums / counts)
        return {name: torch.cat(blocks) for name, blocks in parts.items()}

    def generator(self, name: str) -> np.random.Generator:
        """Draws for one check."""
        return np.random.Generator(np.random.PCG64([self.seed, *name.encode()]))
