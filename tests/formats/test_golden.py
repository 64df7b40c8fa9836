"""Every format of another project against its own formula in float64, and what happens to broken files of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support.checkpoints import CHECKPOINTS, D_IN, D_SAE, SHAPES, Checkpoint, State
from torch import Tensor

from sae_research.errors import UserError
from sae_research.formats.registry import find_format, format_names, read_sae
from sae_research.saes.base import Sae

ALL = pytest.mark.parametrize("checkpoint", CHECKPOINTS.values(), ids=CHECKPOINTS)
PICKLED = {name: case for name, case in CHECKPOINTS.items() if not case.filename.endswith(".safetensors")}
DICTIONARY_LEARNING = [
    "AutoEncoder", "AutoEncoderNew", "GatedAutoEncoder", "AutoEncoderTopK", "BatchTopKSAE", "MatryoshkaBatchTopKSAE",
    "JumpReluAutoEncoder",
]  # fmt: skip
GEMMA = {"architecture": "jump_relu", "model_name": "google/gemma-3-270m", "hf_hook_point_in": "model.layers.9.output"}
X = 3 * torch.randn(8, D_IN, generator=torch.Generator().manual_seed(5)) + 1


def _read(checkpoint: Checkpoint, path: Path) -> Sae:
    return read_sae(path, name="x", source=checkpoint.source)


def _double(state: State) -> State:
    return {k: v.double() if isinstance(v, Tensor) and v.is_floating_point() else v for k, v in state.items()}


def _agree(sae: Sae, checkpoint: Checkpoint, state: State) -> None:
    codes = sae.encode(X)
    expected, atoms, x_hat = checkpoint.expected(_double(state), X.double())
    assert ((codes != 0) == (expected != 0)).all(), "other latents fire"
    contributions, wanted = codes[..., None] * sae.W_dec, expected[..., None] * atoms
    torch.testing.assert_close(contributions.double(), wanted, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(sae.decode(codes, X).double(), x_hat, rtol=1e-5, atol=1e-5)
    assert 0 < (expected != 0).double().mean() < 1, "the case tests nothing"


@ALL
def test_codes_and_reconstruction_are_those_of_the_formula(checkpoint: Checkpoint, tmp_path: Path) -> None:
    state = checkpoint.state()
    _agree(_read(checkpoint, checkpoint.write(tmp_path, dict(state))), checkpoint, state)


@ALL
def test_bfloat16_is_read_exactly(checkpoint: Checkpoint, tmp_path: Path) -> None:
    state = {
        key: value.bfloat16() if isinstance(value, Tensor) and value.is_floating_point() else value
        for key, value in checkpoint.state().items()
    }
    _agree(_read(checkpoint, checkpoint.write(tmp_path, dict(state))), checkpoint, state)


@ALL
def test_the_other_orientation_is_told_by_the_shape(checkpoint: Checkpoint, tmp_path: Path) -> None:
    state = checkpoint.state()
    turned = {k: v.T.contiguous() if k in checkpoint.names and v.ndim == 2 else v for k, v in state.items()}
    if checkpoint.format_name == "qwen_scope" and not checkpoint.companions:  # recognised by its orientation
        with pytest.raises(UserError, match="is not in a known format"):
            _read(checkpoint, checkpoint.write(tmp_path, turned))
        return
    _agree(_read(checkpoint, checkpoint.write(tmp_path, turned)), checkpoint, state)


@ALL
def test_exactly_one_format_recognises_it(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = checkpoint.write(tmp_path)
    assert [name for name in format_names() if find_format(name).recognises(path)] == [checkpoint.format_name]


@pytest.mark.parametrize("dict_class", DICTIONARY_LEARNING)
def test_only_dictionary_learning_recognises_its_own(checkpoint: Callable[..., Path], dict_class: str) -> None:
    for path in (checkpoint(dict_class), checkpoint(dict_class).parent):
        recognising = [name for name in format_names() if find_format(name).recognises(path)]
        assert recognising == ["dictionary_learning"]


def _folder(root: Path, weights: str, tensors: dict[str, tuple[int, ...]], config: str = "", **content: Any) -> Path:
    """A folder with weights and perhaps a configuration, of other projects' names."""
    path = root / weights
    path.parent.mkdir(parents=True)
    if path.suffix == ".npz":
        np.savez(path, allow_pickle=True, **{key: np.ones(shape, np.float32) for key, shape in tensors.items()})
    else:
        save_file({key: torch.ones(shape) for key, shape in tensors.items()}, path)
    if config:
        (path.parent / config).write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("of_the_folder", [True, False])
