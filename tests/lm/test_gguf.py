"""GGUF models: a file written here is the model it was written from, wherever it lies and whatever is wrong with it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFWriter, RopeScalingType
from gguf.quants import quantize
from huggingface_hub import constants
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from sae_research.errors import UserError
from sae_research.lm.load import load_language_model, model_shape
from sae_research.lm.site import Site
from sae_research.sources.hub import Hub

HUB = Hub(Path("no-world"))
N_HEADS, N_KEY_HEADS, HEAD = 4, 2, 8
PARTS = {
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
}  # fmt: skip


@pytest.fixture(scope="module")
def source(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=N_HEADS,
        num_key_value_heads=N_KEY_HEADS, intermediate_size=64, max_position_embeddings=64, initializer_range=0.3,
        rms_norm_eps=1e-5, tie_word_embeddings=False,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval().requires_grad_(False)


def _name(parameter: str) -> str:
    """llama.cpp's name of a parameter."""
    whole = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    module = parameter.removesuffix(".weight")
    if module in whole:
        return f"{whole[module]}.weight"
    _, _, layer, part = module.split(".", 3)
    return f"blk.{layer}.{PARTS[part]}.weight"


def _written(name: str, weight: Tensor) -> np.ndarray:
    """As llama.cpp stores it: rotated pairs are neighbours, not halves of a head."""
    if name.endswith(("attn_q.weight", "attn_k.weight")):
        heads = N_HEADS if "attn_q" in name else N_KEY_HEADS
        weight = weight.reshape(heads, 2, HEAD // 2, -1).transpose(1, 2).reshape(weight.shape)
    return weight.numpy()


def write_gguf(path: Path, model: Any, tokenizer: PreTrainedTokenizerFast, *, packed: str = "", **more: Any) -> None:
    """The model in F32, the weight `packed` in Q8_0; without what `more` says is to be left out."""
    writer = GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_block_count(2)
    writer.add_feed_forward_length(64)
    writer.add_head_count(N_HEADS)
    writer.add_head_count_kv(N_KEY_HEADS)
    writer.add_rope_dimension_count(HEAD)
    writer.add_layer_norm_rms_eps(1e-5)
    if more.get("scaled"):
        writer.add_rope_scaling_type(RopeScalingType.YARN)
    content = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    tokens = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if i < 3 else 1 for i in range(len(tokens))])
    writer.add_token_merges([" ".join(pair) for pair in content["merges"]])
    writer.add_pad_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    for parameter, weight in model.state_dict().items():
        name = _name(parameter)
        if name == more.get("without"):
            continue
        if name == packed:
            q8 = GGMLQuantizationType.Q8_0
            writer.add_tensor(name, quantize(_written(name, weight), q8), raw_dtype=q8)
        else:
            writer.add_tensor(name, _written(name, weight))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where GGUF files are unpacked in these tests."""
    cache = tmp_path_factory.mktemp("hf") / "hub"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HUB_CACHE", str(cache))
        yield cache.parent / "sae_research_gguf"


@pytest.fixture(scope="module")
def file(
    source: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory, store: Path
) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write_gguf(path, source, tokenizer)
    return path


def test_it_is_the_model_that_it_was_written_from(
    file: Path, source: Any, tokenizer: PreTrainedTokenizerFast, capfd: pytest.CaptureFixture[str]
) -> None:
    lm = load_language_model(HUB, str(file), device="cpu")
    assert capfd.readouterr() == ("", "")
    text = "the cat sat on 12 mats, far away!"
    assert lm.tokenizer(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert (lm.tokenizer.bos_token_id, lm.tokenizer.eos_token_id, lm.tokenizer.pad_token_id) == (1, 2, 0)
    tokens = torch.randint(3, 257, (2, 20), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(lm.logits(tokens), source(tokens).logits)
    seen = source(tokens, output_hidden_states=True).hidden_states
    torch.testing.assert_close(lm.capture(tokens, Site(0, "resid_post")), seen[1])
    assert lm.revision.startswith("sha256:")
    assert model_shape(file).width(Site(1, "attn_z")) == 32


def test_the_folder_that_holds_it_is_the_model_too_and_is_unpacked_once(file: Path, store: Path) -> None:
    first = load_language_model(HUB, str(file.parent), device="cpu")
    [folder] = store.iterdir()
    times = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    again = load_language_model(HUB, str(file), device="cpu")
    assert first.revision == again.revision
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == times
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    load_language_model(HUB, str(file), device="cpu")
    assert weights.read_bytes() == whole, "a damaged one is made again"


def test_blocks_of_eight_bits_are_multiplied_out(
    source: Any, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, store: Path
) -> None:
    write_gguf(tmp_path / "packed.gguf", source, tokenizer, packed="blk.1.ffn_down.weight")
    lm = load_language_model(HUB, str(tmp_path / "packed.gguf"), device="cpu")
    model: Any = lm.plain_model
    blocks = source.model.layers[1].mlp.down_proj.weight.reshape(-1, 32)
    steps = blocks.abs().amax(dim=1, keepdim=True) / 127
    # The step is stored in half precision, the number of steps is whole.
    expected = torch.round(blocks / steps) * steps.half().float()
    torch.testing.assert_close(model.model.layers[1].mlp.down_proj.weight.reshape(-1, 32), expected, atol=1e-6, rtol=0)
    assert torch.equal(model.model.layers[0].mlp.down_proj.weight, source.model.layers[0].mlp.down_proj.weight)


def test_what_cannot_be_read_is_refused_and_leaves_nothing(
    file: Path, source: Any, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, store: Path
) -> None:
    whole = file.read_bytes()
    before = sorted(store.iterdir())
    (tmp_path / "text.gguf").write_bytes(b"<html>not found</html>")
    (tmp_path / "header.gguf").write_bytes(whole[:40])
    (tmp_path / "half.gguf").write_bytes(whole[: len(whole) // 2])
    write_gguf(tmp_path / "lacks.gguf", source, tokenizer, without="blk.1.ffn_up.weight")
    write_gguf(tmp_path / "scaled.gguf", source, tokenizer, scaled=True)
    messages = {
        "text": r"text.gguf is not a GGUF file: it does not begin with GGUF; fetch it again",
        "header": r"cannot read the GGUF model .*header.gguf",
        "half": r"cannot read the GGUF model .*half.gguf",
        "lacks": r"lacks.gguf lacks the weights model.layers.1.mlp.up_proj.weight \(1 in all\)",
        "scaled": r"scaled.gguf: its rotary positions are scaled \(llama.rope.scaling.type\), .* use the model's safet",
    }
    for name, message in messages.items():
        with pytest.raises(UserError, match=message):
            load_language_model(HUB, str(tmp_path / f"{name}.gguf"), device="cpu")
    assert sorted(store.iterdir()) == before


def test_several_files_or_none_are_refused_by_name(file: Path, tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf"):
        shutil.copy(file, tmp_path / name)
    with pytest.raises(UserError, match=r"several GGUF files and no safetensors; name one of them: .*/a.gguf, .*/b.gg"):
        HUB.model(str(tmp_path))
    with pytest.raises(UserError, match=r"'.*/c.gguf': there is no such folder or file"):
        HUB.model(str(tmp_path / "c.gguf"))
    snapshot = HUB.model(str(tmp_path / "a.gguf"))
    assert HUB.model(str(tmp_path / "a.gguf"), revision=snapshot.revision) == snapshot
    with pytest.raises(UserError, match=r"its content is sha256:.*, expected sha256:0"):
        HUB.model(str(tmp_path / "a.gguf"), revision="sha256:0")


def test_without_the_packages_the_error_says_what_to_install(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sae_research.lm.gguf.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs the packages accelerate and gguf: python -m pip install accelerate gg"):
        load_language_model(HUB, str(file), device="cpu")
    monkeypatch.setattr("sae_research.lm.gguf.find_spec", lambda name: object())
    with pytest.raises(UserError, match=r"kernels installed, transformers would fetch code .* uninstall kernels"):
        load_language_model(HUB, str(file), device="cpu")
