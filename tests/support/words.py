"""A random model of made-up words, running text of these words, and settings of the evals with a judge for both."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from support.tiny_data import write_table
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast

from sae_research.evals.autointerp.settings import AutointerpSettings
from sae_research.evals.judged.settings import JudgeReading
from sae_research.evals.run import Measured
from sae_research.evals.sensitivity.settings import SensitivitySettings
from sae_research.lm.model import LanguageModel
from sae_research.lm.structure import take_apart

RunAutointerp = Callable[..., list[Measured]]
"""The fixture `autointerp` of its tests."""
D_MODEL = 16
"""As the evals' other random model has it, so that the same SAEs fit."""
_SPECIAL = ("<pad>", "<eos>", "<bos>")


def _made_up(n: int) -> list[str]:
    rng = np.random.default_rng(3)
    words: dict[str, None] = {}
    while len(words) < n:
        words["".join(rng.choice(list(letters)) for letters in ("bdfgk", "aeiou", "lmnrst", "aeiou", "cpv"))] = None
    return list(words)


WORDS = _made_up(150)
BOS, FIRST_WORD, LAST_WORD = 2, len(_SPECIAL), len(_SPECIAL) + len(WORDS) - 1
"""Their tokens."""
SETTINGS = AutointerpSettings(
    dataset="embedded/words", n_rows=150, context_size=48, n_latents=6, reading=JudgeReading("embedded/words")
)
SENSITIVITY = SensitivitySettings(
    dataset="embedded/words", n_rows=150, context_size=48, n_latents=6, reading=JudgeReading("embedded/words")
)
RunSensitivity = Callable[..., list[Measured]]
"""The fixture `sensitivity` of its tests."""


def words_model(last_word: str | None = None) -> LanguageModel:
    """Two random layers, whose embeddings tell words apart; `last_word` is another spelling of the last one."""
    torch.manual_seed(0)
    vocabulary = [*_SPECIAL, *WORDS[:-1], last_word or WORDS[-1]]
    plain = Tokenizer(models.WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token="<eos>"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>", padding_side="right"
    )
    config = GPTNeoXConfig(
        vocab_size=len(vocabulary), hidden_size=D_MODEL, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=64, initializer_range=0.6, bos_token_id=2, eos_token_id=1,
        tie_word_embeddings=False,
    )  # fmt: skip
    model = GPTNeoXForCausalLM(config).eval().requires_grad_(False)
    return LanguageModel(take_apart(model, 2), tokenizer, name="words", revision="none")


def word_texts(seed: int, n: int) -> Sequence[str]:
    """Documents of 30 to 90 words; the i-th word has a share of about 1 / (i + 30)."""
    rng = np.random.default_rng(seed)
    shares = 1 / (np.arange(len(WORDS)) + 30)
    return [
        " ".join(rng.choice(WORDS, size=size, p=shares / shares.sum())) for size in rng.integers(30, 90, n).tolist()
    ]


def write_words(world: Path) -> None:
    """`embedded/words` and `embedded/other_words`: 400 documents to read and 200 to measure on."""
    for name, seed in (("words", 5), ("other_words", 7)):
        for split, n, more in (("train", 400, 0), ("test", 200, 1)):
            write_table(world, name, split, {"text": word_texts(seed + more, n)})


def write_published(world: Path) -> None:
    """`embedded/published` and `embedded/other_published`: examples of four latents as SAEBench publishes them."""
    for name, file, first in (
        ("published", "results.json", 0), ("published", "other.json", 9), ("other_published", "results.json", 20)
    ):  # fmt: skip
        folder = world / "datasets" / name
        folder.mkdir(parents=True, exist_ok=True)
        entries = {str(latent): {"latent": latent, "logs": published_log(first + latent)} for latent in (3, 5, 8, 9)}
        (folder / file).write_text(json.dumps({"eval_result_unstructured": entries}), encoding="utf-8")


def published_log(word: int) -> str:
    """Eight examples of one word between two others."""
    lines = [f"│ {9 - i:.3f} │ {WORDS[40 + i]}<< {WORDS[word]}>> {WORDS[60 + i]} │" for i in range(8)]
    return "\n".join(["Generation phase", *lines, "Scoring phase"])
