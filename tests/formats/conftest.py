"""Random checkpoints in the layouts that others write."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

D_IN, D_SAE, K = 6, 16, 4
INT_K = torch.tensor(K, dtype=torch.int32)
LINEAR = {"encoder.weight": (D_SAE, D_IN), "encoder.bias": (D_SAE,), "decoder.weight": (D_IN, D_SAE)}
PLAIN = {"W_enc": (D_IN, D_SAE), "b_enc": (D_SAE,), "W_dec": (D_SAE, D_IN), "b_dec": (D_IN,)}
TOP = {**LINEAR, "b_dec": (D_IN,)}
# dict_class -> (a trainer that writes it, its tensors, its numbers)
CLASSES: dict[str, tuple[str, dict[str, tuple[int, ...]], dict[str, Tensor]]] = {
    "AutoEncoder": ("StandardTrainer", {**LINEAR, "bias": (D_IN,)}, {}),
    "AutoEncoderNew": ("StandardTrainerNew", {**LINEAR, "decoder.bias": (D_IN,)}, {}),
    "GatedAutoEncoder": (
        "GatedSAETrainer",
        {
            "encoder.weight": (D_SAE, D_IN), "decoder.weight": (D_IN, D_SAE), "decoder_bias": (D_IN,),
            "r_mag": (D_SAE,), "gate_bias": (D_SAE,), "mag_bias": (D_SAE,),
        },
        {},
    ),
    "AutoEncoderTopK": ("TopKTrainer", TOP, {"k": INT_K, "threshold": torch.tensor(-1.0)}),
    "BatchTopKSAE": ("BatchTopKTrainer", TOP, {"k": INT_K, "threshold": torch.tensor(0.7)}),
    "MatryoshkaBatchTopKSAE": (
        "MatryoshkaBatchTopKTrainer",
        PLAIN,
        {"k": INT_K, "threshold": torch.tensor(0.7), "group_sizes": torch.tensor([6, 10])},
    ),
    "JumpReluAutoEncoder": ("JumpReluTrainer", {**PLAIN, "threshold": (D_SAE,)}, {}),
}  # fmt: skip

MakeCheckpoint = Callable[..., Path]


def random_state(dict_class: str, *, unit: bool = True) -> dict[str, Tensor]:
    """A state_dict of the class, atoms of norm 1 or of norms between 1 and 2."""
    generator = torch.Generator().manual_seed(3)
    _, shapes, numbers = CLASSES[dict_class]
    state = {key: torch.randn(shape, generator=generator) for key, shape in shapes.items()}
    decoder, axis = ("decoder.weight", 0) if "decoder.weight" in state else ("W_dec", 1)
    state[decoder] /= state[decoder].norm(dim=axis, keepdim=True)
    if not unit:
        norms = 1 + torch.rand(D_SAE, generator=generator)
        state[decoder] *= norms.unsqueeze(axis)
    if "threshold" in state:
        state["threshold"] = state["threshold"].abs()
    return {**state, **numbers}


def config_of(dict_class: str, /, **trainer: Any) -> dict[str, Any]:
    """`config.json` of such a run."""
    return {
        "trainer": {
            "trainer_class": CLASSES[dict_class][0], "dict_class": dict_class, "activation_dim": D_IN,
            "dict_size": D_SAE, "layer": 3, "lm_name": "EleutherAI/pythia-70m-deduped", "steps": 10,
            "submodule_name": "resid_post_layer_3",
            **({"k": K} if "k" in CLASSES[dict_class][2] else {}), **trainer,
        },
        "buffer": {"out_batch_size": 8, "ctx_len": 128},
    }  # fmt: skip


@pytest.fixture
def checkpoint(tmp_path: Path) -> MakeCheckpoint:
    """checkpoint("AutoEncoder", layer=4) writes `trainer_0/ae.pt` and `config.json`; the path of the former."""

    def make(
        dict_class: str, /, *, state: Any = None, unit: bool = True, drop: tuple[str, ...] = (), **trainer: Any
    ) -> Path:
        folder = tmp_path / "run" / "resid_post_layer_3" / "trainer_0"
        folder.mkdir(parents=True, exist_ok=True)
        config = config_of(dict_class, **trainer)
        config["trainer"] = {key: value for key, value in config["trainer"].items() if key not in drop}
        (folder / "config.json").write_text(json.dumps(config))
        torch.save(random_state(dict_class, unit=unit) if state is None else state, folder / "ae.pt")
        return folder / "ae.pt"

    return make
