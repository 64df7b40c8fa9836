"""sparsify's folders: codes by the formula written out in float64, and every kind of damage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from sae_research.errors import UserError
from sae_research.formats.registry import companions_of, read_sae, short_name_of
from sae_research.saes.base import Sae

D_IN, D_SAE, K = 16, 24, 4
CONFIG = {
    "activation": "topk", "expansion_factor": 32, "normalize_decoder": True, "num_latents": D_SAE, "k": K,
    "multi_topk": False, "skip_connection": False, "transcode": False, "d_in": D_IN,
}  # fmt: skip


def _state(*, scale: float = 1.0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    atoms = torch.randn(D_SAE, D_IN, generator=generator)
    return {
        "encoder.weight": torch.randn(D_SAE, D_IN, generator=generator),
        "encoder.bias": torch.randn(D_SAE, generator=generator),
        "W_dec": scale * atoms / atoms.norm(dim=1, keepdim=True),
        "b_dec": torch.randn(D_IN, generator=generator),
    }


def _folder(root: Path, hookpoint: str = "layers.5", *, state: dict[str, Tensor] | None = None, **config: Any) -> Path:
    folder = root / "run" / hookpoint
    folder.mkdir(parents=True, exist_ok=True)
    content = {key: value for key, value in {**CONFIG, **config}.items() if value != "absent"}
    (folder / "cfg.json").write_text(json.dumps(content))
    (folder.parent / "config.json").write_text(json.dumps({"model": "EleutherAI/pythia-70m", "ctx_len": 128}))
    state = {**_state(), **(state or {})}
    save_file({k: v.contiguous() for k, v in state.items() if v.numel()}, folder / "sae.safetensors")
    return folder


def _x() -> Tensor:
    return 2 * torch.randn(30, D_IN, generator=torch.Generator().manual_seed(8))


def _by_hand(state: dict[str, Tensor], activation: str) -> tuple[Tensor, Tensor]:
    """Codes and reconstruction in float64."""
    s = {key: tensor.double() for key, tensor in state.items()}
    acts = ((_x() - s["b_dec"]) @ s["encoder.weight"].T + s["encoder.bias"]).clamp(min=0)
    codes = torch.zeros_like(acts)
    for token, row in enumerate(acts):
        if activation == "topk":
            chosen = row.argsort(descending=True)[:K]
        else:
            size = D_SAE // K
            chosen = torch.stack([group * size + row[group * size :][:size].argmax() for group in range(K)])
        codes[token, chosen] = row[chosen]
    return codes, codes @ s["W_dec"] + s["b_dec"]


def _read(path: Path, **source: Any) -> Sae:
    return read_sae(path, name="mine", source=source)


@pytest.mark.parametrize("activation", ["topk", "groupmax"])
@pytest.mark.parametrize("scale", [1.0, 0.7])
def test_codes_and_reconstructions(activation: str, scale: float, tmp_path: Path) -> None:
    state = _state(scale=scale)
    sae = _read(_folder(tmp_path, state=state, activation=activation))
    codes, x_hat = _by_hand(state, activation)
    torch.testing.assert_close(sae.encode(_x()).double(), codes, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(sae.decode(sae.encode(_x())).double(), x_hat, rtol=1e-5, atol=1e-5)
    assert (sae.card.architecture, sae.card.hyperparameters["k"]) == (activation, K)
    assert (sae.card.site.hook_name, sae.card.model_name) == ("blocks.5.hook_resid_post", "EleutherAI/pythia-70m")


def test_the_file_is_read_like_its_folder_and_weights_of_any_kind(tmp_path: Path) -> None:
    digest = _read(_folder(tmp_path)).card.digest
    assert _read(tmp_path / "run" / "layers.5" / "sae.safetensors").card.digest == digest
    turned = {"W_dec": _state()["W_dec"].T, "encoder.weight": _state()["encoder.weight"].T}
    assert _read(_folder(tmp_path, state=turned)).card.digest == digest
    half = _read(_folder(tmp_path, state={key: value.bfloat16() for key, value in _state().items()}))
    assert half.W_dec.dtype == torch.float32
    torch.testing.assert_close(half.W_dec, _state()["W_dec"], rtol=1e-2, atol=1e-2)


def test_configs_of_every_age_say_how_many_latents_there_are(tmp_path: Path) -> None:
    old = {"activation": "absent", "num_latents": 0, "signed": False, "multi_topk": "absent"}
    state = {"encoder.weight": torch.randn(32, 16), "encoder.bias": torch.zeros(32), "W_dec": torch.randn(32, 16)}
    sae = _read(_folder(tmp_path, state=state, expansion_factor=2, **old))
    assert (sae.card.d_sae, sae.card.architecture) == (32, "topk")
    with pytest.raises(UserError, match=r"W_dec is 32 x 16, but cfg\.json says 48 latents of width 16"):
        _read(_folder(tmp_path, state=state, expansion_factor=3, **old))


@pytest.mark.parametrize(
    ("hookpoint", "hook_name"),
    [
        ("layers.5", "blocks.5.hook_resid_post"), ("gpt_neox.layers.5.mlp", "blocks.5.mlp.hook_out"),
        ("transformer.h.11", "blocks.11.hook_resid_post"), ("h.3.attn", "blocks.3.attn.hook_out"),
    ],
)  # fmt: skip
def test_the_folder_is_called_like_the_module(hookpoint: str, hook_name: str, tmp_path: Path) -> None:
    assert _read(_folder(tmp_path, hookpoint)).card.site.hook_name == hook_name


def test_a_folder_of_another_name_needs_its_site_stated(tmp_path: Path) -> None:
    folder = _folder(tmp_path, "embed_tokens")
    (folder.parent / "config.json").unlink()
    with pytest.raises(UserError, match=r"its folder is called 'embed_tokens', which is no hookpoint.*hook_name"):
        _read(folder)
    sae = _read(folder, hook_name="blocks.2.hook_resid_pre", model_name="gpt2")
    assert (sae.card.site.hook_name, sae.card.model_name) == ("blocks.2.hook_resid_pre", "gpt2")


def test_names_and_companions() -> None:
    assert companions_of("a/layers.5/sae.safetensors")[-2:] == ("a/layers.5/cfg.json", "a/config.json")
    assert "config.json" in companions_of("layers.5")
    assert short_name_of("sae-pythia/layers.5") == "sae-pythia_layers.5"
    assert short_name_of("layers.5/sae.safetensors") == "layers.5"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"k": "absent"}, r"cfg\.json has no 'k'"),
        ({"d_in": "absent"}, r"cfg\.json has no 'd_in'"),
        ({"k": 40}, "k is 40, but d_sae is 24"),
        ({"activation": "groupmax", "k": 5}, "its 24 latents do not make 5 groups of one size"),
        ({"activation": "jumprelu"}, "activation is 'jumprelu', expected one of topk, groupmax"),
        ({"transcode": True}, "transcode is true: it is a transcoder: it reads one activation and predicts another"),
        ({"skip_connection": True}, "skip_connection is true: it adds a linear map of its input"),
        ({"signed": True}, "signed is true: it has codes below 0"),
        ({"signed": 1}, "signed is 1, expected bool"),
        ({"input_norm": True}, r"cfg\.json has 'input_norm', which is not known and might change what it computes"),
        ({"d_in": 24, "num_latents": 16}, r"W_dec is 24 x 16, but cfg\.json says 16 latents of width 24"),
    ],
)
def test_what_a_config_cannot_mean_is_refused(config: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"SAE 'mine': .*{message}"):
        _read(_folder(tmp_path, **config))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"b_dec": torch.zeros(0)}, "missing b_dec, unexpected nothing"),
        ({"W_skip": torch.zeros(16, 16)}, "missing nothing, unexpected W_skip"),
        ({"encoder.weight": torch.zeros(24, 15)}, r"encoder\.weight has shape \(24, 15\), expected \(16, 24\) or its"),
        ({"encoder.bias": torch.full((24,), torch.nan)}, "b_enc holds NaN or infinite values"),
        ({"W_dec": torch.zeros(24, 16, dtype=torch.int8)}, "W_dec is of torch.int8, expected floats"),
    ],
)
def test_what_weights_cannot_be_is_refused(state: dict[str, Tensor], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"SAE 'mine': .*{message}.*sae\.safetensors\)"):
        _read(_folder(tmp_path, state=state))


@pytest.mark.parametrize("share", [0.0, 0.4, 0.98])
def test_a_truncated_file_is_told(share: float, tmp_path: Path) -> None:
    weights = _folder(tmp_path) / "sae.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=r"'mine': .*sae\.safetensors is truncated or not a safetensors file"):
        _read(weights)
