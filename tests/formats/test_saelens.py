"""The project's own folders, and SAELens' of every age, without SAELens."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.saes import random_sae
from torch import Tensor

from sae_research.errors import UserError
from sae_research.formats.readers.saelens import load_sae, save_sae
from sae_research.formats.registry import format_names, read_sae
from sae_research.lm.site import Site
from sae_research.saes.base import Sae
from sae_research.saes.build import build_sae, held_tensors
from sae_research.saes.registry import about, architectures


def _make(architecture: str, *, unit: bool = True, **options: Any) -> Sae:
    sae = random_sae(architecture, seed=4, **options)
    tensors = held_tensors(sae)
    if not unit:
        tensors["W_dec"] = tensors["W_dec"] * (1 + torch.arange(16)[:, None] / 8)
    if "threshold" in tensors:
        tensors["threshold"] = tensors["threshold"].abs()
    card = replace(
        sae.card, name="mine", site=Site(2, "mlp_out"), model_name="gpt2", training_tokens=123,
        source={"repo_id": "r", "revision": None},
    )  # fmt: skip
    return build_sae(card, tensors)


def _lens_folder(folder: Path, kind: str, tensors: dict[str, Tensor], /, **config: Any) -> Path:
    """A version 6 folder as SAELens writes one."""
    folder.mkdir(exist_ok=True)
    content = {
        "d_in": 6, "d_sae": 16, "dtype": "float32", "device": "cpu", "apply_b_dec_to_input": True,
        "normalize_activations": "none", "reshape_activations": "none", "architecture": kind,
        "metadata": {"sae_lens_version": "6.54.0", "model_name": "gpt2", "hook_name": "blocks.2.hook_mlp_out",
                     "hook_head_index": None},
        **config,
    }  # fmt: skip
    (folder / "cfg.json").write_text(json.dumps(content))
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "sae_weights.safetensors")
    return folder


def _tensors(architecture: str, *, unit: bool = True) -> dict[str, Tensor]:
    sae = _make(architecture, unit=unit)
    return {name: sae.get_buffer(name).clone() for name in sae.shapes}


def _x() -> Tensor:
    return 2 * torch.randn(3, 5, 6, generator=torch.Generator().manual_seed(8))


def _read(folder: Path) -> Sae:
    return read_sae(folder, name="mine", source={})


def test_formats_are_found_by_their_files() -> None:
    assert {"saelens", "dictionary_learning"} <= set(format_names())


@pytest.mark.parametrize("architecture", architectures())
def test_what_is_saved_is_what_is_loaded(architecture: str, tmp_path: Path) -> None:
    sae = _make(architecture)
    save_sae(sae, tmp_path / "mine")
    loaded = load_sae(tmp_path / "mine")
    assert loaded.card == sae.card
    assert torch.equal(loaded.encode(_x()), sae.encode(_x()))
    assert torch.equal(loaded.decode(loaded.encode(_x())), sae.decode(sae.encode(_x())))


def test_a_folder_has_the_name_that_saelens_gives_the_architecture(tmp_path: Path) -> None:
    names = {}
    for architecture in architectures():
        save_sae(_make(architecture), tmp_path / architecture)
        names[architecture] = json.loads((tmp_path / architecture / "cfg.json").read_text())["architecture"]
    assert (names["relu"], names["topk"], names["batchtopk"]) == ("standard", "topk", "jumprelu")
    assert all(name == a for a, name in names.items() if not about(a).sae_lens_names)


@pytest.mark.parametrize("architecture", architectures())
def test_the_bytes_depend_on_the_sae_alone(architecture: str, tmp_path: Path) -> None:
    save_sae(_make(architecture), tmp_path / "a")
    save_sae(load_sae(tmp_path / "a"), tmp_path / "b")
    for file in ("cfg.json", "sae_weights.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_saving_replaces_what_was_there(tmp_path: Path) -> None:
    save_sae(_make("relu"), tmp_path / "mine")
    (tmp_path / "mine" / "left_over").touch()
    save_sae(_make("topk"), tmp_path / "mine")
    assert load_sae(tmp_path / "mine").card.architecture == "topk"
    assert sorted(p.name for p in (tmp_path / "mine").iterdir()) == ["cfg.json", "sae_weights.safetensors"]


def test_our_folder_as_a_comparison_keeps_its_architecture(tmp_path: Path) -> None:
    save_sae(_make("batchtopk"), tmp_path / "mine")
    read = read_sae(tmp_path / "mine", name="again", source={"repo_id": "r"})
    assert (read.card.architecture, read.card.name) == ("batchtopk", "again")
    assert read.card.digest == _make("batchtopk").card.digest


def test_changed_contents_are_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    save_sae(_make("relu"), folder)
    tensors = load_file(folder / "sae_weights.safetensors")
    tensors["b_enc"][0] += 1
    save_file(tensors, folder / "sae_weights.safetensors")
    with pytest.raises(UserError, match=r"'mine': the content of .* is not what was written"):
        load_sae(folder)


def test_only_our_folders_are_loaded_as_ours(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="was not written by this project; run the setup stage"):
        load_sae(_lens_folder(tmp_path / "a", "standard", _tensors("relu")))
    with pytest.raises(UserError, match=r"cfg\.json does not exist"):
        load_sae(tmp_path / "nowhere")
    save_sae(_make("relu"), tmp_path / "b")
    config = json.loads((tmp_path / "b" / "cfg.json").read_text())
    config["sae_research"]["schema"] = 99
    (tmp_path / "b" / "cfg.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="its schema is 99, expected 1"):
        load_sae(tmp_path / "b")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.97])
def test_truncated_weights_are_told(share: float, tmp_path: Path) -> None:
    folder = _lens_folder(tmp_path / "a", "standard", _tensors("relu"))
    weights = folder / "sae_weights.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=r"'mine': .*sae_weights\.safetensors is truncated or not a safetensors file"):
        _read(folder)


@pytest.mark.parametrize("ours", ["relu", "jumprelu", "gated"])
def test_atoms_of_other_norms_are_folded(ours: str, tmp_path: Path) -> None:
    tensors = _tensors(ours, unit=False)
    folder = _lens_folder(tmp_path / "a", "standard" if ours == "relu" else ours, tensors)
    sae, plain = _read(folder), _make(ours, unit=False, subtract_b_dec=True)
    norms = tensors["W_dec"].norm(dim=1)
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones(16))
    torch.testing.assert_close(sae.encode(_x()), plain.encode(_x()) * norms, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(sae.decode(sae.encode(_x())), plain.decode(plain.encode(_x())), rtol=1e-4, atol=1e-4)


def test_a_topk_decoder_is_left_alone_unless_trained_for_folding(tmp_path: Path) -> None:
    tensors = _tensors("topk", unit=False)
    plain = _read(_lens_folder(tmp_path / "a", "topk", tensors, k=3))
    torch.testing.assert_close(plain.W_dec, tensors["W_dec"])
    rescaled = _read(_lens_folder(tmp_path / "b", "topk", tensors, k=3, rescale_acts_by_decoder_norm=True))
    norms = tensors["W_dec"].norm(dim=1)
    acts = torch.relu((_x() - tensors["b_dec"]) @ tensors["W_enc"] + tensors["b_enc"]) * norms
    best = acts.topk(3, dim=-1)
    torch.testing.assert_close(rescaled.encode(_x()), torch.zeros_like(acts).scatter(-1, best.indices, best.values))
    torch.testing.assert_close(rescaled.W_dec, tensors["W_dec"] / norms.unsqueeze(1))


@pytest.mark.parametrize("trained_as", ["batchtopk", "matryoshka_batchtopk"])
def test_a_batchtopk_saved_as_jumprelu_is_known_for_what_it_is(trained_as: str, tmp_path: Path) -> None:
    metadata = {
        "sae_lens_version": "6.54.0", "model_name": "gpt2", "hook_name": "blocks.2.hook_mlp_out",
        "training_architecture": trained_as, "training_architecture_details": {"k": 12.5},
    }  # fmt: skip
    folder = _lens_folder(tmp_path / "a", "jumprelu", _tensors("jumprelu"), metadata=metadata)
    (folder / "runner_cfg.json").write_text(json.dumps({"training_tokens": 5000}))
    sae = _read(folder)
    assert (sae.card.architecture, sae.card.hyperparameters["k"], sae.card.training_tokens) == ("batchtopk", 12.5, 5000)
    assert torch.equal(sae.encode(_x()), _make("jumprelu", subtract_b_dec=True).encode(_x()))


def test_training_checkpoints_are_read(tmp_path: Path) -> None:
    tensors = _tensors("jumprelu")
    logged = {**{k: v for k, v in tensors.items() if k != "threshold"}, "log_threshold": tensors["threshold"].log()}
    sae = _read(_lens_folder(tmp_path / "a", "jumprelu", logged))
    torch.testing.assert_close(sae.get_buffer("threshold"), tensors["threshold"])
    topk = {**_tensors("topk"), "topk_threshold": torch.tensor(0.4, dtype=torch.float64)}
    sae = _read(_lens_folder(tmp_path / "b", "batchtopk", topk, k=3))
    torch.testing.assert_close(sae.get_buffer("threshold"), torch.full((16,), 0.4))


def test_folders_from_before_version_6_are_read(tmp_path: Path) -> None:
    old = {
        "d_in": 6, "d_sae": 16, "dtype": "torch.float32", "hook_point": "blocks.1.hook_resid_pre",
        "hook_point_head_index": None, "activation_fn_str": "topk", "activation_fn_kwargs": {"k": 3},
        "normalize_activations": False, "model_name": "gpt2-small",
    }  # fmt: skip
    folder = _lens_folder(tmp_path / "a", "x", {**_tensors("topk"), "scaling_factor": torch.ones(16)})
    (folder / "cfg.json").write_text(json.dumps(old))
    sae = _read(folder)
    assert (sae.card.architecture, sae.card.hyperparameters) == ("topk", {"k": 3, "subtract_b_dec": True})
    assert sae.card.site.hook_name == "blocks.1.hook_resid_pre"
    assert torch.equal(sae.encode(_x()), _make("topk").encode(_x()))
    (folder / "cfg.json").write_text(json.dumps({**old, "normalize_activations": True}))
    with pytest.raises(UserError, match=r"does not say by how much: it has no activation_scaler\.json"):
        _read(folder)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"architecture": "temporl"}, r"architecture 'temporl' is not supported; supported: abstopk, .*standard"),
        ({"architecture": "temporal"}, r"'temporal': .* predicted by attention over the earlier tokens, .*choose"),
        ({"architecture": "skip_transcoder"}, r"'skip_transcoder': it is a transcoder: it reads one activation and"),
        ({"normalize_activations": "batch_norm"}, r"'batch_norm' is not supported, expected one of none, layer_norm"),
        ({"input_scale": 2.0}, r"has 'input_scale', which is not known and might change what it computes"),
        ({"architecture": "topk", "k": 3, "k_aux": 2, "max_iterations": 9}, r"has 'k_aux, max_iterations', which"),
        ({"reshape_activations": "hook_z"}, r"reshape_activations = 'hook_z' is not supported"),
        ({"metadata": {"model_name": "m"}}, r"names no hook"),
        ({"metadata": {"hook_name": "blocks.1.hook_q"}}, r"hook name 'blocks.1.hook_q' is not known; valid:"),
        ({"metadata": {"hook_name": "blocks.1.attn.hook_z", "hook_head_index": 3}}, r"a single attention head"),
        ({"d_in": 8}, r"W_dec has shape \(16, 6\), expected \(16, 8\)"),
        ({"d_in": "6"}, r"d_in is '6', expected int"),
        ({"architecture": "topk"}, r"gives no 'k'; it has: d_in, "),
        ({"architecture": "topk", "k": 40}, r"k is 40, but d_sae is 16"),
        ({"architecture": "gated"}, r"missing b_gate, b_mag, r_mag, unexpected b_enc"),
    ],
)
def test_what_cannot_be_computed_rightly_is_refused(config: dict[str, Any], message: str, tmp_path: Path) -> None:
    folder = _lens_folder(tmp_path / "folder", "standard", _tensors("relu"), **config)
    with pytest.raises(UserError, match=rf"SAE 'mine': .*{message}.*folder\)$"):
        _read(folder)


@pytest.mark.parametrize("key", ["activation_fn_str", "activation_fn"])
@pytest.mark.parametrize("activation", ["tanh-relu", "gelu", "topk"])
def test_an_activation_that_is_not_computed_is_refused(key: str, activation: str, tmp_path: Path) -> None:
    folder = _lens_folder(tmp_path / "folder", "standard", _tensors("relu"))
    old = {"d_in": 6, "d_sae": 16, "hook_point": "blocks.1.hook_resid_pre", "model_name": "gpt2", key: activation}
    (folder / "cfg.json").write_text(json.dumps(old))
    message = (
        "gives no 'k'" if activation == "topk" else f"{key} = '{activation}' is not supported, expected one of relu"
    )
    with pytest.raises(UserError, match=rf"SAE 'mine': .*{message}"):
        _read(folder)


OLD = {
    "d_in": 6,
    "d_sae": 16,
    "hook_name": "blocks.1.hook_resid_pre",
    "model_name": "gpt2",
    "activation_fn_str": "relu",
}
METADATA = {"model_name": "gpt2", "hook_name": "blocks.1.hook_resid_pre"}


@pytest.mark.parametrize("modern", [True, False])
def test_what_an_sae_was_trained_on_is_read_and_kept(modern: bool, tmp_path: Path) -> None:
    """gpt2-small-res-jb has center_writing_weights; SAEs of models without BOS have prepend_bos: false."""
    folder = _lens_folder(tmp_path / "folder", "standard", _tensors("relu"), metadata=METADATA)
    usual = _read(folder)
    assert (usual.card.site.centred, usual.card.prepend_bos) == (False, True)
    told = {"model_from_pretrained_kwargs": {"center_writing_weights": True}, "prepend_bos": False}
    old_or_new = {"metadata": {**METADATA, **told}} if modern else {**OLD, **told}
    kept = {} if not modern else json.loads((folder / "cfg.json").read_text())
    (folder / "cfg.json").write_text(json.dumps({**kept, **old_or_new}))
    sae = _read(folder)
    assert sae.card.site == Site(1, "resid_pre", centred=True)
    assert sae.card.prepend_bos is False
    assert (sae.describe()["centred"], sae.describe()["prepend_bos"]) == (True, False)
    assert sae.card.digest != usual.card.digest
    save_sae(sae, tmp_path / "saved")
    assert load_sae(tmp_path / "saved").card == sae.card
    assert torch.equal(sae.encode(_x()), usual.encode(_x()))


def test_options_of_the_loader_that_are_not_followed_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    options = {"checkpoint_index": 3, "center_writing_weights": True, "fold_ln": True, "dtype": "bfloat16"}
    metadata = {**METADATA, "model_from_pretrained_kwargs": options}
    _read(_lens_folder(tmp_path / "folder", "standard", _tensors("relu"), metadata=metadata))
    [message] = caplog.messages
    assert "SAE mine was trained on a model that was loaded with checkpoint_index = 3, which is not followed" in message


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    tensors = _tensors("relu")
    tensors["W_dec"][3, 2] = torch.nan
    with pytest.raises(UserError, match=r"'mine': W_dec holds NaN or infinite values.*folder\)"):
        _read(_lens_folder(tmp_path / "folder", "standard", tensors))
    with pytest.raises(UserError, match="fine-tuned with a scaling_factor"):
        _read(_lens_folder(tmp_path / "b", "standard", {**_tensors("relu"), "scaling_factor": torch.full((16,), 2.0)}))


def test_the_digest_ignores_the_name_and_knows_the_site() -> None:
    sae = _make("relu")
    tensors = _tensors("relu")
    assert build_sae(replace(sae.card, name="x", model_name="y"), tensors).card.digest == sae.card.digest
    assert build_sae(replace(sae.card, site=Site(3, "mlp_out")), tensors).card.digest != sae.card.digest
