"""A model whose embeddings hold a direction for each first letter, and SAEs that know or absorb letters."""

from __future__ import annotations

import dataclasses
import string
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from sae_research.evals.absorption.settings import AbsorptionSettings
from sae_research.evals.absorption.words import LetterPrompts
from sae_research.lm.model import LanguageModel
from sae_research.lm.site import Site
from sae_research.lm.structure import take_apart
from sae_research.saes.base import Sae, SaeCard
from sae_research.saes.registry import sae_class

SITE = Site(layer=0, kind="resid_post")
D_MODEL, PER_LETTER, ALPHABET = 48, 24, string.ascii_lowercase
TEMPLATE_WORDS = ("has", "the", "first", "letter", ":")
SETTINGS = AbsorptionSettings(n_examples=10, k_sparse_probe_batch_size=32, k_sparse_probe_num_epochs=30, max_k_value=3)
SAE_BENCHS = dataclasses.replace(SETTINGS, rules="sae_bench")
"""Its rules, under which every letter of the model has a score."""


def made_up_words() -> list[str]:
    rng = np.random.default_rng(0)
    words: dict[str, None] = {}
    for letter in ALPHABET:
        of_letter: dict[str, None] = {}
        while len(of_letter) < PER_LETTER:
            of_letter[letter + "".join(rng.choice(list("klmnopqr"), 4))] = None
        words |= of_letter
    return list(words)


WORDS = made_up_words()


def letters_tokenizer(words: Sequence[str]) -> PreTrainedTokenizerFast:
    capitals = [chr(ord("A") + i) for i in range(26)]
    ids = {word: i for i, word in enumerate(["<pad>", "<eos>", "<bos>", *TEMPLATE_WORDS, *capitals, *words])}
    plain = Tokenizer(models.WordLevel(ids, unk_token="<eos>"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    return PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>", padding_side="right"
    )


def letter_prompts(tokenizer: PreTrainedTokenizerBase, **changed: Any) -> LetterPrompts:
    """Prompts as `SETTINGS` has them, but for what is changed."""
    values: dict[str, Any] = {
        "template": SETTINGS.prompt_template,
        "position": SETTINGS.prompt_token_pos,
        "n_examples": 10,
    }
    return LetterPrompts(tokenizer, **(values | changed))


def letters_model() -> LanguageModel:
    """Its embeddings hold a direction for each first letter, and one or two more for each word."""
    torch.manual_seed(0)
    tokenizer = letters_tokenizer(WORDS)
    config = GPTNeoXConfig(
        vocab_size=len(tokenizer), hidden_size=D_MODEL, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=128, initializer_range=0.02, bos_token_id=2, eos_token_id=1,
        tie_word_embeddings=False,
    )  # fmt: skip
    model = GPTNeoXForCausalLM(config).eval().requires_grad_(False)
    table: Any = model.get_input_embeddings()
    for token, name in enumerate(tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))):
        table.weight[token] = 0.3 * torch.randn(D_MODEL)
        if name.isalpha():
            table.weight[token] += 5 * letter_directions()[ord(name[0].lower()) - ord("a")]
    return LanguageModel(take_apart(model, 2), tokenizer, name="letters", revision="none")


def letter_directions() -> torch.Tensor:
    """One unit vector per letter, orthogonal to the others."""
    return torch.linalg.qr(torch.randn(D_MODEL, D_MODEL, generator=torch.Generator().manual_seed(5)))[0].T


def make_letter_sae(architecture: str, atoms: torch.Tensor, *, name: str = "", bias: float = -2.0, **hyper: Any) -> Sae:
    d_sae = len(atoms)
    card = SaeCard(
        name=name or architecture, architecture=architecture, site=SITE, d_in=D_MODEL, d_sae=d_sae,
        model_name="letters", hyperparameters=hyper,
    )  # fmt: skip
    tensors = {
        "W_enc": atoms.T.contiguous(),
        "W_dec": atoms,
        "b_enc": torch.full((d_sae,), bias),
        "b_dec": torch.zeros(D_MODEL),
    }
    kind = sae_class(architecture)
    return kind(card, {n: t for n, t in tensors.items() if n in kind.shapes}).eval()


def letters_sae() -> Sae:
    """One latent for each direction: what the task asks for."""
    return make_letter_sae("relu", letter_directions(), name="ideal")


def absorbing_sae(lm: LanguageModel, shown: str, *, every: int = 1) -> Sae:
    """As the ideal one, but one of `every` words of some letters has a latent, which is all that fires on it.

    Where all words have one, these letters have no latent of their own.

    A word's latent fires above a level that only the word itself reaches; the letter's own latent is kept silent
    there by looking away from what these words have in common beyond the letter.
    """
    by_letter = letter_directions()
    atoms = [by_letter[ord(letter) - ord("a")] for letter in ALPHABET if letter not in shown or every > 1]
    atoms += [_residual(lm, word) for word in [word for word in WORDS if word[0] in shown][::every]]
    return make_letter_sae("topk", torch.stack(atoms), name="absorbing", bias=0.0, k=1)


def _residual(lm: LanguageModel, word: str) -> torch.Tensor:
    token = lm.tokenizer.convert_tokens_to_ids(word)
    x = lm.capture(torch.tensor([[2, token]]), SITE)[0, 1]
    return x / x.norm()
