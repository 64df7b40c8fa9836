"""A model and a text on which SAEs are trained in a moment, for the tests that take these fixtures."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.tiny_data import texts, write_table
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from sae_research.sources.hub import Hub
from sae_research.training.fit import Workplace
from sae_research.training.keys import Request, TrainedModel, request_for
from sae_research.training.settings import TrainSettings, read_settings

D_IN = 16
SETTINGS: dict[str, Any] = {
    "dataset": "embedded/text", "training_tokens": 800, "layer": 0, "d_sae": 24, "context_size": 16,
    "store_batch_size_prompts": 4, "n_batches_in_buffer": 3, "train_batch_size_tokens": 40, "lr": 1e-3,
    "checkpoint_every": 6,
}  # fmt: skip


def settings_with(architecture: str = "topk", **changes: Any) -> TrainSettings:
    """`SETTINGS` for that architecture, with k = 4 where it takes one, and the changes."""
    options = {"k": 4} if "topk" in architecture else {}
    (settings,) = read_settings({**SETTINGS, "architecture": architecture, **options, **changes}, where="train")
    return settings


def key_of(place: Workplace, settings: TrainSettings, **changes: Any) -> Request:
    """The request for these settings at that workplace."""
    revision = changes.pop("dataset_revision", None) or place.hub.dataset_revision(settings.dataset)
    arguments = {"d_in": D_IN, "model": place.model, "dataset_revision": revision, "lens": "6.54.12", **changes}
    return request_for(settings, **arguments)


@pytest.fixture(scope="session", autouse=True)
def lens_imported() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the packages that sae_lens itself imports
        import sae_lens  # noqa: F401


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`embedded/lm` and `embedded/text`; of its 80 documents each has 4 to 19 words."""
    folder = tmp_path_factory.mktemp("training") / "world"
    words = ["<pad>", "<eos>", "<bos>", *(f"w{i}" for i in range(58))]
    plain = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="w0"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>", padding_side="right"
    )
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=D_IN, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64, initializer_range=0.6, bos_token_id=2, eos_token_id=1, tie_word_embeddings=False,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder / "models" / "lm")
    tokenizer.save_pretrained(folder / "models" / "lm")
    write_table(folder, "text", "train", {"text": texts(np.random.default_rng(0), 80)})
    return folder


@pytest.fixture
def place(world: Path, tmp_path: Path) -> Workplace:
    """A store of its own; the model is loaded for each test."""
    hub = Hub(world)
    model = TrainedModel("embedded/lm", hub.model("embedded/lm").revision, "float32")
    return Workplace(hub, model, "cpu", tmp_path / ".sae_cache")


@pytest.fixture
def request_of(place: Workplace) -> Callable[..., Request]:
    """A request for an SAE: `topk` with k = 4 unless the changes say otherwise."""

    def made(architecture: str = "topk", **changes: Any) -> Request:
        return key_of(place, settings_with(architecture, **changes))

    return made
