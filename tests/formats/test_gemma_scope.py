"""Gemma Scope, the first (npz) and the second (safetensors): codes by the formula, and every kind of damage."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from sae_research.errors import UserError
from sae_research.formats.registry import read_sae, short_name_of
from sae_research.saes.base import Sae

D_IN, D_SAE = 16, 24
SCOPE_2 = {
    "architecture": "jump_relu", "model_name": "gemma-v3-270m-pt", "hf_hook_point_in": "model.layers.9.output",
    "width": D_SAE, "l0": 60,
}  # fmt: skip


def _state(*, scaled: bool = False) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    atoms = torch.randn(D_SAE, D_IN, generator=generator)
    atoms /= atoms.norm(dim=1, keepdim=True)
    return {
        "W_enc": torch.randn(D_IN, D_SAE, generator=generator),
        "b_enc": torch.randn(D_SAE, generator=generator),
        "W_dec": atoms * torch.linspace(0.5, 2, D_SAE)[:, None] if scaled else atoms,
        "b_dec": torch.randn(D_IN, generator=generator),
        "threshold": torch.rand(D_SAE, generator=generator) * 3,
    }


def _write_npz(root: Path, state: dict[str, Any], *, repository: str = "gemma-scope-2b-pt-res") -> Path:
    folder = root / repository / "layer_12" / "width_16k" / "average_l0_71"
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {key: np.asarray(value) for key, value in state.items() if value is not None}
    np.savez(folder / "params.npz", allow_pickle=True, **arrays)
    return folder


def _write_scope_2(root: Path, state: dict[str, Any], **config: Any) -> Path:
    folder = root / "gemma-scope-2-270m-pt" / "resid_post" / "layer_9_width_16k_l0_small"
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {key.replace("W_", "w_"): value.contiguous() for key, value in state.items() if value is not None}
    save_file(tensors, folder / "params.safetensors")
    content = {key: value for key, value in {**SCOPE_2, **config}.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(content))
    return folder


WRITERS: list[Callable[..., Path]] = [_write_npz, _write_scope_2]


def _x() -> Tensor:
    return 2 * torch.randn(30, D_IN, generator=torch.Generator().manual_seed(8))


def _read(path: Path, **source: Any) -> Sae:
    return read_sae(path, name="mine", source=source)


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("scaled", [False, True])
def test_codes_and_reconstructions(write: Callable[..., Path], scaled: bool, tmp_path: Path) -> None:
    state = _state(scaled=scaled)
    sae = _read(write(tmp_path, state))
    s = {key: tensor.double() for key, tensor in state.items()}
    acts = _x().double() @ s["W_enc"] + s["b_enc"]
    codes = torch.where(acts > s["threshold"], acts, 0).clamp(min=0)
    scale = s["W_dec"].norm(dim=1)
    torch.testing.assert_close(sae.encode(_x()).double(), codes * scale, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        sae.decode(sae.encode(_x())).double(), codes @ s["W_dec"] + s["b_dec"], rtol=1e-5, atol=1e-5
    )
    assert bool((codes != 0).any()) and bool((codes == 0).any())
    assert sae.card.hyperparameters == {"subtract_b_dec": False}


@pytest.mark.parametrize(
    ("repository", "hook_name", "model"),
    [
        ("gemma-scope-2b-pt-res", "blocks.12.hook_resid_post", "google/gemma-2-2b"),
        ("gemma-scope-9b-pt-mlp", "blocks.12.hook_mlp_out", "google/gemma-2-9b"),
        ("gemma-scope-2b-pt-att", "blocks.12.attn.hook_z", "google/gemma-2-2b"),
        ("gemma-scope-9b-it-res", "blocks.12.hook_resid_post", "google/gemma-2-9b-it"),
    ],
)
def test_the_repository_says_where_it_reads(repository: str, hook_name: str, model: str, tmp_path: Path) -> None:
    folder = _write_npz(tmp_path, _state(), repository=repository)
    for sae in (_read(folder), _read(folder / "params.npz")):
        assert (sae.card.site.hook_name, sae.card.model_name) == (hook_name, model)
    elsewhere = tmp_path / "downloads" / "layer_12" / "width_16k" / "average_l0_71"
    elsewhere.parent.mkdir(parents=True)
    folder.rename(elsewhere)
    from_hub = _read(elsewhere, repo_id=f"google/{repository}")
    assert (from_hub.card.site.hook_name, from_hub.card.model_name) == (hook_name, model)
    with pytest.raises(UserError, match="its files do not say at which hook point it reads; give hook_name"):
        _read(elsewhere)
    assert _read(elsewhere, hook_name="blocks.1.hook_resid_pre", model_name="m").card.site.layer == 1


@pytest.mark.parametrize(
    ("config", "hook_name"),
    [
        ({}, "blocks.9.hook_resid_post"),
        ({"hf_hook_point_in": "model.layers.3.self_attn.o_proj.input"}, "blocks.3.attn.hook_z"),
        ({"hf_hook_point_in": "model.layers.3.post_feedforward_layernorm.output"}, "blocks.3.hook_mlp_out"),
    ],
)
def test_the_config_of_the_second_says_where_it_reads(config: dict[str, Any], hook_name: str, tmp_path: Path) -> None:
    sae = _read(_write_scope_2(tmp_path, _state(), **config))
    assert (sae.card.site.hook_name, sae.card.model_name) == (hook_name, "google/gemma-3-270m")


def test_without_a_config_the_folders_of_the_second_say_it(tmp_path: Path) -> None:
    folder = _write_scope_2(tmp_path, _state())
    (folder / "config.json").unlink()
    sae = _read(folder)
    assert (sae.card.site.hook_name, sae.card.model_name) == ("blocks.9.hook_resid_post", "google/gemma-3-270m")
    bare = tmp_path / "bare"
    folder.rename(bare)
    with pytest.raises(UserError, match="give hook_name"):
        _read(bare)
    told = {"repo_id": "google/gemma-scope-2-4b-it", "filename": "attn_out_all/layer_3_width_16k_l0_big"}
    sae = _read(bare, **told)
    assert (sae.card.site.hook_name, sae.card.model_name) == ("blocks.3.attn.hook_z", "google/gemma-3-4b-it")
    with pytest.raises(UserError, match="it is a transcoder"):
        _read(bare, **{**told, "filename": "transcoder_all/layer_3_width_16k_l0_big"})


def test_transcoders_are_refused(tmp_path: Path) -> None:
    reason = "SAE 'mine': it is a transcoder: it reads one activation and predicts another.*choose an SAE"
    with pytest.raises(UserError, match=reason):
        _read(_write_npz(tmp_path, _state(), repository="gemma-scope-2b-pt-transcoders"))
    with pytest.raises(UserError, match=reason):
        _read(_write_scope_2(tmp_path, _state(), hf_hook_point_out="model.layers.9.mlp.output"))
    with pytest.raises(UserError, match=reason):
        _read(_write_scope_2(tmp_path, {**_state(), "affine_skip_connection": torch.zeros(16, 16)}))


def test_places_that_are_not_measured_are_refused(tmp_path: Path) -> None:
    folder = _write_npz(tmp_path, _state())
    moved = tmp_path / "gemma-scope-2b-pt-res" / "embedding" / "width_4k" / "average_l0_6"
    moved.parent.mkdir(parents=True)
    folder.rename(moved)
    with pytest.raises(UserError, match=r"does not end in layer_<L>/width_<w>/average_l0_<v>.*those of the embedding"):
        _read(moved)
    with pytest.raises(UserError, match=r"hf_hook_point_in is no place that is measured here: hook name 'lm_head' is"):
        _read(_write_scope_2(tmp_path, _state(), hf_hook_point_in="lm_head"))
    with pytest.raises(UserError, match="architecture is 'topk', expected 'jump_relu'"):
        _read(_write_scope_2(tmp_path, _state(), architecture="topk"))


@pytest.mark.parametrize("write", WRITERS)
def test_any_orientation_and_precision_is_read(write: Callable[..., Path], tmp_path: Path) -> None:
    digest = _read(write(tmp_path, _state())).card.digest
    turned = {**_state(), "W_enc": _state()["W_enc"].T, "W_dec": _state()["W_dec"].T}
    assert _read(write(tmp_path, turned)).card.digest == digest
    half = _read(write(tmp_path, {key: tensor.half() for key, tensor in _state().items()}))
    assert half.W_dec.dtype == torch.float32


def test_small_letters_are_read_in_npz_too(tmp_path: Path) -> None:
    digest = _read(_write_npz(tmp_path, _state())).card.digest
    state = {key.replace("W_", "w_"): tensor for key, tensor in _state().items()}
    assert _read(_write_npz(tmp_path, state)).card.digest == digest


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"threshold": None}, "missing threshold, unexpected nothing"),
        ({"scaling_factor": torch.ones(24)}, "missing nothing, unexpected scaling_factor"),
        ({"W_enc": torch.zeros(15, 24)}, r"[Ww]_enc has shape \(15, 24\), expected \(16, 24\) or its transpose"),
        ({"threshold": torch.zeros(16)}, r"threshold has shape \(16,\), expected \(24,\)"),
        ({"b_dec": torch.full((16,), torch.nan)}, "b_dec holds NaN or infinite values"),
        ({"W_enc": torch.zeros(16, 24, dtype=torch.int32)}, r"[Ww]_enc is of torch\.int32, expected floats"),
    ],
)
def test_damaged_contents_are_told(
    write: Callable[..., Path], changed: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=rf"SAE 'mine': .*{message}.*params\."):
        _read(write(tmp_path, {**_state(), **changed}))


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("share", [0.0, 0.4, 0.98])
def test_a_truncated_file_is_told(write: Callable[..., Path], share: float, tmp_path: Path) -> None:
    [weights] = write(tmp_path, _state()).glob("params.*")
    content = weights.read_bytes()
    weights.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=r"SAE 'mine': .*params.*(is truncated or not|is not in a known format)"):
        _read(weights)


class Bomb:
    """Pickles as a call that leaves a file behind."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.trace,)


