"""Loads a language model from where the hub finds it, and checks that it can be stopped and resumed at a site."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from sae_research.errors import UserError
from sae_research.lm.cache import ActivationCache
from sae_research.lm.checks import check_model
from sae_research.lm.gguf import model_folder
from sae_research.lm.model import LanguageModel
from sae_research.lm.site import Site
from sae_research.lm.structure import Decoder, take_apart
from sae_research.lm.transformers_calls import FROM_FOLDER, LOADING_ERRORS, first_line, without_progress_bar
from sae_research.sources.hub import Hub

logger = logging.getLogger(__name__)

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")


def load_language_model(
    hub: Hub,
    name: str,
    *,
    revision: str | None = None,
    dtype: str = "float32",
    device: str = "auto",
    cache: ActivationCache | None = None,
) -> LanguageModel:
    """The model `name` (embedded, folder, GGUF file or hub id), frozen, in evaluation mode, on `device`.

    With a `cache`, captured activations are stored on disk and reused.
    """
    if dtype not in DTYPES:
        raise UserError(f"model dtype {dtype!r} is not known; valid: {', '.join(DTYPES)}")
    target = find_device(device)
    snapshot = hub.model(name, revision=revision)
    folder = model_folder(snapshot.path)
    model: Any = load_weights(folder, name, DTYPES[dtype]).to(target)
    tokenizer = load_tokenizer(folder, name)
    lm = wrap_language_model(model, tokenizer, name=name, revision=snapshot.revision, cache=cache)
    logger.info("model %s, revision %s, %s on %s", name, snapshot.revision, dtype, target)
    return lm


def wrap_language_model(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    *,
    name: str,
    revision: str,
    cache: ActivationCache | None = None,
) -> LanguageModel:
    """A loaded model of the Hugging Face library, taken apart and checked; `model` itself is not changed.

    Its tokenizer must pad on the right and have bos and pad tokens, see `completed_tokenizer`.
    """
    decoder = take_apart(model, model.config.get_text_config().num_hidden_layers)
    # What a cache holds must not stand in for what is checked.
    check_model(LanguageModel(decoder, tokenizer, name=name, revision=revision))
    return LanguageModel(decoder, tokenizer, name=name, revision=revision, cache=cache)


@dataclass(frozen=True)
class ModelShape:
    """The sizes that an SAE must fit, from a model's config alone."""

    config: Any

    @property
    def n_layers(self) -> int:
        return self.config.get_text_config().num_hidden_layers

    def width(self, site: Site) -> int:
        """The number of dimensions of the activation at `site`."""
        if site.kind != "attn_z":
            return self.config.get_text_config().hidden_size
        # How wide the heads are side by side, each architecture computes in its own way.
        return self._without_weights.width(site)

    def canonical(self, site: Site) -> Site:
        """`site` under the one name that all names of it have in this model."""
        is_module = site.kind in ("mlp_module", "attn_module")
        return self._without_weights.canonical(site) if is_module else site

    @cached_property
    def _without_weights(self) -> Decoder:
        with torch.device("meta"):
            return take_apart(AutoModelForCausalLM.from_config(self.config), self.n_layers)


def model_shape(path: Path) -> ModelShape:
    """The shape of the model that is at `path`, a folder or a GGUF file."""
    folder = model_folder(path)
    try:
        return ModelShape(AutoConfig.from_pretrained(folder, **FROM_FOLDER))
    except LOADING_ERRORS as error:
        raise UserError(f"cannot read the config of the model in {folder}: {first_line(error)}") from error


def find_device(device: str) -> torch.device:
    """The device for 'auto' (cuda if there is one, else cpu), 'cpu', 'cuda' or 'cuda:N'."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        target = torch.device(device)
    except RuntimeError as error:
        raise UserError(f"device {device!r} is not known; valid: auto, cpu, cuda, cuda:N") from error
    if target.type == "cuda" and (target.index or 0) >= torch.cuda.device_count():
        raise UserError(f"device {device!r}: {torch.cuda.device_count()} CUDA devices found; use 'auto' or 'cpu'")
    return target


def load_weights(folder: Path, name: str, dtype: torch.dtype) -> nn.Module:
    """The model of the folder, frozen, in evaluation mode: from safetensors alone, without code of its own."""
    if not (folder / "config.json").is_file():
        raise UserError(f"model {name!r}: {folder} has no config.json, so it is not a model folder; correct the name")
    if not any(folder.glob("*.safetensors")):
        raise UserError(
            f"model {name!r}: {folder} has no .safetensors file (pickled .bin weights are never loaded); "
            "choose a repository or revision with safetensors, or save the model again with save_pretrained"
        )
    try:
        config = AutoConfig.from_pretrained(folder, **FROM_FOLDER)
        options: dict[str, Any] = {"dtype": dtype, "use_safetensors": True, **_attention(config), **FROM_FOLDER}
        with without_progress_bar():
            loaded: Any = AutoModelForCausalLM.from_pretrained(folder, **options, output_loading_info=True)
    except LOADING_ERRORS as error:
        raise UserError(f"model {name!r}: cannot load {folder}: {first_line(error)}") from error
    model, report = loaded
    if report["missing_keys"]:
        raise UserError(
            f"model {name!r}: {folder} lacks the weights {', '.join(sorted(report['missing_keys'])[:4])} "
            f"({len(report['missing_keys'])} in all); is the checkpoint complete, and a decoder language model?"
        )
    return model.eval().requires_grad_(False)


def _attention(config: Any) -> dict[str, str]:
    """SDPA, the library's default, cannot cap attention scores: models with a soft cap (Gemma 2) run eagerly."""
    has_cap = getattr(config.get_text_config(), "attn_logit_softcapping", None) is not None
    return {"attn_implementation": "eager"} if has_cap else {}


def load_tokenizer(folder: Path, name: str) -> PreTrainedTokenizerBase:
    """The folder's tokenizer, completed."""
    if not any((folder / file).is_file() for file in _TOKENIZER_FILES):
        raise UserError(
            f"model {name!r}: {folder} has no tokenizer (none of {', '.join(_TOKENIZER_FILES)}); "
            "save it there with its save_pretrained"
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **FROM_FOLDER)
    except LOADING_ERRORS as error:
        raise UserError(f"model {name!r}: cannot load the tokenizer of {folder}: {first_line(error)}") from error
    return completed_tokenizer(tokenizer)


def completed_tokenizer(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """`tokenizer` itself, now padding on the right; eos stands in for a missing pad or bos, as in TransformerLens."""
    tokenizer.padding_side = "right"
    for token in ("pad_token", "bos_token"):
        if getattr(tokenizer, token) is None:
            setattr(tokenizer, token, tokenizer.eos_token)
    return tokenizer
