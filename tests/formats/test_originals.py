"""SAEBenchs' own code on the same files: SAELens on folders it wrote and on ours, SAEBench on dictionary_learning's."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sae_research.formats.readers.dictionary_learning import read
from sae_research.formats.readers.saelens import save_sae
from sae_research.formats.registry import read_sae


def _import_peers() -> None:
    """Imports both, with whatever they warn of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import sae_bench.custom_saes.relu_sae  # noqa: F401
        import sae_lens  # noqa: F401


@pytest.fixture(scope="module", autouse=True)
def peers() -> None:
    _import_peers()


def _x() -> Tensor:
    return 2 * torch.randn(4, 7, 6, generator=torch.Generator().manual_seed(8))


def _lens_sae(architecture: str, **options: Any) -> Any:
    """A random SAE of SAELens' own, its decoder of uneven norms."""
    from sae_lens.registry import get_sae_class
    from sae_lens.saes.sae import SAEMetadata

    sae_type, config_type = get_sae_class(architecture)
    metadata = SAEMetadata(model_name="gpt2", hook_name="blocks.2.hook_resid_post")
    sae = sae_type(config_type(d_in=6, d_sae=16, metadata=metadata, **options))
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in sae.named_parameters():
            drawn = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(drawn.abs() if name == "threshold" else drawn)
    return sae


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("standard", {}), ("standard", {"apply_b_dec_to_input": False}), ("jumprelu", {}),
        ("jumprelu", {"apply_b_dec_to_input": False}), ("gated", {}), ("topk", {"k": 4}),
        ("topk", {"k": 4, "rescale_acts_by_decoder_norm": True}),
    ],
)  # fmt: skip
def test_folders_of_sae_lens_give_its_codes(architecture: str, options: dict[str, Any], tmp_path: Path) -> None:
    from sae_lens import SAE

    _lens_sae(architecture, **options).save_model(tmp_path / "lens")
    lens: Any = SAE.load_from_disk(tmp_path / "lens")
    with torch.no_grad():
        norms = 1 if architecture == "topk" else lens.W_dec.norm(dim=-1)
        expected_codes, expected = lens.encode(_x()) * norms, lens(_x())
    sae = read_sae(tmp_path / "lens", name="mine", source={})
    torch.testing.assert_close(sae.encode(_x()), expected_codes, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(sae.decode(sae.encode(_x())), expected, rtol=1e-4, atol=1e-4)


def test_a_batchtopk_trained_by_sae_lens(tmp_path: Path) -> None:
    from sae_lens import SAE
    from sae_lens.saes.batchtopk_sae import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig
    from sae_lens.saes.sae import SAEMetadata

    metadata = SAEMetadata(model_name="gpt2", hook_name="blocks.2.hook_resid_post")
    trained = BatchTopKTrainingSAE(BatchTopKTrainingSAEConfig(d_in=6, d_sae=16, k=3.0, metadata=metadata))
    trained.topk_threshold = torch.tensor(0.3, dtype=torch.double)
    trained.save_inference_model(tmp_path / "final")
    trained.save_model(tmp_path / "checkpoint")
    with torch.no_grad():
        lens: Any = SAE.load_from_disk(tmp_path / "final")
        lens.fold_W_dec_norm()
        codes, x_hat = lens.encode(_x()), lens(_x())
    for folder in ("final", "checkpoint"):
        sae = read_sae(tmp_path / folder, name="mine", source={})
        assert (sae.card.architecture, sae.card.hyperparameters["k"]) == ("batchtopk", 3.0)
        torch.testing.assert_close(sae.encode(_x()), codes, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(sae.decode(sae.encode(_x())), x_hat, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dict_class", ["AutoEncoder", "AutoEncoderTopK", "BatchTopKSAE", "JumpReluAutoEncoder"])
def test_sae_lens_reads_our_folders(dict_class: str, checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    from sae_lens import SAE

    sae = read(checkpoint(dict_class), name="mine", source={})
    save_sae(sae, tmp_path / "ours")
    with torch.no_grad():
        lens: Any = SAE.load_from_disk(tmp_path / "ours")
        torch.testing.assert_close(lens.encode(_x()), sae.encode(_x()), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(lens(_x()), sae.decode(sae.encode(_x())), rtol=1e-4, atol=1e-4)
    assert lens.cfg.metadata.hook_name == sae.card.site.hook_name


def _bench_loader(trainer: str) -> Callable[..., Any]:
    from sae_bench.custom_saes import batch_topk_sae, gated_sae, jumprelu_sae, relu_sae, topk_sae

    return {
        "StandardTrainer": relu_sae.load_dictionary_learning_relu_sae,
        "StandardTrainerAprilUpdate": relu_sae.load_dictionary_learning_relu_sae,
        "PAnnealTrainer": relu_sae.load_dictionary_learning_relu_sae,
        "GatedSAETrainer": gated_sae.load_dictionary_learning_gated_sae,
        "TopKTrainer": topk_sae.load_dictionary_learning_topk_sae,
        "BatchTopKTrainer": batch_topk_sae.load_dictionary_learning_batch_topk_sae,
        "MatryoshkaBatchTopKTrainer": batch_topk_sae.load_dictionary_learning_matryoshka_batch_topk_sae,
        "JumpReluTrainer": jumprelu_sae.load_dictionary_learning_jump_relu_sae,
    }[trainer]


@pytest.mark.parametrize(
    ("dict_class", "trainer", "unit"),
    [
        ("AutoEncoder", "StandardTrainer", True), ("AutoEncoder", "StandardTrainerAprilUpdate", False),
        ("AutoEncoder", "PAnnealTrainer", False), ("GatedAutoEncoder", "GatedSAETrainer", True),
        ("AutoEncoderTopK", "TopKTrainer", True), ("BatchTopKSAE", "BatchTopKTrainer", True),
        ("MatryoshkaBatchTopKSAE", "MatryoshkaBatchTopKTrainer", True),
        ("JumpReluAutoEncoder", "JumpReluTrainer", True),
    ],
)  # fmt: skip
def test_sae_bench_reads_the_same_sae(
    dict_class: str, trainer: str, unit: bool, checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = checkpoint(dict_class, unit=unit, trainer_class=trainer)
    loader: Any = _bench_loader(trainer)
    module = importlib.import_module(loader.__module__)
    monkeypatch.setattr(
        module, "hf_hub_download", lambda repo_id, filename, **_: str(path.parent / Path(filename).name)
    )
    with torch.no_grad():
        bench = loader("r", "a/ae.pt", "pythia-70m-deduped", torch.device("cpu"), torch.float32, layer=3)
        codes, x_hat = bench.encode(_x()), bench(_x())
    sae = read(path, name="mine", source={})
    torch.testing.assert_close(sae.encode(_x()), codes, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(sae.decode(sae.encode(_x())), x_hat, rtol=1e-4, atol=1e-4)