def test_pickled_objects_in_an_npz_are_refused_and_not_run(tmp_path: Path) -> None:
    bomb = np.array([Bomb(tmp_path / "executed")], dtype=object)
    with pytest.raises(UserError, match=r"b_dec\.npy holds pickled objects, which are refused and were not read"):
        _read(_write_npz(tmp_path, {**_state(), "b_dec": bomb}))
    assert not (tmp_path / "executed").exists()


def test_a_header_that_claims_more_than_there_is_takes_no_memory(tmp_path: Path) -> None:
    weights = _write_npz(tmp_path, _state()) / "params.npz"
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (2**40, 24)})
    with zipfile.ZipFile(weights, "w") as archive:
        archive.writestr("W_dec.npy", file.getvalue() + b"\0" * 64)
    with pytest.raises(UserError, match=r"W_dec\.npy of shape \(1099511627776, 24\) holds 64 bytes, expected"):
        _read(weights)


def test_names_tell_a_checkpoint_from_its_neighbours() -> None:
    assert short_name_of("layer_12/width_16k/average_l0_71/params.npz") == "layer_12_width_16k_average_l0_71"
    assert short_name_of("layer_12/width_16k/average_l0_71") == "layer_12_width_16k_average_l0_71"
    assert short_name_of("resid_post/layer_9_width_16k_l0_small") == "resid_post_layer_9_width_16k_l0_small"


def test_what_no_format_knows_is_shown(tmp_path: Path) -> None:
    folder = tmp_path / "what"
    folder.mkdir()
    (folder / "settings.json").write_text(json.dumps({"width": 3, "alpha": 2}))
    with pytest.raises(UserError, match=r"known format: the folder holds settings\.json \(width, alpha\)\. Known: "):
        _read(folder)
    save_file({f"t{i}": torch.zeros(2, i + 1) for i in range(30)}, folder / "a.safetensors")
    with pytest.raises(UserError, match=r"the file holds t0 2x1, t1 2x2, .* and 22 more\. Known: .*docs/formats\.md"):
        _read(folder / "a.safetensors")
    (folder / "b.bin").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"the file, of 7 bytes, shows no tensors\. Known"):
        _read(folder / "b.bin")
    with pytest.raises(UserError, match="there is nothing there"):
        _read(folder / "nowhere")
