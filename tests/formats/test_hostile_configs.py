"""Configs and weights of other people's checkpoints with wrong types, hostile texts and numbers that are none."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.saes import random_sae
from torch import Tensor

from sae_research.errors import UserError
from sae_research.formats.readers.saelens import load_sae, save_sae
from sae_research.formats.registry import read_sae

NAN = float("nan")


def refused(path: Path, message: str) -> None:
    """The reader ends with one short line like `message` that names the file."""
    with pytest.raises(UserError, match=message) as caught:
        read_sae(path, name="mine", source={})
    said = str(caught.value)
    assert said.isprintable()
    assert len(said) < 500 + len(str(path))
    assert str(path.parent) in said
    assert "cannot be read" not in said, "the last net is for what nobody thought of"


def lens_folder(folder: Path, kind: str = "relu", /, **changes: Any) -> Path:
    """A folder as SAELens writes it, with other values in cfg.json; `...` removes one."""
    save_sae(random_sae(kind), folder)
    config = json.loads((folder / "cfg.json").read_text())
    del config["sae_research"]
    config = {key: value for key, value in {**config, **changes}.items() if value is not ...}
    (folder / "cfg.json").write_text(json.dumps(config))
    return folder


def metadata(**changes: Any) -> dict[str, Any]:
    return {"metadata": {"hook_name": "blocks.2.hook_mlp_out", "model_name": "gpt2", **changes}}


OLD: Mapping[str, Any] = {"metadata": ..., "hook_point": "blocks.2.hook_mlp_out", "architecture": ...}


@pytest.mark.parametrize(
    ("architecture", "changes", "message"),
    [
        ("relu", {"metadata": None}, "metadata is None, expected dict"),
        ("relu", {"metadata": []}, r"metadata is \[\], expected dict"),
        ("relu", {"metadata": "x"}, "metadata is 'x', expected dict"),
        ("relu", {"architecture": []}, r"architecture is \[\], expected str"),
        ("relu", {"architecture": ...}, "has no 'architecture'"),
        ("relu", {"architecture": "x" * 10**6}, "architecture 'xxx.* is not supported"),
        ("relu", {"reshape_activations": []}, r"reshape_activations is \[\], expected str"),
        ("relu", {"normalize_activations": []}, r"normalize_activations is \[\], expected"),
        ("relu", {"d_in": True}, "d_in is True, expected int"),
        ("relu", {"d_in": 6.0}, "d_in is 6.0, expected int"),
        ("relu", {"d_sae": "x" * 10**6}, "d_sae is 'xxx"),
        ("relu", {"apply_b_dec_to_input": "false"}, "apply_b_dec_to_input is 'false', expected bool"),
        ("relu", {"rescale_acts_by_decoder_norm": "false"}, "rescale_acts_by_decoder_norm is 'false', expected bool"),
        ("relu", metadata(training_architecture=[]), r"training_architecture is \[\], expected str"),
        ("relu", metadata(training_architecture_details=[1]), r"training_architecture_details is \[1\], expected dict"),
        ("relu", metadata(hook_name=[]), r"hook_name is \[\], expected str"),
        ("relu", metadata(hook_name="blocks.2.hook_mlp_out\x1b[31m"), "hook name .* is not known"),
        ("relu", metadata(hook_name="x" * 10**6), "hook name 'xxx"),
        ("relu", metadata(model_name=[]), r"model_name is \[\], expected str"),
        ("relu", metadata(model_name="a\x1b[31m"), r"model_name is 'a\\x1b\[31m', expected"),
        ("topk", {"k": "abc"}, "k: got 'abc'"),
        ("topk", {"k": 2.5}, "k: got 2.5"),
        ("topk", {"k": NAN}, "k: got nan"),
        ("topk", {"k": 0}, "k is 0"),
        ("topk", {"k": 10**30}, "k: got 1000"),
        ("relu", {**OLD, "activation_fn_kwargs": "x"}, "activation_fn_kwargs is 'x', expected dict"),
        ("relu", {**OLD, "activation_fn_str": []}, r"activation_fn_str is \[\], expected str"),
        ("relu", {**OLD, "normalize_activations": []}, r"normalize_activations is \[\], expected"),
        # Only one normalisation can be folded into the weights.
        ("relu", {"normalize_activations": "expected_average_only_in"}, "fold_activation_norm_scaling_factor"),
        ("relu", {"normalize_activations": "covariance_whitening"}, "fold_activation_whitening"),
        ("relu", {"normalize_activations": "batch_norm"}, "is not supported, expected one of none, layer_norm"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_a_cfg_json_of_wrong_types_is_one_line(
    architecture: str, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    refused(lens_folder(tmp_path / "sae", architecture, **changes), message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (None, "sae_research is None, expected dict"),
        ([], r"sae_research is \[\], expected dict"),
        ("x", "sae_research is 'x', expected dict"),
        ({}, "has no '(name|schema)'"),
        ({"architecture": []}, r"architecture is \[\], expected str"),
        ({"hyperparameters": None}, "hyperparameters is None, expected dict"),
        ({"hyperparameters": {"<script>": 1}}, "unknown key '<script>'"),
        ({"training_tokens": "x"}, "training_tokens is 'x', expected int"),
        ({"digest": "00"}, "is not what was written: its digest differs"),
        ({"digest": None}, "digest is None, expected str"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_folder_of_ours_with_wrong_types_or_another_digest_is_one_line(
    changes: Any, message: str, tmp_path: Path
) -> None:
    folder = tmp_path / "sae"
    save_sae(random_sae("relu"), folder)
    config = json.loads((folder / "cfg.json").read_text())
    block = {**config["sae_research"], **changes} if isinstance(changes, dict) and changes else changes
    (folder / "cfg.json").write_text(json.dumps({**config, "sae_research": block}))
    refused(folder, message)
    with pytest.raises(UserError, match=message):
        load_sae(folder)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("dict_class", [], r"dict_class is \[\], expected str"),
        ("trainer_class", [], r"trainer_class is \[\], expected str"),
        ("trainer_class", "<img src=x onerror=alert(1)>", "trainer_class is '<img .*, expected"),
        ("lm_name", [], r"lm_name is \[\], expected str"),
        ("lm_name", "a\u202eb", r"lm_name is 'a\\u202eb', expected"),
        ("layer", True, "trainer.layer is True"),
        ("layer", "3", "trainer.layer is '3'"),
        ("submodule_name", [], r"submodule_name is \[\], expected str"),
        ("submodule_name", "resid_post_layer_٣", "submodule_name .* is not supported"),
        ("activation_dim", "6", "activation_dim is '6', expected int"),
        ("activation_dim", [6], r"activation_dim is \[6\], expected int"),
        ("k", [4, 4], r"k is \[4, 4\], expected int"),
        ("k", NAN, "k is nan, expected int"),
        ("k", "abc", "k is 'abc', expected int"),
        ("k", True, "k is True, expected int"),
        ("steps", "x", "steps is 'x', expected int"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_config_json_of_wrong_types_is_one_line(
    key: str, value: Any, message: str, checkpoint: Callable[..., Path]
) -> None:
    refused(checkpoint("AutoEncoderTopK", **{key: value}), message)


@pytest.mark.parametrize("buffer", ["x", [1], {"out_batch_size": "x"}])
def test_a_strange_buffer_is_one_line(buffer: Any, checkpoint: Callable[..., Path]) -> None:
    path = checkpoint("AutoEncoder")
    config = json.loads((path.parent / "config.json").read_text())
    (path.parent / "config.json").write_text(json.dumps({**config, "buffer": buffer}))
    refused(path, "buffer is .*, expected dict|out_batch_size is 'x', expected int")


@pytest.mark.parametrize("factor", ["abc", 0, -2.0, NAN, True, torch.ones(3), torch.tensor(0.0), float("inf")])
def test_a_norm_factor_that_scales_nothing_is_refused(factor: Any, checkpoint: Callable[..., Path]) -> None:
    state = torch.load(checkpoint("AutoEncoder"), weights_only=True)
    refused(
        checkpoint("AutoEncoder", state={"ae": state, "norm_factor": factor}), "norm_factor is .*, expected a number"
    )


@pytest.mark.parametrize("k", [torch.tensor([4, 4]), torch.tensor(NAN), "abc", torch.tensor(True), [4]])
def test_a_stored_k_that_is_no_number_is_refused(k: Any, checkpoint: Callable[..., Path]) -> None:
    state = torch.load(checkpoint("AutoEncoderTopK"), weights_only=True)
    refused(checkpoint("AutoEncoderTopK", state={**state, "k": k}), "its k is .*, expected a whole number")


@pytest.mark.parametrize("dtype", [torch.complex64, torch.int8, torch.bool, torch.int64])
def test_weights_of_another_kind_than_floats_are_refused(
    dtype: torch.dtype, checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    def cast(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
        return {**tensors, name: tensors[name].to(dtype)}

    said = rf"is of {dtype}, expected floats"
    state = torch.load(checkpoint("AutoEncoder"), weights_only=True)
    refused(checkpoint("AutoEncoder", state=cast(state, "encoder.weight")), f"encoder.weight {said}")
    for folder in (lens_folder(tmp_path / "lens"), tmp_path / "ours"):
        if folder.name == "ours":
            save_sae(random_sae("relu"), folder)
        weights = folder / "sae_weights.safetensors"
        save_file(cast(load_file(weights), "W_enc"), weights)
        refused(folder, f"W_enc {said}")


@pytest.mark.parametrize("shape", [(), (0,), (3, 3, 3)])
def test_a_dictionary_that_is_no_matrix_is_refused(shape: tuple[int, ...], checkpoint: Callable[..., Path]) -> None:
    state = torch.load(checkpoint("AutoEncoder"), weights_only=True)
    path = checkpoint("AutoEncoder", state={**state, "decoder.weight": torch.zeros(shape)})
    refused(path, "decoder.weight has shape .*, expected .* or its transpose")


def test_half_precision_and_float8_are_floats(tmp_path: Path) -> None:
    folder = lens_folder(tmp_path / "lens")
    weights = folder / "sae_weights.safetensors"
    tensors = load_file(weights)
    for dtype in (torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn):
        save_file({name: tensor.to(dtype) for name, tensor in tensors.items()}, weights)
        assert read_sae(folder, name="mine", source={}).W_dec.dtype == torch.float32


def test_what_nobody_thought_of_is_still_one_line_that_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OverflowError("what a surprise\nsecond line")

    folder = lens_folder(tmp_path / "sae")
    monkeypatch.setattr("sae_research.formats.readers.saelens.from_lens", fail)
    with pytest.raises(UserError, match=r"sae cannot be read \(OverflowError: what a surprise\); ") as caught:
        read_sae(folder, name="mine", source={})
    assert isinstance(caught.value.__cause__, OverflowError)
