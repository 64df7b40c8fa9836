"""A random two-layer GPT-NeoX model with a word tokenizer, and small SAEs at its first layer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support import small_evals, words
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast

from sae_research.evals.base import EvalContext
from sae_research.lm.model import LanguageModel
from sae_research.lm.site import Site
from sae_research.lm.structure import take_apart
from sae_research.progress import Progress
from sae_research.saes.base import Sae, SaeCard
from sae_research.saes.registry import sae_class
from sae_research.sources.hub import Hub

D_MODEL = 16
VOCAB = 61
SITE = Site(layer=0, kind="resid_post")
CONTEXT_SIZE = 12
SPECIAL = ("<pad>", "<eos>", "<bos>")


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """Words w0, w1, ...; pad, eos and bos are ids 0, 1, 2."""
    words = [*SPECIAL, *(f"w{i}" for i in range(VOCAB - len(SPECIAL)))]
    plain = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="w0"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    return PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>", padding_side="right"
    )


@pytest.fixture(scope="session")
def lm(tokenizer: PreTrainedTokenizerFast) -> LanguageModel:
    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=VOCAB, hidden_size=D_MODEL, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64, initializer_range=0.6, bos_token_id=2, eos_token_id=1, tie_word_embeddings=False,
    )  # fmt: skip
    model = GPTNeoXForCausalLM(config).eval().requires_grad_(False)
    return LanguageModel(take_apart(model, 2), tokenizer, name="random", revision="none")


@pytest.fixture(scope="session")
def word_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The texts of `support.words`."""
    folder = tmp_path_factory.mktemp("words")
    words.write_words(folder)
    return folder


@pytest.fixture(scope="session")
def small_world(lm: LanguageModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of `support.small_evals`."""
    world = tmp_path_factory.mktemp("small_world")
    small_evals.write_small_world(world, lm)
    return world


@pytest.fixture(scope="module")
def lens(lm: LanguageModel, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The same model as SAEBench reads it."""
    from sae_research.reference.lens import load_lens

    folder: Path = tmp_path_factory.mktemp("model")
    lm._decoder.model.save_pretrained(folder)  # type: ignore[operator]
    lm.tokenizer.save_pretrained(folder)
    return load_lens(folder)


@pytest.fixture(scope="session")
def rows() -> torch.Tensor:
    """16 token rows that start with BOS and have another one here and there."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(3, VOCAB, (16, CONTEXT_SIZE), generator=generator)
    tokens[:, 0] = 2
    tokens[torch.rand(tokens.shape, generator=generator) < 0.08] = 2
    return tokens


@pytest.fixture
def context(lm: LanguageModel, tmp_path: Path) -> EvalContext:
    return EvalContext(lm=lm, hub=Hub(tmp_path), seed=0, batch_size=8, progress=Progress("test", shown=False))


@pytest.fixture(scope="session")
def make_sae() -> Callable[..., Sae]:
    """Builds an SAE of an architecture at SITE with the given or random tensors."""

    def make(
        architecture: str, *, name: str | None = None, d_sae: int = 48, seed: int = 0, tensors: Any = None, **hyper: Any
    ) -> Sae:
        card = SaeCard(
            name=name or architecture, architecture=architecture, site=SITE, d_in=D_MODEL, d_sae=d_sae,
            model_name="random", hyperparameters=hyper,
        )  # fmt: skip
        kind = sae_class(architecture)
        given = dict(tensors or {})
        filled = {n: given.get(n, t) for n, t in _random_tensors(d_sae, seed).items() if n in kind.shapes}
        return kind(card, {**filled, **given}).eval()

    return make


def _random_tensors(d_sae: int, seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    decoder = torch.nn.functional.normalize(torch.randn(d_sae, D_MODEL, generator=generator), dim=1)
    return {
        "W_dec": decoder,
        "b_dec": torch.randn(D_MODEL, generator=generator) * 0.1,
        "W_enc": decoder.T + 0.1 * torch.randn(D_MODEL, d_sae, generator=generator),
        "b_enc": torch.randn(d_sae, generator=generator) * 0.3 - 0.2,
        "threshold": torch.rand(d_sae, generator=generator),
    }
