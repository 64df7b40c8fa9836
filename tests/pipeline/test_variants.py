"""Variants of a baseline: names, options, atoms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.small_saes import small_baseline, small_hub, small_sae

from sae_research.errors import UserError
from sae_research.pipeline.variants import derive_variants
from sae_research.sources.hub import Hub


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    return small_hub(tmp_path)


def test_variants_are_pursuits_on_unit_atoms(hub: Hub) -> None:
    baseline = small_baseline(hub)
    variants = list(derive_variants(baseline, {"ihtp": {"k_values": [1, 2]}, "mpsae": {"s": 3}}))
    assert [v.card.name for v in variants] == [
        "relu_trainer_0_ihtp_k1", "relu_trainer_0_ihtp_k2", "relu_trainer_0_mpsae_s3"
    ]  # fmt: skip
    assert [dict(v.card.hyperparameters) for v in variants] == [
        {"k": 1, "nonneg": False}, {"k": 2, "nonneg": False}, {"s": 3, "nonneg": False}
    ]  # fmt: skip
    assert variants[0].card.source["baseline"] == "relu_trainer_0"
    assert len({v.card.digest for v in variants}) == 3


@pytest.mark.parametrize("architecture", ["relu", "topk"])
def test_variants_of_any_baseline_pursue_its_directions(architecture: str) -> None:
    baseline = small_sae("base", architecture, **({"k": 4} if architecture == "topk" else {}))
    [variant] = derive_variants(baseline, {"mpsae": {"s": 16}})
    directions = baseline.W_dec / baseline.W_dec.norm(dim=1, keepdim=True)
    torch.testing.assert_close(variant.W_dec, directions)
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(2))
    rest = (x - variant.decode(variant.encode(x))).norm(dim=1)
    assert (rest < 0.5 * (x - variant.b_dec).norm(dim=1)).all()


def test_a_hostile_value_of_a_variant_is_shown_short() -> None:
    for options in ({"k_values": "x" * 10**6}, {"x" * 10**6: 1}):
        with pytest.raises(UserError, match=r"sae_variants\.ihtp") as caught:
            list(derive_variants(small_sae("a"), {"ihtp": options}))
        assert len(str(caught.value)) < 300


def _names(grids: dict[str, dict[str, Any]]) -> list[str]:
    return [sae.card.name for sae in derive_variants(small_sae("a"), grids)]


def test_a_variant_is_derived_for_each_combination_of_values() -> None:
    assert _names({"ihtp": {"k_values": [2, 3], "nonneg_values": [False, True]}}) == [
        "a_ihtp_k2", "a_ihtp_k3", "a_ihtp_k2_nonneg", "a_ihtp_k3_nonneg"
    ]  # fmt: skip
    assert _names({"ihtp_causal": {"k": 2}, "ihtp_token": {"k": 2}}) == ["a_ihtp_causal_k2", "a_ihtp_token_k2"]
    assert _names({"mpsae": {"s_values": (4,), "nonneg": True}}) == ["a_mpsae_s4_nonneg"]
    assert _names({"shtp": {"s_values": [5], "iters": 3, "mu": 0.5}}) == ["a_shtp_s5_iters3_mu0.5"]
    assert _names({"omp": {"s_values": []}}) == []


@pytest.mark.parametrize(
    ("grids", "message"),
    [
        (
            {"ihtp": {"k": 17}},
            r"sae_variants.ihtp: SAE 'a_ihtp_k17': k is 17, but d_sae is 16; k must lie between 1 and",
        ),
        ({"omp": {"s_values": [0]}}, r"sae_variants.omp: SAE 'a_omp_s0': hyperparameters: s is 0, expected at least 1"),
        ({"shtp": {"s": 2, "iters": 0}}, r"sae_variants.shtp: SAE 'a_shtp_s2_iters0': hyperparameters: iters is 0"),
        ({"mpsae": {"s_values": ["x"]}}, r"sae_variants.mpsae: SAE 'a_mpsae_sx': .*s: got 'x' \(str\), expected int"),
        ({"mpsae": {}}, r"sae_variants.mpsae: SAE 'a_mpsae': hyperparameters: missing s"),
        ({"ihtp": {"supports": ["causal"]}}, r"ihtp: unknown key 'supports'; valid: enabled, k, nonneg, k_values, non"),
        ({"ihtp": {"k_values": 5}}, r"sae_variants.ihtp.k_values: got 5, expected a list without repetition"),
        (
            {"ihtp": {"k_values": [5, 5]}},
            r"sae_variants.ihtp.k_values: got \[5, 5\], expected a list without repetition",
        ),
        ({"ihtp": {"k": 1, "k_values": [2]}}, r"sae_variants.ihtp: k and k_values are both given; remove one"),
        ({"topk": {"k": 4}}, r"sae_variants.topk: topk has trained tensors of its own \(W_enc, b_enc, W_dec, b_dec\)"),
        ({"fista": {}}, r"SAE architecture 'fista' is not known; valid: abstopk, batchtopk,"),
    ],
)
def test_unusable_options_of_variants_are_named(grids: dict[str, dict[str, Any]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        _names(grids)
