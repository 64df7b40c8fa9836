"""SAEs that normalise their input: any architecture, against formulas written out in float64."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.saes import random_sae
from torch import Tensor

from sae_research.errors import UserError
from sae_research.saes.base import Sae
from sae_research.saes.build import build_sae, held_tensors
from sae_research.saes.encoding import Encoder, encode_at
from sae_research.saes.normalisation import NORMALISATIONS, Normalisation, normalise


def _sae(architecture: str, kind: Normalisation) -> Sae:
    plain = random_sae(architecture, d_in=16, d_sae=24)
    return build_sae(replace(plain.card, input_norm=kind), held_tensors(plain))


def _x() -> Tensor:
    scales = torch.linspace(0.5, 9, 15).view(3, 5, 1)
    return scales * torch.randn(3, 5, 16, generator=torch.Generator().manual_seed(2)) + 3 * scales


def _by_hand(kind: str, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """y, gain and shift in float64."""
    x = x.double()
    if kind == "layer_norm":
        mean = x.sum(-1, keepdim=True) / 16
        std = ((x - mean).square().sum(-1, keepdim=True) / 15).sqrt()
        return (x - mean) / (std + 1e-5), std, mean
    gain = x.square().mean(-1, keepdim=True).sqrt()
    return x / gain, gain, torch.zeros_like(gain)


KINDS: list[Normalisation] = ["layer_norm", "constant_norm_rescale"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("architecture", ["relu", "topk", "abstopk", "gated", "mpsae", "ihtp", "matching_pursuit"])
def test_codes_are_of_the_normalised_input_and_reconstructions_in_its_units(
    architecture: str, kind: Normalisation
) -> None:
    sae, plain = _sae(architecture, kind), _sae(architecture, "none")
    y, gain, shift = _by_hand(kind, _x())
    codes = sae.encode(_x())
    torch.testing.assert_close(codes, plain.encode(y.float()), rtol=1e-4, atol=1e-4)
    expected = (codes.double() @ sae.W_dec.double() + sae.b_dec) * gain + shift
    torch.testing.assert_close(sae.decode(codes, _x()).double(), expected, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(sae.contributions(codes, _x()).double(), codes * gain, rtol=1e-5, atol=1e-5)
    [made] = Encoder(sae).reconstruct(_x(), torch.ones(3, 5, dtype=torch.bool))
    torch.testing.assert_close(made.x_hat.double(), expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("architecture", ["topk", "mpsae", "ihtp"])
def test_what_codes_contribute_is_what_their_removal_takes_away(architecture: str, kind: Normalisation) -> None:
    """By every way to codes that an encoder has, at real tokens only."""
    sae, x = _sae(architecture, kind), _x()
    real = torch.tensor([[1, 1, 1, 0, 1], [1, 0, 1, 1, 1], [1, 1, 1, 1, 1]]).bool()
    codes = sae.encode(x, mask=real)
    without = codes.clone()
    without[..., 7:] = 0
    removed = (sae.decode(codes, x) - sae.decode(without, x))[real]
    encoder = Encoder(sae, contributions=True)
    by_token = torch.cat([part.dense(24) for part in encoder.encode(x, real)])
    torch.testing.assert_close(by_token[:, 7:] @ sae.W_dec[7:], removed, rtol=1e-4, atol=1e-4)
    sums = torch.zeros(3, 16).index_add_(0, real.nonzero()[:, 0], removed)
    means = encoder.mean_codes(x, real)[:, 7:] @ sae.W_dec[7:]
    torch.testing.assert_close(means, sums / real.sum(1, keepdim=True), rtol=1e-4, atol=1e-4)
    plain = torch.cat([part.dense(24) for part in Encoder(sae).encode(x, real)])
    torch.testing.assert_close(plain, codes[real], rtol=1e-4, atol=1e-4)
    [(x_at, _)] = encode_at(sae, x, real, torch.tensor([4, 2, 0]))
    assert torch.equal(x_at, x[torch.arange(3), torch.tensor([4, 2, 0])])


def test_a_reconstruction_without_the_activation_is_refused() -> None:
    sae = _sae("relu", "layer_norm")
    with pytest.raises(UserError, match=r"'relu_test'.*layer_norm.*call decode\(codes, x\)"):
        sae.decode(sae.encode(_x()))


@pytest.mark.parametrize("kind", KINDS)
def test_an_activation_of_zero_stays_finite(kind: Normalisation) -> None:
    y, gain, _ = normalise(kind, torch.zeros(2, 16))
    assert not y.any() and not gain.any()


def test_the_normalisation_is_part_of_the_digest_and_of_the_description() -> None:
    digests = {kind: _sae("relu", kind).card.digest for kind in ("none", "layer_norm", "constant_norm_rescale")}
    assert tuple(digests) == NORMALISATIONS and len(set(digests.values())) == 3
    assert _sae("relu", "none").card.digest == random_sae("relu", d_in=16, d_sae=24).card.digest
    assert _sae("relu", "layer_norm").describe()["input_norm"] == "layer_norm"


@pytest.mark.parametrize("ours", ["layer_norm", "constant_norm_rescale"])
def test_sae_bench_gets_reconstructions_in_the_units_of_what_it_encoded(ours: Normalisation) -> None:
    from sae_research.reference.adapter import SaeBenchSae

    sae = _sae("relu", ours)
    bench = SaeBenchSae(sae)
    torch.testing.assert_close(bench.forward(_x()), sae.decode(sae.encode(_x()), _x()))