def test_folders_of_one_format_are_none_of_anothers(of_the_folder: bool, tmp_path: Path) -> None:
    plain = SHAPES | {"threshold": (D_SAE,)}
    sparse = {"encoder.weight": (D_SAE, D_IN), "encoder.bias": (D_SAE,), "W_dec": (D_SAE, D_IN), "b_dec": (D_IN,)}
    small = {key.replace("W_", "w_"): shape for key, shape in plain.items()}
    paths = {
        "sparsify": _folder(tmp_path, "layers.5/sae.safetensors", sparse, "cfg.json", k=4, d_in=D_IN),
        "gemma_scope": _folder(tmp_path, "layer_12/width_16k/average_l0_71/params.npz", plain),
        "gemma_scope_2": _folder(tmp_path, "resid_post/layer_9/params.safetensors", small, "config.json", **GEMMA),
    }
    if of_the_folder:
        weights = _folder(tmp_path, "lens/sae_weights.safetensors", plain, "cfg.json", architecture="jumprelu")
        paths["saelens"] = weights
    for name, weights in paths.items():
        path = weights.parent if of_the_folder else weights
        assert [other for other in format_names() if find_format(other).recognises(path)] == [name]


@ALL
def test_an_unknown_tensor_is_named(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = checkpoint.write(tmp_path, {**checkpoint.state(), "W_surprise": torch.ones(3)})
    with pytest.raises(UserError, match=r"SAE 'x': .*unexpected '?W_surprise'?.* \(file: "):
        _read(checkpoint, path)


@ALL
def test_a_missing_tensor_is_named_or_the_format_unknown(checkpoint: Checkpoint, tmp_path: Path) -> None:
    state = checkpoint.state()
    missing = next(key for key in checkpoint.names if checkpoint.names[key] == "b_dec" or key == "b_E")
    path = checkpoint.write(tmp_path, {key: value for key, value in state.items() if key != missing})
    with pytest.raises(UserError, match=rf"missing .*{missing.rpartition('.')[2]}|not in a known format"):
        _read(checkpoint, path)


@ALL
def test_nan_is_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    state = checkpoint.state()
    state[next(iter(checkpoint.names))].view(-1)[3] = float("nan")
    with pytest.raises(UserError, match=r"SAE 'x': .*NaN or infinite"):
        _read(checkpoint, checkpoint.write(tmp_path, state))


@ALL
def test_a_truncated_file_is_told(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = checkpoint.write(tmp_path)
    weights = tmp_path / checkpoint.filename
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size * 2 // 3])
    with pytest.raises(UserError, match=r"SAE 'x': .* is (truncated|damaged)"):
        _read(checkpoint, path)


@ALL
def test_integers_are_no_weights(checkpoint: Checkpoint, tmp_path: Path) -> None:
    state = checkpoint.state()
    key = next(iter(checkpoint.names))
    path = checkpoint.write(tmp_path, {**state, key: (10 * state[key]).to(torch.int8)})
    with pytest.raises(UserError, match=r"SAE 'x': .* is of torch\.int8, expected floats"):
        _read(checkpoint, path)


class _Hostile:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("checkpoint", PICKLED.values(), ids=PICKLED)
def test_code_in_a_pickle_is_refused_and_not_run(checkpoint: Checkpoint, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    path = checkpoint.write(tmp_path, {**checkpoint.state(), "W_surprise": _Hostile(mark)})
    with pytest.raises(UserError, match=r"SAE 'x': .* holds pickled code .*, which is refused and was not run"):
        _read(checkpoint, path)
    assert not mark.exists()
