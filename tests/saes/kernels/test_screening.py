"""Screened codes are the dense ones: every latent that fires, at its value, on random and on hostile inputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sae_research.lm.site import Site
from sae_research.saes.base import SaeCard
from sae_research.saes.build import build_sae
from sae_research.saes.codes import SparseCodes
from sae_research.saes.kernels import screening
from sae_research.saes.kernels.screening import Firing, ScreenedEncoder
from sae_research.saes.linear import LinearSae

D_IN, D_SAE = 24, 640
ARCHITECTURES = ("relu", "topk", "batchtopk", "jumprelu", "gated")


def _sae(architecture: str, seed: int = 0) -> LinearSae:
    generator = torch.Generator().manual_seed(seed)
    encoder = torch.randn(D_IN, D_SAE, generator=generator)
    high = 12 + torch.rand(D_SAE, generator=generator)
    tensors: dict[str, Any] = {
        "W_enc": encoder,
        "W_dec": torch.nn.functional.normalize(encoder.T, dim=1),
        "b_dec": 0.1 * torch.randn(D_IN, generator=generator),
    }
    if architecture == "gated":
        tensors |= {"b_gate": -high, "b_mag": -0.5 * high, "r_mag": 0.1 * torch.randn(D_SAE, generator=generator)}
    elif architecture in {"batchtopk", "jumprelu"}:
        tensors |= {"b_enc": 0.1 * torch.randn(D_SAE, generator=generator), "threshold": high}
    else:
        tensors |= {"b_enc": -high if architecture == "relu" else torch.zeros(D_SAE)}
    card = SaeCard(
        name=architecture, architecture=architecture, site=Site(0, "resid_post"), d_in=D_IN, d_sae=D_SAE,
        model_name="none", hyperparameters={"k": 9} if architecture == "topk" else {},
    )  # fmt: skip
    sae = build_sae(card, tensors)
    assert isinstance(sae, LinearSae)
    return sae


def _encode(sae: LinearSae, x: torch.Tensor) -> SparseCodes | None:
    firing = sae.firing()
    assert firing is not None
    return _encoder(sae.W_enc.T, firing).encode(sae.encoder_input(x))


def _encoder(rows: torch.Tensor, firing: Firing) -> ScreenedEncoder:
    if not ScreenedEncoder.serves(rows, firing.k):
        pytest.skip("no compiler, or a processor without fast products of whole numbers")
    return ScreenedEncoder(rows, firing)


def _strongest(rows: torch.Tensor, k: int) -> ScreenedEncoder:
    zero = torch.zeros(len(rows))
    return _encoder(rows, Firing(zero, zero, zero, zero, k, magnitude=True))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_no_code_is_missed(architecture: str) -> None:
    sae = _sae(architecture)
    x = 1.2 * torch.randn(700, D_IN, generator=torch.Generator().manual_seed(1))
    # An outlier dimension makes rounding to whole numbers as coarse as it gets; zeros have no scale.
    x[:50, 3] *= 40
    x[50] = 0
    x = x[(sae.encode(x) != 0).sum(dim=1) <= 160]
    expected = sae.encode(x)
    assert len(x) > 600
    assert (expected != 0).sum() > 500
    codes = _encode(sae, x)
    assert codes is not None
    torch.testing.assert_close(codes.dense(D_SAE), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("wide", [(), (7,), (7, 300), (7, 300, 301)])
def test_channels_far_wider_than_the_others_do_not_crowd_the_screen(wide: tuple[int, ...]) -> None:
    """As in real models. Rounded with the others they leave a third of the latents open, and nothing is screened."""
    generator = torch.Generator().manual_seed(5)
    rows, x = torch.randn(2048, 576, generator=generator) / 24, torch.randn(600, 576, generator=generator)
    x[:, list(wide)] *= torch.tensor([30.0, 30.0, 8.0])[: len(wide)]
    products = x @ rows.T
    level = float(products.flatten().kthvalue(int(0.985 * products.numel())).values)
    zero = torch.zeros(len(rows))
    codes = _encoder(rows, Firing(zero, zero + level, zero + 1, zero)).encode(x)
    assert codes is not None
    # Rounding may decide what lies on the level.
    clear = (products - level).abs() > 1e-4
    expected = torch.where(products > level, products, 0)
    torch.testing.assert_close(codes.dense(len(rows))[clear], expected[clear], rtol=1e-4, atol=1e-4)


def test_of_equal_pre_activations_the_lowest_latents_win() -> None:
    sae = _sae("topk")
    sae.W_enc[:, 1:40] = sae.W_enc[:, :1]
    x = sae.b_dec + 5 * sae.W_enc[:, 0].expand(3, D_IN)
    codes = _encode(sae, x)
    assert codes is not None
    assert codes.latents.view(3, 9).tolist() == [list(range(9))] * 3


def test_the_strongest_of_either_sign_keep_their_signs() -> None:
    generator = torch.Generator().manual_seed(3)
    rows, x = torch.randn(700, 50, generator=generator), torch.randn(600, 50, generator=generator)
    codes = _strongest(rows, 7).encode(x)
    assert codes is not None
    products = x @ rows.T
    best = products.abs().topk(7).indices.sort().values
    assert codes.latents.view(600, 7).tolist() == best.tolist()
    torch.testing.assert_close(codes.values.view(600, 7), products.gather(1, best), rtol=1e-5, atol=1e-5)
    assert (codes.values < 0).any()
    assert (codes.values > 0).any()


def test_rounding_errors_that_all_point_one_way_hide_no_latent() -> None:
    # All of x but the first 64 entries rounds up by nearly half a quantum: what looks largest is least.
    x = torch.full((1, 1024), 0.51)
    x[:, :64] = 127
    rows = torch.zeros(640, 1024)
    rows[100:120, 0] = 1
    rows[100:120, 64:] = 10 / 127
    rows[300, :64] = 185 / (127 * 64)
    codes = _strongest(rows, 9).encode(x)
    assert codes is not None
    assert codes.latents[-1] == 300
    assert codes.values[-1] == pytest.approx(185)
    assert codes.values[:-1].tolist() == pytest.approx([127 + 0.51 * 960 * 10 / 127] * 8, rel=1e-5)


def test_a_token_s_codes_do_not_depend_on_the_others() -> None:
    generator = torch.Generator().manual_seed(4)
    encoder = _strongest(torch.randn(640, 24, generator=generator), 9)
    x = torch.randn(1100, 24, generator=generator)
    whole, parts = encoder.encode(x), [encoder.encode(part) for part in x.split(37)]
    assert whole is not None
    for name in SparseCodes._fields:
        assert torch.equal(getattr(whole, name), torch.cat([getattr(part, name) for part in parts]))


@pytest.mark.parametrize("x", [100 * torch.ones(4, D_IN), torch.full((2, D_IN), torch.nan)], ids=["dense", "nan"])
def test_too_many_codes_and_what_is_not_finite_are_left_to_the_dense_product(x: torch.Tensor) -> None:
    assert _encode(_sae("relu"), x) is None


def test_codes_are_added_to_the_rows_of_their_tokens() -> None:
    sae = _sae("topk")
    x, rows = torch.randn(7, D_IN), torch.tensor([2, 0, 2, 2, 3, 0, 3])
    codes = _encode(sae, x)
    assert codes is not None
    sums = torch.ones(5, D_SAE)
    screening.add_codes(codes, rows, sums)
    torch.testing.assert_close(sums, torch.ones(5, D_SAE).index_add(0, rows, sae.encode(x)))


def test_no_tokens_have_no_codes() -> None:
    codes = _encode(_sae("relu"), torch.zeros(0, D_IN))
    assert codes is not None
    assert [len(part) for part in codes] == [0, 0, 0]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_change_nothing_but_rounding(threads: int) -> None:
    sae = _sae("batchtopk")
    x = 1.2 * torch.randn(300, D_IN, generator=torch.Generator().manual_seed(2))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        codes = _encode(sae, x)
    finally:
        torch.set_num_threads(before)
    assert codes is not None
    torch.testing.assert_close(codes.dense(D_SAE), sae.encode(x), rtol=1e-5, atol=1e-4)
