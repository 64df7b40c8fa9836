"""Folders of every architecture that SAELens can write, with each of its options: the codes are SAELens' own."""

from __future__ import annotations

import itertools
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sae_research.errors import UserError
from sae_research.formats.pretrained import read_pretrained
from sae_research.formats.registry import read_sae
from sae_research.saes.base import Sae

D_IN, D_SAE = 16, 24
READ: dict[str, dict[str, Any]] = {
    "standard": {}, "jumprelu": {}, "gated": {}, "topk": {"k": 5}, "abstopk": {"k": 5},
    "matching_pursuit": {"max_iterations": 7},
}  # fmt: skip
REFUSED = ("transcoder", "skip_transcoder", "jumprelu_transcoder", "jumprelu_skip_transcoder", "temporal")
FOLDED = ("standard", "jumprelu", "gated")
"""Those whose atoms are scaled to norm 1, which scales codes."""
BY_TOKEN = ("layer_norm", "constant_norm_rescale")
CLOSE: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(scope="module", autouse=True)
def peers() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import sae_lens  # noqa: F401

        yield


def _x() -> Tensor:
    x = torch.randn(4, 7, D_IN, generator=torch.Generator().manual_seed(8))
    return (x + 0.5) * torch.linspace(0.5, 2, 7).view(1, 7, 1)


def _lens(architecture: str, *, training: bool = False, **options: Any) -> Any:
    """A random SAE of SAELens' own, its atoms of norms between 0.5 and 1.5."""
    from sae_lens.registry import get_sae_class, get_sae_training_class
    from sae_lens.saes.sae import SAEMetadata

    sae_type, config_type = (get_sae_training_class if training else get_sae_class)(architecture)
    metadata = SAEMetadata(model_name="gpt2", hook_name=options.pop("hook_name", "blocks.2.hook_resid_post"))
    sae: Any = sae_type(config_type(d_in=D_IN, d_sae=D_SAE, metadata=metadata, **options))
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in sae.named_parameters():
            drawn = torch.randn(parameter.shape, generator=generator) / 3
            parameter.copy_(drawn.abs() if "threshold" in name else drawn)
        norms = torch.linspace(0.5, 1.5, D_SAE)[:, None]
        sae.W_dec.copy_(torch.nn.functional.normalize(sae.W_dec.float(), dim=1) * norms)
    return sae


def _read(folder: Path) -> Sae:
    return read_sae(folder, name="mine", source={})


def _check(lens: Any, sae: Sae, *, scale: Tensor | float | None = None, x: Tensor | None = None) -> None:
    """The codes, times `scale`, and the reconstruction. They are computed in float32."""
    lens = lens.to("cpu", torch.float32)
    x = _x() if x is None else x
    flat = x.reshape(*x.shape[:2], D_IN)
    if scale is None:
        scale = lens.W_dec.norm(dim=1) if lens.cfg.architecture() in FOLDED else 1.0
    with torch.no_grad():
        codes = lens.encode(x)
        codes = (codes.to_dense() if codes.is_sparse else codes) * scale
        x_hat = lens(x).reshape(flat.shape)
    torch.testing.assert_close(sae.encode(flat), codes, **CLOSE)
    assert bool((codes != 0).any()) and bool((codes == 0).any())
    torch.testing.assert_close(sae.decode(sae.encode(flat), flat), x_hat, rtol=1e-5, atol=2e-5)


def test_the_installed_sae_lens_has_no_other_architectures() -> None:
    from sae_lens.registry import SAE_CLASS_REGISTRY, SAE_TRAINING_CLASS_REGISTRY

    assert {*READ, *REFUSED} == set(SAE_CLASS_REGISTRY)
    assert {*READ, "batchtopk", "matryoshka_batchtopk"} == set(SAE_TRAINING_CLASS_REGISTRY)


