"""Every way to an SAE's codes gives the codes of `Sae.encode`, whatever the architecture."""

from __future__ import annotations

import pytest
import torch
from support.saes import random_sae
from torch import Tensor

from sae_research.saes import encoding
from sae_research.saes.base import Sae
from sae_research.saes.codes import joined
from sae_research.saes.encoding import Encoder
from sae_research.saes.kernels.screening import ScreenedEncoder
from sae_research.saes.linear import LinearSae
from sae_research.saes.registry import architectures, sae_class

LINEAR = [name for name in architectures() if issubclass(sae_class(name), LinearSae)]
D_IN, D_SAE = 24, 640


def _text(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Activations of five sequences, and which tokens are real: one sequence has none."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(5, 9, D_IN, generator=generator)
    real = torch.rand(5, 9, generator=generator) > 0.3
    real[3] = False
    return x, real


def _sparse_sae(architecture: str) -> Sae:
    """A random SAE of a linear encoder, few of whose latents fire: all its biases are far below 0."""
    sae = random_sae(architecture, d_in=D_IN, d_sae=D_SAE)
    for name in ("b_enc", "b_gate"):
        if name in sae.shapes:
            sae.get_buffer(name).sub_(40)
    return sae


def _expect_screen(sae: Sae) -> None:
    if not ScreenedEncoder.serves(sae.W_dec, 1):
        pytest.skip("no compiler, or a processor without fast products of whole numbers")


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for the dense codes of two sequences."""
    monkeypatch.setattr(encoding, "_PIECE_ELEMENTS", 2 * 9 * D_SAE)


@pytest.mark.parametrize("architecture", architectures())
def test_codes_means_and_reconstructions_are_those_of_the_dense_encoder(architecture: str, small_pieces: None) -> None:
    sae = random_sae(architecture, d_in=D_IN, d_sae=D_SAE)
    (x, real), encoder, d_sae = _text(), Encoder(sae), sae.card.d_sae
    dense = sae.encode(x, mask=real)
    torch.testing.assert_close(joined(encoder.encode(x, real)).dense(d_sae), dense[real], rtol=1e-4, atol=1e-4)
    means = torch.stack(
        [codes[seen].mean(dim=0) if seen.any() else codes[0] * 0 for codes, seen in zip(dense, real, strict=True)]
    )
    torch.testing.assert_close(encoder.mean_codes(x, real), means, rtol=1e-4, atol=1e-4)
    parts = list(encoder.reconstruct(x, real))
    assert [i for made in parts for i in range(5)[made.part]] == [*range(5)]
    x_hat = torch.cat([made.x_hat for made in parts])
    torch.testing.assert_close(x_hat[real], sae.decode(dense)[real], rtol=1e-4, atol=1e-3)
    codes = joined(made.codes() for made in parts)
    torch.testing.assert_close(codes.dense(d_sae), dense[real], rtol=1e-4, atol=1e-4)
    for i, expected in enumerate((dense.abs().sum(dim=(1, 2)), dense.sum(dim=(1, 2)))):
        sums = torch.cat([made.sums()[i] for made in parts])
        torch.testing.assert_close(sums, expected.double(), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("architecture", architectures())
def test_tokens_of_a_sequence_too_long_for_memory_are_encoded_a_few_at_a_time(
    architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sae = random_sae(architecture, d_in=D_IN, d_sae=D_SAE)
    if sae.scope == "sequence":
        pytest.skip("its tokens influence each other")
    x, real = _text()
    whole = _encoded(Encoder(sae), x, real)
    monkeypatch.setattr(encoding, "_PIECE_ELEMENTS", 2 * sae.card.d_sae)
    lengths: list[int] = []
    encode = type(sae).encode
    monkeypatch.setattr(type(sae), "encode", lambda self, x, **k: lengths.append(len(x)) or encode(self, x, **k))
    for part, expected in zip(_encoded(Encoder(sae), x, real), whole, strict=True):
        torch.testing.assert_close(part, expected, rtol=1e-4, atol=1e-3)
    assert set(lengths) <= {1, 2}


def _encoded(encoder: Encoder, x: Tensor, real: Tensor) -> list[Tensor]:
    """Everything that an encoder makes of a text."""
    d_sae = encoder.sae.card.d_sae
    parts = list(encoder.reconstruct(x, real))
    return [
        joined(encoder.encode(x, real)).dense(d_sae),
        joined(encoder.encode(x, real, wanted=real & (real.cumsum(dim=1) == 2))).dense(d_sae),
        encoder.mean_codes(x, real),
        joined(encoder.encode(x, real & False)).dense(d_sae),
        torch.cat([made.x_hat for made in parts])[real],
        joined(made.codes() for made in parts).dense(d_sae),
        *(torch.cat([made.sums()[i] for made in parts]) for i in (0, 1)),
    ]


@pytest.mark.parametrize("architecture", [name for name in architectures() if name not in LINEAR])
def test_without_a_linear_encoder_every_bit_is_that_of_the_dense_encoder(architecture: str) -> None:
    sae = random_sae(architecture, d_in=D_IN, d_sae=D_SAE)
    x, real = _text()
    dense = sae.encode(x, mask=real)
    [made] = Encoder(sae).reconstruct(x, real)
    assert torch.equal(made.x_hat, sae.decode(dense))
    assert torch.equal(made.codes().dense(sae.card.d_sae), dense[real])
    assert torch.equal(joined(Encoder(sae).encode(x, real)).dense(sae.card.d_sae), dense[real])


@pytest.mark.parametrize("architecture", LINEAR)
def test_sparse_codes_of_linear_encoders_are_found_without_the_dense_product(
    architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sae = _sparse_sae(architecture)
    assert isinstance(sae, LinearSae)
    if sae.firing() is None:
        pytest.skip("its rule cannot be screened")
    _expect_screen(sae)
    x, real = _text()
    x = 3 * x
    expected = sae.encode(x[real])
    assert expected.any()
    assert (expected != 0).float().mean() < 1 / 16
    means = torch.stack(
        [sae.encode(y[seen]).sum(dim=0) / max(1, int(seen.sum())) for y, seen in zip(x, real, strict=True)]
    )
    monkeypatch.setattr(type(sae), "activate", lambda *_: pytest.fail("the dense product was computed"))
    encoder = Encoder(sae)
    torch.testing.assert_close(joined(encoder.encode(x, real)).dense(D_SAE), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(encoder.mean_codes(x, real), means, rtol=1e-4, atol=1e-4)
    [made] = encoder.reconstruct(x, real)
    torch.testing.assert_close(made.x_hat[real], sae.decode(expected), rtol=1e-4, atol=1e-4)
    owners = real.nonzero()[:, 0]
    sums = torch.zeros(5, dtype=torch.float64).index_add(0, owners, expected.double().sum(dim=1))
    for total in made.sums():
        torch.testing.assert_close(total, sums, rtol=1e-5, atol=1e-5)


def test_once_too_many_latents_have_fired_the_dense_product_is_used_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    sae, tried = _sparse_sae("relu"), []
    _expect_screen(sae)
    screened = ScreenedEncoder.encode
    monkeypatch.setattr(ScreenedEncoder, "encode", lambda self, x: tried.append(len(x)) or screened(self, x))
    encoder, everywhere = Encoder(sae), torch.ones(4, 1, dtype=torch.bool)
    for scale in (0, 1000, 0):
        x = scale * torch.ones(4, 1, D_IN)
        torch.testing.assert_close(joined(encoder.encode(x, everywhere)).dense(D_SAE), sae.encode(x[:, 0]))
    assert len(tried) == 2


@pytest.mark.parametrize("architecture", ["relu", "ihtp", "mpsae", "pca"])
def test_single_tokens_are_wanted_in_the_context_of_all(architecture: str, small_pieces: None) -> None:
    sae = random_sae(architecture, d_in=D_IN, d_sae=D_SAE)
    x, real = _text()
    wanted = real & (real.cumsum(dim=1) == 2)
    expected = sae.encode(x, mask=real)[wanted]
    codes = joined(Encoder(sae).encode(x, real, wanted=wanted))
    torch.testing.assert_close(codes.dense(D_SAE), expected, rtol=1e-4, atol=1e-4)
    some = wanted.any(dim=1)
    parts = list(encoding.encode_at(sae, x[some], real[some], wanted[some].int().argmax(dim=1)))
    torch.testing.assert_close(torch.cat([codes_at for _, codes_at in parts]), expected, rtol=1e-4, atol=1e-4)
    assert max(map(len, parts)) <= (2 if sae.scope == "sequence" else len(expected)), "as many as there is room for"


@pytest.mark.parametrize("architecture", ["relu", "mpsae", "pca"])
def test_what_is_not_finite_is_an_error_at_real_tokens_only(architecture: str) -> None:
    sae = random_sae(architecture, d_in=D_IN, d_sae=D_SAE)
    x, real = _text()
    x[0, 0], real[0, 0] = torch.nan, False
    encoder = Encoder(sae)
    joined(encoder.encode(x, real))
    encoder.mean_codes(x, real)
    real[0, 0] = True
    for work in (encoder.encode, encoder.reconstruct, lambda *text: [encoder.mean_codes(*text)]):
        with pytest.raises(FloatingPointError, match="holds NaN or infinity"):
            list(work(x, real))
