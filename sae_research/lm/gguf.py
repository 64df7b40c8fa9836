"""GGUF models: unpacked once into an ordinary model folder, in float32, by transformers and the package gguf.

What reads a model folder (this package, SAEBench through TransformerLens) then reads a GGUF model too.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Mapping
from contextlib import redirect_stderr
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from sae_research.digests import digest_of
from sae_research.errors import UserError
from sae_research.files import folder_in_the_making
from sae_research.lm.transformers_calls import FROM_FOLDER, LOADING_ERRORS, first_line, without_progress_bar
from sae_research.sources.blobs import content_digest
from sae_research.sources.listings import hub_cache
from sae_research.sources.model_names import is_gguf

log = logging.getLogger(__name__)

_DIGESTS = "unpacked.json"
_MAGIC = b"GGUF"
_ERRORS = (*LOADING_ERRORS, IndexError, AttributeError, OverflowError)
"""What the readers of a GGUF file raise where it is damaged."""


def model_folder(path: Path) -> Path:
    """The folder of a model: `path` itself, or for a GGUF file one that it has been unpacked into.

    It lies beside the hub's cache (HF_HOME) under the digest of the file and of what unpacked it; a damaged one is made
    again.
    """
    if path.is_dir() or not is_gguf(path.name):
        return path
    _require_reader(path)
    parts = [content_digest(path), version("transformers"), version("gguf")]
    store = hub_cache().parent / "sae_research_gguf"
    folder = store / digest_of(parts)[:32]
    if not _is_intact(folder):
        log.info("%s is unpacked into %s (once)", path, folder)
        with folder_in_the_making(folder, scratch=store) as draft:
            _unpack(path, draft)
            (draft / _DIGESTS).write_text(json.dumps(_digests(draft), indent=2) + "\n")
    return folder


def _digests(folder: Path) -> Mapping[str, str]:
    return {file.name: content_digest(file) for file in sorted(folder.iterdir()) if file.name != _DIGESTS}


def _is_intact(folder: Path) -> bool:
    try:
        return json.loads((folder / _DIGESTS).read_text()) == _digests(folder)
    except (OSError, ValueError):
        return False


def _require_reader(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise UserError(f"{path} is not a GGUF file: it does not begin with GGUF; fetch it again")
    missing = [name for name in ("accelerate", "gguf") if find_spec(name) is None]
    if missing:
        raise UserError(
            f"{path}: a GGUF model needs the packages accelerate and gguf: python -m pip install {' '.join(missing)}"
        )
    if find_spec("kernels") is not None:
        raise UserError(
            f"{path}: with the package kernels installed, transformers would fetch code from the hub for a GGUF model "
            "and run it; uninstall kernels, or use the model's safetensors"
        )


def _unpack(path: Path, folder: Path) -> None:
    """Writes config, tokenizer and float32 weights into `folder`."""
    options: dict[str, Any] = {**FROM_FOLDER, "gguf_file": path.name}
    try:
        _require_plain_rotation(path)
        config = AutoConfig.from_pretrained(path.parent, **options)
        tokenizer = AutoTokenizer.from_pretrained(path.parent, **options)
        with redirect_stderr(io.StringIO()):  # a bar that cannot be switched off
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                path.parent, config=config, dtype=torch.float32, output_loading_info=True, **options
            )
        packed, report = loaded
        # The library does not save a model that came from GGUF; this one has the same tensors.
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        model.load_state_dict(packed.state_dict(), assign=True)
    except _ERRORS as error:
        raise UserError(f"cannot read the GGUF model {path}: {first_line(error)}") from error
    if report["missing_keys"]:
        raise UserError(
            f"the GGUF model {path} lacks the weights {', '.join(sorted(report['missing_keys'])[:4])} "
            f"({len(report['missing_keys'])} in all); is it one of several files, or not a language model?"
        )
    model.tie_weights()
    with without_progress_bar():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _require_plain_rotation(path: Path) -> None:
    """UserError if positions are rotated in a way that transformers does not read from a GGUF file (Llama 3.1)."""
    from gguf import GGUFReader

    reader = GGUFReader(path)
    scaled = [t.name for t in reader.tensors if t.name.startswith("rope_") and bool((t.data != 1).any())]
    for name, field in reader.fields.items():
        if name.endswith(".rope.scaling.type") and bytes(field.parts[field.data[0]]) != b"none":
            scaled.append(name)
    if scaled:
        raise UserError(
            f"{path}: its rotary positions are scaled ({', '.join(scaled)}), which transformers does not read from a "
            "GGUF file, so that it would compute another model; use the model's safetensors"
        )
