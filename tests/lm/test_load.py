"""Loading a language model: names, number types, devices, and each way a folder can be wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sae_research.errors import UserError
from sae_research.lm.load import find_device, load_language_model
from sae_research.lm.site import Site
from sae_research.sources.hub import Hub

HUB = Hub(Path("no-world"))


@pytest.fixture
def folder(model_folder: Callable[[str], Path], tmp_path: Path) -> Path:
    """A copy of the tiny model's folder, to be spoilt."""
    return Path(shutil.copytree(model_folder("neox"), tmp_path / "lm"))


def test_the_worlds_model_goes_by_its_name(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "world" / "models").mkdir(parents=True)
    folder.rename(tmp_path / "world" / "models" / "lm")
    lm = load_language_model(Hub(tmp_path / "world"), "embedded/lm", device="cpu")
    assert lm.name == "embedded/lm"
    assert not any(parameter.requires_grad for parameter in lm._decoder.model.parameters())
    assert not lm._decoder.model.training


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("family", ["neox", "gpt2", "llm_rope", "softcapped"])
def test_number_types(model_folder: Callable[[str], Path], family: str, dtype: str) -> None:
    lm = load_language_model(HUB, str(model_folder(family)), dtype=dtype, device="cpu")
    tokens = torch.arange(3, 12).unsqueeze(0)
    assert lm.dtype == getattr(torch, dtype)
    assert lm.capture(tokens, Site(1, "resid_post")).dtype == lm.dtype


def test_unknown_dtype_lists_the_valid_ones(folder: Path) -> None:
    with pytest.raises(UserError, match=r"'float64'.*float32, bfloat16, float16"):
        load_language_model(HUB, str(folder), dtype="float64")


def test_devices() -> None:
    assert find_device("cpu") == torch.device("cpu")
    assert find_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(UserError, match=r"'gpu9'.*valid: auto, cpu"):
        find_device("gpu9")
    with pytest.raises(UserError, match=r"CUDA devices found"):
        find_device("cuda:99")


def test_more_tokens_than_positions_are_refused_and_more_than_trained_on_are_told(
    model_folder: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    learned = load_language_model(HUB, str(model_folder("gpt2")), device="cpu")
    rotary = load_language_model(HUB, str(model_folder("neox")), device="cpu")
    site, long = Site(1, "resid_post"), torch.arange(3, 68).unsqueeze(0)
    x = torch.zeros(1, 65, 32)
    for run in (
        lambda: learned.capture(long, site),
        lambda: learned.resume(site, x, long),
        lambda: learned.logits(long),
        lambda: learned.generate(long[:, :60], 6, site=site, x=x[:, :60]),
    ):
        with pytest.raises(UserError, match=r"65 tokens in a row, but model .*gpt2' has 64 positions; lower"):
            run()
    assert learned.capture(long[:, :64], site).shape == (1, 64, 32)
    assert caplog.messages == []
    for _ in range(2):
        assert rotary.capture(long, site).shape == (1, 65, 32)
    [message] = caplog.messages
    assert "rows of 65 tokens are longer than the 64 that model" in message
    assert "neox' was trained on" in message


def test_missing_folder_names_it_and_the_setup_stage() -> None:
    with pytest.raises(UserError, match=r"embedded/lm.*setup stage"):
        load_language_model(HUB, "embedded/lm")
    with pytest.raises(UserError, match=r"'\./no/such'.*no such folder"):
        load_language_model(HUB, "./no/such")


def test_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no config\.json"):
        load_language_model(HUB, str(tmp_path))


def test_pickled_weights_are_not_loaded(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"never loaded.*safetensors"):
        load_language_model(HUB, str(folder))


def test_corrupt_and_truncated_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    for broken in (b"\x00" * 100, whole[: len(whole) // 2]):
        weights.write_bytes(broken)
        with pytest.raises(UserError, match=r"cannot load"):
            load_language_model(HUB, str(folder))


def test_missing_tensor_is_not_made_up(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    lost = "gpt_neox.layers.1.mlp.dense_h_to_4h.weight"
    del tensors[lost]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=lost):
        load_language_model(HUB, str(folder))


def test_tensor_of_another_shape(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 64}))
    with pytest.raises(UserError, match=r"cannot load"):
        load_language_model(HUB, str(folder))


def test_nan_weights(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["gpt_neox.layers.0.mlp.dense_h_to_4h.weight"][0, 0] = torch.nan
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"not finite"):
        load_language_model(HUB, str(folder), device="cpu")


def test_unknown_architecture_and_broken_config(folder: Path) -> None:
    for text in ('{"model_type": "unheard_of"}', "{not json"):
        (folder / "config.json").write_text(text)
        with pytest.raises(UserError, match=r"cannot load"):
            load_language_model(HUB, str(folder))


def test_model_without_a_decoder(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]}')
    with pytest.raises(UserError):
        load_language_model(HUB, str(folder))


def test_missing_tokenizer(folder: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    with pytest.raises(UserError, match=r"tokenizer"):
        load_language_model(HUB, str(folder), device="cpu")


def test_tokenizer_of_another_model(folder: Path) -> None:
    text = (folder / "tokenizer.json").read_text()
    spoilt = json.loads(text)
    spoilt["added_tokens"].append({**spoilt["added_tokens"][0], "id": 5000, "content": "<far>"})
    spoilt["model"]["vocab"]["<far>"] = 5000
    (folder / "tokenizer.json").write_text(json.dumps(spoilt))
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "pad_token": "<far>"}))
    with pytest.raises(UserError, match=r"id 5000.*belongs to another model"):
        load_language_model(HUB, str(folder), device="cpu")


def test_loading_writes_nothing_to_the_terminal(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load_language_model(HUB, str(folder), device="cpu")
    assert capfd.readouterr() == ("", "")


def test_missing_pad_and_bos_become_eos(folder: Path) -> None:
    config = json.loads((folder / "tokenizer_config.json").read_text())
    del config["pad_token"], config["bos_token"]
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    lm = load_language_model(HUB, str(folder), device="cpu")
    assert lm.tokenizer.bos_token_id == lm.tokenizer.pad_token_id == lm.tokenizer.eos_token_id == 2
    assert lm.special_ids == {2}


@pytest.mark.gpu
def test_cuda_agrees_with_cpu(folder: Path) -> None:
    tokens = torch.arange(3, 12).unsqueeze(0)
    site = Site(1, "resid_post")
    slow, fast = (load_language_model(HUB, str(folder), device=name) for name in ("cpu", "cuda"))
    x = fast.capture(tokens.cuda(), site)
    torch.testing.assert_close(x.cpu(), slow.capture(tokens, site), atol=1e-3, rtol=1e-3)
    logits = fast.unembed(fast.resume(site, x, tokens.cuda()))
    torch.testing.assert_close(logits.cpu(), slow.logits(tokens), atol=1e-3, rtol=1e-3)