@pytest.mark.parametrize(("architecture", "options"), READ.items(), ids=str)
def test_finished_saes_of_every_option(architecture: str, options: dict[str, Any], tmp_path: Path) -> None:
    from sae_lens import SAE

    rescaled = (False, True) if "topk" in architecture else (None,)
    for subtracts, kind, by_norm in itertools.product((True, False), ("none", *BY_TOKEN), rescaled):
        given = {**options, **({} if by_norm is None else {"rescale_acts_by_decoder_norm": by_norm})}
        folder = tmp_path / f"{subtracts}-{kind}-{by_norm}"
        _lens(architecture, apply_b_dec_to_input=subtracts, normalize_activations=kind, **given).save_model(folder)
        _check(SAE.load_from_disk(folder), _read(folder))


@pytest.mark.parametrize(("architecture", "options"), READ.items(), ids=str)
def test_what_comes_from_the_registry_is_what_its_folder_holds(
    architecture: str, options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The registry's own loaders need a hub; here they give an SAE as they would."""
    from sae_lens import SAE

    lens = _lens(architecture, **options)
    lens.save_model(tmp_path)
    monkeypatch.setattr(SAE, "from_pretrained_with_cfg_and_sparsity", lambda **_: (lens, {}, None))
    [sae] = read_pretrained("gpt2-small-res-jb", r"blocks\.3\.hook_resid_pre")
    assert sae.card.digest == _read(tmp_path).card.digest
    assert (sae.card.source["format"], sae.card.source["release"]) == ("sae_lens registry", "gpt2-small-res-jb")


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
@pytest.mark.parametrize(("architecture", "options"), READ.items(), ids=str)
def test_weights_of_any_dtype(architecture: str, options: dict[str, Any], dtype: str, tmp_path: Path) -> None:
    from sae_lens import SAE

    _lens(architecture, dtype=dtype, **options).save_model(tmp_path)
    _check(SAE.load_from_disk(tmp_path, dtype="float32"), _read(tmp_path))


@pytest.mark.parametrize("architecture", READ)
def test_heads_are_read_one_after_the_other(architecture: str, tmp_path: Path) -> None:
    from sae_lens import SAE

    options = {**READ[architecture], "hook_name": "blocks.2.attn.hook_z", "reshape_activations": "hook_z"}
    _lens(architecture, **options).save_model(tmp_path)
    sae = _read(tmp_path)
    assert sae.card.site.hook_name == "blocks.2.attn.hook_z"
    _check(SAE.load_from_disk(tmp_path), sae, x=_x().view(4, 7, 2, 8))


@pytest.mark.parametrize(
    "options",
    [
        {"max_iterations": None}, {"max_iterations": 40, "stop_on_duplicate_support": False},
        {"max_iterations": 40, "residual_threshold": 1.5, "stop_on_duplicate_support": False},
        {"max_iterations": 3, "residual_threshold": 0.0},
    ],
    ids=str,
)  # fmt: skip
def test_a_pursuit_stops_where_that_of_sae_lens_stops(options: dict[str, Any], tmp_path: Path) -> None:
    from sae_lens import SAE

    lens = _lens("matching_pursuit", **options)
    with torch.no_grad():
        lens.W_dec /= lens.W_dec.norm(dim=1, keepdim=True)
    lens.save_model(tmp_path)
    _check(SAE.load_from_disk(tmp_path), _read(tmp_path))


def _scaler(kind: str, folder: Path) -> Any:
    """SAELens' scaling of activations, saved beside a checkpoint."""
    from sae_lens.training.activation_scaler import ActivationScaler

    scaler = ActivationScaler()
    x = _x().reshape(-1, D_IN)
    if kind == "expected_average_only_in":
        scaler.estimate_scaling_factor(D_IN, itertools.repeat(x), n_batches_for_norm_estimate=1)
    elif kind == "covariance_whitening":
        scaler.estimate_whitening(D_IN, itertools.repeat(x), n_batches_for_norm_estimate=1, eps=0.1)
    scaler.save(str(folder / "activation_scaler.json"))
    return scaler


TRAINED = {
    "standard": {}, "jumprelu": {}, "gated": {}, "topk": {"k": 5}, "abstopk": {"k": 5}, "batchtopk": {"k": 5.0},
    "matryoshka_batchtopk": {"k": 5.0, "matryoshka_widths": [8, 24]}, "matching_pursuit": {"max_iterations": 7},
}  # fmt: skip


@pytest.mark.parametrize("architecture", TRAINED)
def test_training_checkpoints_are_the_saes_that_sae_lens_finishes_from_them(architecture: str, tmp_path: Path) -> None:
    """As its trainer does it: the scaling is folded in, then the inference model is saved."""
    from sae_lens import SAE

    kinds = ["none", "expected_average_only_in", "covariance_whitening"]
    rescaled: tuple[bool | None, ...] = (False, True) if "topk" in architecture else (None,)
    for kind, by_norm, subtracts in itertools.product(kinds, rescaled, (True, False)):
        if architecture == "matching_pursuit" and kind == "covariance_whitening":
            continue  # refused by SAELens
        given = {**TRAINED[architecture], **({} if by_norm is None else {"rescale_acts_by_decoder_norm": by_norm})}
        if architecture == "matching_pursuit":
            given["decoder_init_norm"] = 1.0
        folder = tmp_path / f"{kind}-{by_norm}-{subtracts}"
        lens = _lens(architecture, training=True, apply_b_dec_to_input=subtracts, normalize_activations=kind, **given)
        if hasattr(lens, "topk_threshold"):
            lens.topk_threshold = torch.tensor(0.7, dtype=torch.float64)
        lens.save_model(folder / "checkpoint")
        scaler = _scaler(kind, folder / "checkpoint")
        if scaler.scaling_factor is not None:
            lens.fold_activation_norm_scaling_factor(scaler.scaling_factor)
        if scaler.whitening is not None:
            w = scaler.whitening
            lens.fold_activation_whitening(w.mean, w.matrix, w.inverse_matrix)
        lens.save_inference_model(folder / "final")
        final: Any = SAE.load_from_disk(folder / "final")
        checkpoint = _read(folder / "checkpoint")
        _check(final, checkpoint)
        torch.testing.assert_close(_read(folder / "final").encode(_x()), checkpoint.encode(_x()), **CLOSE)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"scaling_factor": -2.0}, r"scaling_factor is -2\.0, expected a number above 0"),
        ({"scaling_factor": None}, "does not say by how much"),
    ],
)
def test_a_scaling_that_makes_no_sense_is_refused(content: dict[str, Any], message: str, tmp_path: Path) -> None:
    _lens("standard", normalize_activations="expected_average_only_in").save_model(tmp_path)
    (tmp_path / "activation_scaler.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=rf"'mine': .*{message}"):
        _read(tmp_path)


def test_a_whitening_of_another_size_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    _lens("standard", normalize_activations="covariance_whitening").save_model(tmp_path)
    _scaler("covariance_whitening", tmp_path)
    save_file({"mean": torch.zeros(16), "matrix": torch.eye(24)}, tmp_path / "activation_whitening.safetensors")
    message = r"activation_whitening\.safetensors should hold a finite matrix of shape \(16, 16\), it has one of shape"
    with pytest.raises(UserError, match=message):
        _read(tmp_path)


@pytest.mark.parametrize("architecture", REFUSED)
def test_what_is_no_sae_of_one_site_is_refused_with_the_reason(architecture: str, tmp_path: Path) -> None:
    of_transcoders = {"d_out": 8, "apply_b_dec_to_input": False}
    options: dict[str, Any] = {"n_heads": 2, "bottleneck_factor": 2} if architecture == "temporal" else of_transcoders
    _lens(architecture, **options).save_model(tmp_path)
    reason = "predicted by attention" if architecture == "temporal" else "it reads one activation and predicts another"
    with pytest.raises(UserError, match=rf"SAE 'mine': architecture '{architecture}': .*{reason}.*choose an SAE"):
        _read(tmp_path)


def test_sae_lens_reads_our_folders_of_saes_that_normalise(tmp_path: Path) -> None:
    from sae_lens import SAE

    from sae_research.formats.readers.saelens import load_sae, save_sae

    for kind in BY_TOKEN:
        _lens("topk", k=5, normalize_activations=kind).save_model(tmp_path / kind)
        save_sae(_read(tmp_path / kind), tmp_path / "ours" / kind)
        loaded = load_sae(tmp_path / "ours" / kind)
        assert loaded.card.input_norm == kind
        _check(SAE.load_from_disk(tmp_path / "ours" / kind), loaded)
