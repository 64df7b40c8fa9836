"""Nested-k TopK SAEs in dictionary_learning's layout: `ae.pt` with `k_tensor`, each k of which makes an SAE of its own.

codes = the k entries of (x - b_dec) W_dec^T that are largest in magnitude, with their signs: the encoder is tied.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sae_research.errors import UserError
from sae_research.foreign import shown
from sae_research.formats.layout import Layout, assembled, tensors_of
from sae_research.formats.peeking import PICKLED, shapes_in
from sae_research.formats.readers.dictionary_learning import WEIGHTS, config_path_of, trainer_site
from sae_research.formats.reading import naming_file, optional, printable, read_json, read_pickled, required
from sae_research.formats.stated import UNKNOWN_MODEL
from sae_research.saes.base import Sae

_KS = "k_tensor"
_DECODERS = ("decoder.weight", "decoder._weight")


def recognises(path: Path) -> bool:
    """A pickled file with `k_tensor` and a decoder, with `config.json` beside it, or a folder with both."""
    weights = _weights(path)
    shapes = shapes_in(weights) if weights.suffix in PICKLED else {}
    return bool({_KS, f"ae.{_KS}"} & set(shapes)) and config_path_of(weights).is_file()


def companions(_filename: str) -> tuple[str, ...]:
    """Those of dictionary_learning."""
    return ()


def members(path: Path, *, sae: str) -> list[dict[str, Any]]:
    """Each k."""
    return [{"k": k} for k in _ks(_state(_weights(path), sae), _trainer(path, sae), sae)]


def read(path: Path, *, name: str, source: Mapping[str, Any]) -> Sae:
    """The SAE of `source["k"]`."""
    weights, trainer = _weights(path), _trainer(path, name)
    state = _state(weights, name)
    with naming_file(weights):
        decoder = next((key for key in _DECODERS if key in state), _DECODERS[0])
        layout = Layout({decoder: "W_dec", "b_dec": "b_dec"}, ignored=frozenset({_KS, "k", "threshold"}))
        tensors = tensors_of(state, layout, sae=name)
        return assembled(
            {**tensors, "W_enc": tensors["W_dec"].T, "b_enc": torch.zeros(len(tensors["W_dec"]))},
            name=name,
            architecture="abstopk",
            site=trainer_site(trainer, name),
            model_name=printable(trainer, "lm_name", sae=name, path=config_path_of(weights)) or UNKNOWN_MODEL,
            hyperparameters={"k": source["k"], "subtract_b_dec": True},
            source=source,
        )


def _weights(path: Path) -> Path:
    return path / WEIGHTS if path.is_dir() else path


def _trainer(path: Path, name: str) -> dict[str, Any]:
    config_path = config_path_of(_weights(path))
    return required(read_json(config_path, sae=name), "trainer", dict, sae=name, path=config_path)


def _state(weights: Path, name: str) -> dict[str, Any]:
    """The state_dict, which a training backup has under `ae`."""
    content = read_pickled(weights, sae=name)
    return content["ae"] if isinstance(content.get("ae"), dict) else content


def _ks(state: Mapping[str, Any], trainer: Mapping[str, Any], name: str) -> list[int]:
    """The values of k, which weights and configuration must agree on if both have them."""
    tensor = state.get(_KS)
    if not isinstance(tensor, Tensor) or tensor.is_floating_point() or tensor.ndim != 1 or tensor.numel() == 0:
        raise UserError(f"SAE {name!r}: {_KS} is {shown(tensor)}, expected whole numbers")
    ks = [int(k) for k in tensor]
    stated = optional(trainer, "k_values", list, sae=name, path=Path("config.json"))
    if stated is not None and stated != ks:
        raise UserError(f"SAE {name!r}: {_KS} has {shown(ks)}, trainer.k_values {shown(stated)}; are they of one run?")
    return ks
