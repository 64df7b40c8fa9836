"""dictionary_learning's checkpoints: each class by its own formula, and every kind of damage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sae_research.errors import UserError
from sae_research.formats.readers.dictionary_learning import companions, read, recognises
from sae_research.formats.registry import read_sae
from sae_research.saes.base import Sae

CLASSES = [
    "AutoEncoder", "AutoEncoderNew", "GatedAutoEncoder", "AutoEncoderTopK", "BatchTopKSAE", "MatryoshkaBatchTopKSAE",
    "JumpReluAutoEncoder",
]  # fmt: skip


def _x() -> Tensor:
    return 2 * torch.randn(30, 6, generator=torch.Generator().manual_seed(8))


def _read(path: Path) -> Sae:
    return read(path, name="mine", source={"repo_id": "r"})


def _reference(dict_class: str, s: dict[str, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """Codes and reconstruction as the class of that name computes them."""
    if dict_class == "GatedAutoEncoder":
        linear = (x - s["decoder_bias"]) @ s["encoder.weight"].T
        codes = (linear + s["gate_bias"] > 0) * torch.relu(linear * s["r_mag"].exp() + s["mag_bias"])
        return codes, codes @ s["decoder.weight"].T + s["decoder_bias"]
    if dict_class == "AutoEncoder":
        codes = torch.relu((x - s["bias"]) @ s["encoder.weight"].T + s["encoder.bias"])
        return codes, codes @ s["decoder.weight"].T + s["bias"]
    if dict_class == "AutoEncoderNew":
        codes = torch.relu(x @ s["encoder.weight"].T + s["encoder.bias"])
        return codes, codes @ s["decoder.weight"].T + s["decoder.bias"]
    if dict_class == "JumpReluAutoEncoder":
        linear = x @ s["W_enc"] + s["b_enc"]
        codes = linear * (linear > s["threshold"])
        return codes, codes @ s["W_dec"] + s["b_dec"]
    if dict_class == "MatryoshkaBatchTopKSAE":
        acts = torch.relu((x - s["b_dec"]) @ s["W_enc"] + s["b_enc"])
        codes = acts * (acts > s["threshold"])
        return codes, codes @ s["W_dec"] + s["b_dec"]
    acts = torch.relu((x - s["b_dec"]) @ s["encoder.weight"].T + s["encoder.bias"])
    if dict_class == "BatchTopKSAE":
        codes = acts * (acts > s["threshold"])
    else:
        best = acts.topk(4, dim=-1)
        codes = torch.zeros_like(acts).scatter(-1, best.indices, best.values)
    return codes, codes @ s["decoder.weight"].T + s["b_dec"]


@pytest.mark.parametrize("dict_class", CLASSES)
def test_each_class_by_its_formula(dict_class: str, checkpoint) -> None:
    path = checkpoint(dict_class)
    sae = _read(path)
    codes, x_hat = _reference(dict_class, torch.load(path, weights_only=True), _x())
    torch.testing.assert_close(sae.encode(_x()), codes, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(sae.decode(sae.encode(_x())), x_hat, rtol=1e-4, atol=1e-4)
    assert sae.card.site.hook_name == "blocks.3.hook_resid_post"
    assert (sae.card.d_in, sae.card.d_sae, sae.card.training_tokens) == (6, 16, 80)
    assert sae.card.model_name == "EleutherAI/pythia-70m-deduped"


@pytest.mark.parametrize("dict_class", CLASSES)
def test_atoms_get_norm_one_where_nothing_else_changes(dict_class: str, checkpoint) -> None:
    path = checkpoint(dict_class, unit=False)
    sae, state = _read(path), torch.load(path, weights_only=True)
    codes, x_hat = _reference(dict_class, state, _x())
    norms = state["decoder.weight"].norm(dim=0) if "decoder.weight" in state else state["W_dec"].norm(dim=1)
    is_topk = dict_class == "AutoEncoderTopK"
    torch.testing.assert_close(sae.W_dec.norm(dim=1), norms if is_topk else torch.ones(16), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(sae.encode(_x()), codes if is_topk else codes * norms, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(sae.decode(sae.encode(_x())), x_hat, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("trainer", "dict_class", "architecture"),
    [
        ("StandardTrainer", "AutoEncoder", "relu"), ("StandardTrainerAprilUpdate", "AutoEncoder", "relu"),
        ("PAnnealTrainer", "AutoEncoder", "relu"), ("GatedSAETrainer", "GatedAutoEncoder", "gated"),
        ("GatedAnnealTrainer", "GatedAutoEncoder", "gated"), ("TopKTrainer", "AutoEncoderTopK", "topk"),
        ("BatchTopKTrainer", "BatchTopKSAE", "batchtopk"), ("JumpReluTrainer", "JumpReluAutoEncoder", "jumprelu"),
        ("MatryoshkaBatchTopKTrainer", "MatryoshkaBatchTopKSAE", "batchtopk"),
    ],
)  # fmt: skip
def test_every_trainer_without_a_dict_class(trainer: str, dict_class: str, architecture: str, checkpoint) -> None:
    path = checkpoint(dict_class, trainer_class=trainer, drop=("dict_class", "submodule_name"))
    sae = _read(path)
    assert (sae.card.architecture, sae.card.source["trainer_class"]) == (architecture, trainer)
    codes, _ = _reference(dict_class, torch.load(path, weights_only=True), _x())
    torch.testing.assert_close(sae.encode(_x()), codes, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("dict_class", "in_units_of_x"),
    [
        ("AutoEncoder", ("bias", "encoder.bias")), ("GatedAutoEncoder", ("decoder_bias", "gate_bias", "mag_bias")),
        ("JumpReluAutoEncoder", ("b_enc", "b_dec", "threshold")), ("AutoEncoderTopK", ("encoder.bias", "b_dec")),
    ],
)  # fmt: skip
def test_backups_of_other_classes_scale_the_same(dict_class: str, in_units_of_x: tuple[str, ...], checkpoint) -> None:
    """As the class's `scale_biases` does it when training ends."""
    state = torch.load(checkpoint(dict_class), weights_only=True)
    sae = _read(checkpoint(dict_class, state={"step": 5, "ae": state, "norm_factor": 2.5}))
    codes, x_hat = _reference(dict_class, {k: v * 2.5 if k in in_units_of_x else v for k, v in state.items()}, _x())
    torch.testing.assert_close(sae.encode(_x()), codes, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(sae.decode(sae.encode(_x())), x_hat, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("submodule", ["resid_pre", "mlp_out_layer_3", "attn_out_layer3"])
def test_submodules_are_sites(submodule: str, checkpoint) -> None:
    site = _read(checkpoint("AutoEncoder", submodule_name=submodule)).card.site
    assert site.hook_name == f"blocks.3.hook_{submodule.partition('_layer')[0]}"


def test_a_training_backup_is_read_in_units_of_the_activations(checkpoint) -> None:
    plain = checkpoint("BatchTopKSAE")
    state = torch.load(plain, weights_only=True)
    backup = {"step": 5, "ae": state, "optimizer": {"state": {}}, "config": {}, "norm_factor": 2.5}
    sae = _read(checkpoint("BatchTopKSAE", state=backup))
    scaled = {k: v * 2.5 if k in {"encoder.bias", "b_dec", "threshold"} else v for k, v in state.items()}
    codes, _ = _reference("BatchTopKSAE", scaled, _x())
    torch.testing.assert_close(sae.encode(_x()), codes, rtol=1e-4, atol=1e-4)


def test_a_square_checkpoint_is_turned_by_its_layout(checkpoint) -> None:
    generator = torch.Generator().manual_seed(1)
    state = {
        "encoder.weight": torch.randn(6, 6, generator=generator), "encoder.bias": torch.zeros(6),
        "decoder.weight": torch.linalg.qr(torch.randn(6, 6, generator=generator)).Q, "bias": torch.ones(6),
    }  # fmt: skip
    codes, x_hat = _reference("AutoEncoder", state, _x())
    sae = _read(checkpoint("AutoEncoder", state=state, dict_size=6))
    torch.testing.assert_close(sae.encode(_x()), codes, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(sae.decode(codes), x_hat, rtol=1e-4, atol=1e-4)


def test_weights_stored_the_other_way_round_are_turned(checkpoint) -> None:
    path = checkpoint("JumpReluAutoEncoder")
    state = torch.load(path, weights_only=True)
    turned = {**state, "W_enc": state["W_enc"].T.contiguous(), "W_dec": state["W_dec"].T.contiguous()}
    assert _read(checkpoint("JumpReluAutoEncoder", state=turned)).card.digest == _read(path).card.digest


def test_reduced_precision_weights_become_float32(checkpoint) -> None:
    state = torch.load(checkpoint("AutoEncoder"), weights_only=True)
    sae = _read(checkpoint("AutoEncoder", state={k: v.bfloat16() for k, v in state.items()}))
    assert sae.W_dec.dtype == torch.float32
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones(16))


def test_a_folder_and_a_checkpoint_in_mid_run_are_found(checkpoint) -> None:
    path: Path = checkpoint("AutoEncoder")
    assert read_sae(path.parent, name="mine", source={}).card.digest == _read(path).card.digest
    mid = path.parent / "checkpoints" / "ae_5.pt"
    mid.parent.mkdir()
    path.rename(mid)
    assert recognises(mid)
    assert _read(mid).card.training_tokens is None
    assert (
        companions("a/trainer_0/checkpoints/ae_5.pt") == companions("a/trainer_0/ae.pt") == ("a/trainer_0/config.json",)
    )


class Bomb:
    """Pickles as a call that leaves a file behind."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.trace,)


def test_pickled_code_is_refused_and_not_run(checkpoint, tmp_path: Path) -> None:
    trace = tmp_path / "executed"
    path = checkpoint("AutoEncoder", state={"bias": Bomb(trace)})
    with pytest.raises(UserError, match=r"'mine': .*ae\.pt holds pickled code \(.*Path.*\), which is refused"):
        _read(path)
    assert not trace.exists()


def test_a_pickled_module_is_refused(checkpoint) -> None:
    with pytest.raises(UserError, match=r"holds pickled code \(.*Linear"):
        _read(checkpoint("AutoEncoder", state=torch.nn.Linear(2, 2)))


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.98])
def test_a_truncated_file_is_told(share: float, checkpoint) -> None:
    path: Path = checkpoint("AutoEncoder")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=r"'mine': .*ae\.pt is truncated or not a PyTorch checkpoint"):
        _read(path)


def test_a_list_is_no_checkpoint(checkpoint) -> None:
    with pytest.raises(UserError, match="holds a list, expected a dictionary"):
        _read(checkpoint("AutoEncoder", state=[torch.zeros(2)]))


def _changed(checkpoint, dict_class: str, **tensors: object) -> Path:
    state = torch.load(checkpoint(dict_class), weights_only=True)
    return checkpoint(dict_class, state={k: v for k, v in {**state, **tensors}.items() if v is not None})


def test_damaged_contents_are_told(checkpoint) -> None:
    with pytest.raises(
        UserError, match=r"not the checkpoint of a AutoEncoder: missing bias, unexpected nothing.*ae\.pt"
    ):
        _read(_changed(checkpoint, "AutoEncoder", bias=None))
    with pytest.raises(UserError, match="unexpected b_dec"):
        _read(_changed(checkpoint, "AutoEncoder", b_dec=torch.zeros(6)))
    with pytest.raises(UserError, match=r"encoder.weight has shape \(16, 7\), expected \(6, 16\) or its transpose"):
        _read(_changed(checkpoint, "AutoEncoder", **{"encoder.weight": torch.zeros(16, 7)}))
    with pytest.raises(UserError, match=r"b_enc holds NaN or infinite"):
        _read(_changed(checkpoint, "AutoEncoder", **{"encoder.bias": torch.full((16,), torch.inf)}))
    with pytest.raises(UserError, match="bias is not a tensor"):
        _read(_changed(checkpoint, "AutoEncoder", bias=3))
    with pytest.raises(UserError, match=r"its threshold is -1 \(unset\)"):
        _read(_changed(checkpoint, "BatchTopKSAE", threshold=torch.tensor(-1.0)))


def test_configs_that_disagree_are_told(checkpoint) -> None:
    with pytest.raises(UserError, match=r"the config says activation_dim = 8, the weights have 6"):
        _read(checkpoint("AutoEncoder", activation_dim=8))
    with pytest.raises(UserError, match=r"the checkpoint has k = 4, its config says k = 80"):
        _read(checkpoint("AutoEncoderTopK", k=80))
    with pytest.raises(UserError, match=r"'resid_post_layer_3' and trainer.layer 5 disagree.*config\.json"):
        _read(checkpoint("AutoEncoder", layer=5))
    with pytest.raises(UserError, match=r"submodule_name 'attn_in' is not supported; supported: resid_pre"):
        _read(checkpoint("AutoEncoder", submodule_name="attn_in"))
    with pytest.raises(UserError, match=r"trainer.layer is None"):
        _read(checkpoint("AutoEncoder", layer=None))
    with pytest.raises(UserError, match=r"dict_class 'CrossCoder'.*is not supported; supported: AutoEncoder"):
        _read(checkpoint("AutoEncoder", dict_class="CrossCoder"))


def test_more_active_latents_than_latents_is_told(checkpoint) -> None:
    state = torch.load(checkpoint("AutoEncoderTopK"), weights_only=True)
    with pytest.raises(UserError, match="k is 40, but d_sae is 16"):
        _read(checkpoint("AutoEncoderTopK", k=40, state={**state, "k": torch.tensor(40)}))


def test_broken_configs_are_told(checkpoint) -> None:
    path: Path = checkpoint("AutoEncoder")
    config = path.parent / "config.json"
    config.write_text('{"trainer": 3}')
    with pytest.raises(UserError, match="trainer is 3, expected dict"):
        _read(path)
    config.write_text(json.dumps({}))
    with pytest.raises(UserError, match="has no 'trainer'"):
        _read(path)
    config.write_text("{")
    with pytest.raises(UserError, match=r"config\.json is not valid JSON"):
        _read(path)
    config.unlink()
    with pytest.raises(UserError, match=r"'mine': .*config\.json does not exist"):
        _read(path)
    with pytest.raises(UserError, match=r"is not in a known format: .* Known: .*dictionary_learning, .*saelens"):
        read_sae(path, name="mine", source={})
