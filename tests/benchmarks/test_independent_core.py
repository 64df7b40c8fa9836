"""The plain formulas of `python -m benchmarks.independent_core` beside SAELens' own SAEs, in float64."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from support.saes import random_sae

from benchmarks.independent_core import FORMULAS, read_plain
from sae_research.formats.readers.saelens import save_sae

CASES = {"standard": {}, "jumprelu": {}, "topk": {"k": 5}, "gated": {}, "batchtopk": {"k": 5}}


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("architecture", CASES)
def test_codes_and_reconstructions_are_sae_lens_own(architecture: str, centred: bool, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the packages that sae_lens itself imports
        from sae_lens import SAE
        from sae_lens.registry import get_sae_class, get_sae_training_class

    # Only SAEs in training are batchtopk ones: they are saved as jumprelu.
    is_trained = architecture == "batchtopk"
    sae_type, config_type = (get_sae_training_class if is_trained else get_sae_class)(architecture)
    options: dict[str, Any] = {**CASES[architecture], "apply_b_dec_to_input": centred, "dtype": "float64"}
    original: Any = sae_type(config_type(d_in=6, d_sae=24, **options))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in original.named_parameters():
            drawn = torch.randn(parameter.shape, generator=generator, dtype=torch.float64) / 2
            parameter.copy_(drawn.abs() if name == "threshold" else drawn)
    if is_trained:
        original.topk_threshold.fill_(0.7)
        original.save_inference_model(tmp_path)
    else:
        original.save_model(tmp_path)
    theirs: Any = SAE.load_from_disk(tmp_path)
    x = 2 * torch.randn(50, 6, generator=generator, dtype=torch.float64)
    plain = read_plain(tmp_path)
    with torch.no_grad():
        codes = plain.codes(x)
        assert 0.1 < float((codes != 0).double().mean()) < 0.9
        torch.testing.assert_close(codes, theirs.encode(x), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(plain.reconstruct(codes), theirs(x), rtol=1e-12, atol=1e-12)


def test_what_there_is_no_formula_for_is_refused(tmp_path: Path) -> None:
    save_sae(random_sae("mpsae", s=3), tmp_path / "pursuit")
    with pytest.raises(SystemExit, match=r"no formula here for 'mpsae', only for standard, jumprelu, topk, gated"):
        read_plain(tmp_path / "pursuit")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"normalize_activations": "layer_norm"}, "normalize_activations is layer_norm"),
        ({"rescale_acts_by_decoder_norm": True}, "rescale_acts_by_decoder_norm is true"),
    ],
)
def test_what_a_formula_leaves_out_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    save_sae(random_sae("topk", k=3), tmp_path / "sae")
    file = tmp_path / "sae" / "cfg.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(SystemExit, match=message):
        read_plain(tmp_path / "sae")


def test_every_formula_is_tested() -> None:
    assert set(FORMULAS) == set(CASES) - {"batchtopk"}
