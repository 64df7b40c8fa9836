"""Damaged and foreign checkpoints through the setup stage: refused in one message, nothing lost, no code run."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.bench import Bench

pytestmark = pytest.mark.slow


class Checkpoint:
    """A copy of the world's baseline in dictionary_learning's layout, to be damaged."""

    def __init__(self, root: Path, folder: Path) -> None:
        shutil.copytree(root / "world/models/sae-relu/resid_post_layer_0/trainer_0", folder)
        self.folder = folder
        self.weights, self.config = folder / "ae.pt", folder / "config.json"

    def edit(self, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
        state = torch.load(self.weights, weights_only=True)
        change(state)
        torch.save(state, self.weights)

    def configure(self, **changes: Any) -> None:
        config = json.loads(self.config.read_text())
        config["trainer"].update(changes)
        self.config.write_text(json.dumps(config))

    def cut(self, n_bytes: int) -> None:
        self.weights.write_bytes(self.weights.read_bytes()[:n_bytes])


DAMAGES: Mapping[str, tuple[Callable[[Checkpoint], object], str]] = {
    "truncated": (lambda c: c.cut(5000), r"ae.pt is truncated or not a PyTorch checkpoint .*; delete it and fetch it"),
    "empty": (lambda c: c.cut(0), r"ae.pt is truncated or not a PyTorch checkpoint .*; delete it and fetch it again"),
    "wrong shape": (
        lambda c: c.edit(lambda s: s.update({"encoder.weight": s["encoder.weight"][:-1]})),
        r"encoder.weight has shape \(\d+, \d+\), expected \(\d+, \d+\) or its transpose",
    ),
    "wrong size": (lambda c: c.configure(dict_size=7), r"the config says dict_size = 7, the weights have \d+"),
    "unknown architecture": (
        lambda c: c.configure(dict_class="IdentityDict"), r"dict_class 'IdentityDict'.* not supported; supported: Auto"
    ),
    "other architecture": (
        lambda c: c.configure(dict_class="GatedAutoEncoder"), r"not the checkpoint of a GatedAutoEncoder: missing .*gat"
    ),
    "NaN": (
        lambda c: c.edit(lambda s: s["encoder.weight"][0].fill_(torch.nan)),
        r"W_enc holds NaN or infinite values; the training diverged or the file is damaged",
    ),
    "layer": (
        lambda c: c.configure(layer=7, submodule_name="resid_post_layer_7"),
        r"SAE 'relu_ae_pt' is of layer 7, but the model has layers 0 to \d",
    ),
    "no config": (lambda c: c.config.unlink(), r"the file holds .*dictionary_learning: ae.pt with config.json"),
    "config cut": (lambda c: c.config.write_text('{"trai'), r"config.json is not valid JSON .*; fetch it again"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_or_foreign_checkpoint_is_refused(bench: Bench, damage: str, tmp_path: Path) -> None:
    apply, message = DAMAGES[damage]
    checkpoint = Checkpoint(bench.root, tmp_path / "sae")
    apply(checkpoint)
    layer = 7 if damage == "layer" else 0
    changes = {"baseline_sae": {"repo_id": str(checkpoint.folder), "filename": "ae.pt", "hook_layer": layer}}
    message = message.replace("relu_ae_pt", "relu_sae")
    shown = bench.refused("setup_saes", changes, message)
    assert str(checkpoint.folder) in shown or damage == "layer"


class Payload:
    """Unpickled by a reader that runs what a pickle says, it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_code_in_a_pickle_is_refused_and_never_run(bench: Bench, tmp_path: Path) -> None:
    checkpoint, trace = Checkpoint(bench.root, tmp_path / "sae"), tmp_path / "was_run"
    torch.save({"encoder.weight": Payload(trace)}, checkpoint.weights)
    changes = {"baseline_sae": {"repo_id": str(checkpoint.folder), "filename": "ae.pt"}}
    bench.refused(
        "setup_saes", changes, r"ae.pt holds pickled code \(posix.mkdir\), which is refused and was not run; save"
    )
    assert not trace.exists()
    torch.load(checkpoint.weights, weights_only=False)
    assert trace.exists(), "the payload is a real one"


def _configure(folder: Path, **changes: Any) -> None:
    path = folder / "cfg.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _edit(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    path = folder / "sae_weights.safetensors"
    state = load_file(path)
    change(state)
    save_file(state, path)


def _remove_all_latents(folder: Path) -> None:
    """A sound SAE of ReLU but for its width."""
    _edit(folder, lambda s: s.update({n: t[..., :0].clone() if n != "W_dec" else t[:0].clone()
                                      for n, t in s.items() if n != "b_dec"}))  # fmt: skip
    _configure(folder, architecture="standard", d_sae=0)
    config = json.loads((folder / "cfg.json").read_text())
    (folder / "cfg.json").write_text(json.dumps({key: value for key, value in config.items() if key != "k"}))


LENS_DAMAGES: Mapping[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (
        lambda f: (f / "sae_weights.safetensors").write_bytes((f / "sae_weights.safetensors").read_bytes()[:2000]),
        r"sae_weights.safetensors is truncated or not a safetensors file .*; delete it and fetch it again",
    ),
    "NaN": (lambda f: _edit(f, lambda s: s["b_enc"].fill_(torch.nan)), r"b_enc holds NaN or infinite values; the tr"),
    "wrong shape": (
        lambda f: _edit(f, lambda s: s.update(b_dec=s["b_dec"][1:].clone())), r"b_dec has shape .*, expected .*; fix"
    ),
    "no latents": (_remove_all_latents, r"d_sae is 0.*"),
    "tensor missing": (lambda f: _edit(f, lambda s: s.pop("b_enc")), r"missing b_enc, unexpected nothing; arch"),
    "unknown architecture": (lambda f: _configure(f, architecture="crosscoder"), r"'crosscoder' is not supported; su"),
    "k beyond d_sae": (lambda f: _configure(f, k=10**6), r"k is 1000000, but d_sae is \d+"),
    "no k": (lambda f: _configure(f, k=None), r"cfg.json gives no 'k'; it has: "),
    "hook": (
        lambda f: _configure(f, metadata={"hook_name": "blocks.0.hook_nothing", "model_name": "x"}),
        r"blocks.0.hook_nothing.*(supported|valid|expected)",
    ),
    "weights missing": (lambda f: (f / "sae_weights.safetensors").unlink(), r"known format: the folder holds .* Known"),
}  # fmt: skip


@pytest.mark.parametrize("damage", LENS_DAMAGES)
def test_a_damaged_or_foreign_comparison_is_refused(bench: Bench, damage: str, tmp_path: Path) -> None:
    apply, message = LENS_DAMAGES[damage]
    shutil.copytree(bench.root / "world/models/sae-topk/k8", tmp_path / "repo" / "k8")
    apply(tmp_path / "repo" / "k8")
    bench.refused("setup_saes", {"comparison_saes": [{"repo_id": str(tmp_path / "repo"), "filename": "k8"}]}, message)
