"""What every architecture promises, and each one's formula against a reference written out in float64."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sae_research.errors import UserError
from sae_research.formats.folding import fold_atom_norms
from sae_research.saes.about import About, read_about
from sae_research.saes.base import Sae
from sae_research.saes.build import build_sae, held_tensors
from sae_research.saes.registry import about, architecture_called, architectures, sae_class
from sae_research.saes.solvers.selection import top_k_mask

ALL = architectures()


def _x(*shape: int, seed: int = 1) -> torch.Tensor:
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_names_and_looks_come_from_files_without_torch() -> None:
    code = (
        "import sys; from sae_research.saes.registry import about, architectures; "
        "shown = {name: about(name).title for name in architectures()}; "
        "assert 'torch' not in sys.modules; print(shown)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    titles = ast.literal_eval(shown)
    assert tuple(titles) == ALL
    assert (titles["topk"], titles["ihtp_causal"]) == ("TopK", "IHTP, causal")


@pytest.mark.parametrize("architecture", ALL)
def test_what_is_read_from_the_source_is_what_the_module_holds(architecture: str) -> None:
    module = importlib.import_module(f"sae_research.saes.architectures.{architecture}")
    assert about(architecture) == getattr(module, "ABOUT", About())


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "ABOUT = About('TopK')",
            r"toy\.py: ABOUT is About\('TopK'\), expected About\(\.\.\.\) with keywords among title",
        ),
        ("ABOUT = {'title': 'TopK'}", r"ABOUT is \{'title': 'TopK'\}"),
        ("ABOUT = About(title=NAME)", "has to be made of literals"),
        ("ABOUT = About(titel='TopK')", "unexpected keyword argument 'titel'"),
    ],
)
def test_looks_that_cannot_be_read_from_the_source_are_refused(source: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "toy.py").write_text(source)
    with pytest.raises(ValueError, match=message):
        read_about(tmp_path / "toy.py")


def test_a_name_of_no_architecture_has_no_looks() -> None:
    assert about("wrapped") == about("../base") == about("x" * 5000) == About()


def test_no_two_architectures_have_a_name_of_saelens_or_saebench_in_common() -> None:
    names = [name for a in ALL for name in {*about(a).sae_lens_names, *about(a).sae_bench_names}]
    assert len(set(names)) == len(names)
    assert architecture_called("standard") == "relu"
    assert architecture_called("batch_topk") == "batchtopk"
    assert architecture_called("temporal") is None


@pytest.mark.parametrize("architecture", ALL)
def test_scaling_the_atoms_keeps_reconstructions_and_what_fires(architecture: str, make_sae) -> None:
    scaled = sae_class(architecture).scaled_with_atoms
    if not scaled:
        pytest.skip("its atoms are never scaled")
    plain = make_sae(architecture)
    tensors = {name: tensor.clone() for name, tensor in held_tensors(plain).items()}
    norms = 1 + torch.arange(plain.card.d_sae) / 8
    tensors["W_dec"] *= norms[:, None]
    for name in scaled:
        tensors[name] = tensors[name] / norms
    loose = build_sae(plain.card, tensors)
    folded = build_sae(plain.card, fold_atom_norms(architecture, tensors))
    x = _x(40, 6)
    torch.testing.assert_close(folded.W_dec, plain.W_dec)
    assert torch.equal(folded.encode(x) != 0, loose.encode(x) != 0)
    torch.testing.assert_close(folded.encode(x), loose.encode(x) * norms, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(folded.decode(folded.encode(x)), loose.decode(loose.encode(x)), rtol=1e-4, atol=1e-4)


def test_an_unknown_architecture_is_told_with_the_valid_ones() -> None:
    with pytest.raises(UserError, match=r"'relo' is not known; valid: .*relu"):
        sae_class("relo")


@pytest.mark.parametrize("architecture", ALL)
def test_masked_tokens_get_no_codes_and_change_none(architecture: str, make_sae) -> None:
    sae = make_sae(architecture)
    x, mask = _x(3, 5, 6), torch.tensor([[1, 1, 0, 1, 1], [1, 0, 0, 0, 1], [0, 0, 0, 0, 0]]).bool()
    codes = sae.encode(x, mask)
    assert codes.shape == (3, 5, sae.card.d_sae)
    assert not codes[~mask].any()
    assert codes[mask].any()
    spoilt = torch.where(mask.unsqueeze(-1), x, torch.nan)
    assert torch.equal(sae.encode(spoilt, mask), codes)


@pytest.mark.parametrize("architecture", ALL)
def test_padding_and_company_change_no_code(architecture: str, make_sae) -> None:
    sae = make_sae(architecture)
    x = _x(4, 5, 6)
    alone = torch.cat([sae.encode(x[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(sae.encode(x), alone, rtol=1e-5, atol=1e-5)
    padded = torch.cat([x, torch.full((4, 3, 6), 7.0)], dim=1)
    mask = torch.arange(8).expand(4, 8) < 5
    torch.testing.assert_close(sae.encode(padded, mask)[:, :5], alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("architecture", ALL)
def test_a_row_is_a_sequence_of_one_token(architecture: str, make_sae) -> None:
    sae = make_sae(architecture)
    x, mask = _x(7, 6), torch.tensor([1, 1, 0, 1, 1, 0, 1]).bool()
    codes = sae.encode(x.unsqueeze(1), mask.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(sae.encode(x, mask), codes, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(sae.encode(x[0]), codes[0], rtol=1e-5, atol=1e-5)
    assert sae.encode(x[:0]).shape == (0, sae.card.d_sae)


@pytest.mark.parametrize("architecture", [name for name in ALL if name != "ihtp_causal"])
def test_token_order_changes_no_code(architecture: str, make_sae) -> None:
    sae, x, order = make_sae(architecture), _x(2, 5, 6), torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(sae.encode(x[:, order]), sae.encode(x)[:, order], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("architecture", ALL)
def test_decoding_is_affine(architecture: str, make_sae) -> None:
    sae = make_sae(architecture)
    a, b = _x(3, sae.card.d_sae), _x(3, sae.card.d_sae, seed=2)
    mixed = sae.decode(0.25 * a + 0.75 * b)
    torch.testing.assert_close(mixed, 0.25 * sae.decode(a) + 0.75 * sae.decode(b), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("architecture", ALL)
def test_reduced_precision_input_gives_codes_in_the_saes_own(architecture: str, make_sae) -> None:
    sae = make_sae(architecture)
    assert sae.encode(_x(2, 3, 6).bfloat16()).dtype == torch.float32


@pytest.mark.parametrize("architecture", ALL)
def test_the_digest_tells_what_changes_codes_from_what_does_not(architecture: str, make_sae) -> None:
    sae = make_sae(architecture)
    again = build_sae(replace(sae.card, name="other", source={"a": 1}, digest=""), held_tensors(sae))
    assert again.card.digest == sae.card.digest
    for name, tensor in held_tensors(sae).items():
        changed = {**held_tensors(sae), name: tensor.clone()}
        if name == "W_dec":
            changed[name][0] = -changed[name][0]
        else:
            changed[name].view(-1)[0] += 1
        assert build_sae(sae.card, changed).card.digest != sae.card.digest


@pytest.mark.parametrize("architecture", [name for name in ALL if name != "identity"])
def test_wrong_tensors_are_refused_by_name(architecture: str, make_sae) -> None:
    sae: Sae = make_sae(architecture)
    tensors = held_tensors(sae)
    with pytest.raises(UserError, match=rf"'{architecture}_test': missing W_dec"):
        build_sae(sae.card, {k: v for k, v in tensors.items() if k != "W_dec"})
    with pytest.raises(UserError, match="unexpected extra"):
        build_sae(sae.card, {**tensors, "extra": torch.zeros(1)})
    with pytest.raises(UserError, match=r"b_dec has shape \(7,\), expected \(6,\)"):
        build_sae(sae.card, {**tensors, "b_dec": torch.zeros(7)})
    with pytest.raises(UserError, match="b_dec holds NaN"):
        build_sae(sae.card, {**tensors, "b_dec": torch.tensor([0, 0, 0, 0, 0, torch.nan])})


@pytest.mark.parametrize("architecture", [name for name in ALL if name != "identity"])
def test_an_sae_without_latents_is_refused(architecture: str, make_sae) -> None:
    """Before, the kernels of four evals ended the process on it."""
    sae: Sae = make_sae(architecture)
    sizes = {"d_in": sae.card.d_in, "d_sae": 0}
    tensors = {name: torch.zeros(*(sizes[size] for size in shape)) for name, shape in sae.shapes.items()}
    with pytest.raises(UserError, match=rf"'{architecture}_test': (d_in is 6 and d_sae is 0|k is \d, but d_sae is 0)"):
        build_sae(replace(sae.card, d_sae=0), tensors)


@pytest.mark.parametrize(("architecture", "option"), [("topk", "k"), ("ihtp", "k"), ("mpsae", "s")])
def test_impossible_options_are_refused(architecture: str, option: str, make_sae) -> None:
    with pytest.raises(UserError, match=f"{option} is 0"):
        make_sae(architecture, **{option: 0})
    if option == "k":
        with pytest.raises(UserError, match="k is 17, but d_sae is 16"):
            make_sae(architecture, k=17)


def test_an_unknown_option_is_refused(make_sae) -> None:
    with pytest.raises(UserError, match="unknown key 'q'; valid: k, subtract_b_dec"):
        make_sae("topk", q=1)


def test_pursuit_refuses_atoms_of_another_norm(make_sae) -> None:
    for architecture in ("ihtp", "mpsae"):
        with pytest.raises(UserError, match="16 of 16 atoms have a norm other than 1"):
            make_sae(architecture, W_dec=1.6 * make_sae(architecture).W_dec)


@pytest.mark.parametrize("subtract", [True, False])
@pytest.mark.parametrize("architecture", ["relu", "topk", "batchtopk", "jumprelu", "gated"])
def test_codes_are_the_formulas(architecture: str, subtract: bool, make_sae) -> None:
    sae = make_sae(architecture, subtract_b_dec=subtract)
    x = _x(40, 6)
    t = {name: tensor.double().numpy() for name, tensor in held_tensors(sae).items()}
    y = x.double().numpy() - t["b_dec"] * subtract
    linear = y @ t["W_enc"]
    expected = np.zeros_like(linear)
    for i, j in np.ndindex(*linear.shape):
        if architecture == "gated":
            open_gate = linear[i, j] + t["b_gate"][j] > 0
            expected[i, j] = max(0.0, linear[i, j] * np.exp(t["r_mag"][j]) + t["b_mag"][j]) * open_gate
            continue
        a = linear[i, j] + t["b_enc"][j]
        fires = {
            "relu": True,
            "topk": a >= np.sort(linear[i] + t["b_enc"])[-3],
            "batchtopk": max(a, 0) > t.get("threshold", np.zeros(16))[j],
            "jumprelu": a > t.get("threshold", np.zeros(16))[j],
        }[architecture]
        expected[i, j] = max(a, 0.0) * fires
    np.testing.assert_allclose(sae.encode(x).numpy(), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        sae.decode(sae.encode(x)).numpy(), expected @ t["W_dec"] + t["b_dec"], rtol=1e-4, atol=1e-3
    )


@pytest.mark.parametrize("architecture", ["jumprelu", "batchtopk"])
def test_a_pre_activation_at_the_threshold_does_not_fire(architecture: str, make_sae) -> None:
    unit = torch.eye(2)
    sae = make_sae(
        architecture,
        W_enc=unit,
        W_dec=unit,
        b_enc=torch.zeros(2),
        b_dec=torch.zeros(2),
        threshold=torch.full((2,), 0.5),
    )
    assert sae.encode(torch.tensor([[0.5, 0.5000001]])).tolist() == [[0.0, pytest.approx(0.5, abs=1e-6)]]


def test_the_identity_loses_nothing(make_sae) -> None:
    sae, x = make_sae("identity"), _x(3, 4, 6)
    assert torch.equal(sae.encode(x), x)
    assert torch.equal(sae.decode(sae.encode(x)), x)


def test_all_principal_components_lose_nothing(make_sae) -> None:
    x = _x(50, 6)
    mean = x.mean(0)
    axes = torch.linalg.svd(x - mean).Vh
    sae = make_sae("pca", W_dec=axes, W_enc=axes.T.contiguous(), b_dec=mean)
    torch.testing.assert_close(sae.decode(sae.encode(x)), x, rtol=1e-4, atol=1e-4)
    assert (sae.encode(x) < 0).any()


def test_encoder_weights_are_those_of_the_architecture(make_sae) -> None:
    relu, ihtp = make_sae("relu"), make_sae("ihtp")
    assert torch.equal(relu.encoder_directions, relu.W_enc)
    assert torch.equal(relu.encoder_bias, relu.b_enc)
    assert torch.equal(ihtp.encoder_directions, ihtp.W_dec.T)
    assert not ihtp.encoder_bias.any()


def test_of_equal_entries_the_lowest_indices_are_chosen() -> None:
    values = torch.tensor([[1.0, 3, 2, 2, 2], [0, 0, 0, 1, 0], [2, 2, 2, 2, 2], [5, 4, 3, 2, 1]])
    assert top_k_mask(values, 3).nonzero().tolist() == [
        [0, 1], [0, 2], [0, 3], [1, 3], [2, 0], [2, 1], [2, 2], [3, 0], [3, 1], [3, 2],
    ]  # fmt: skip
    assert top_k_mask(values[2], 2).tolist() == [True, True, False, False, False]
    assert top_k_mask(values, 9).sum(-1).tolist() == [5, 1, 5, 5]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=9), st.integers(1, 10))
def test_selection_agrees_with_a_stable_sort(row: list[int], k: int) -> None:
    ranked = sorted(range(len(row)), key=lambda i: (-row[i], i))[:k]
    expected = [i in ranked and row[i] > 0 for i in range(len(row))]
    assert top_k_mask(torch.tensor([row]).float(), k)[0].tolist() == expected


@pytest.mark.gpu
@pytest.mark.parametrize("architecture", ALL)
def test_a_gpu_gives_the_same_codes(architecture: str, make_sae) -> None:
    sae = make_sae(architecture, d_in=48, d_sae=48 if architecture == "identity" else 96)
    x, mask = _x(3, 5, 48), torch.arange(15).reshape(3, 5) % 4 != 1
    expected = sae.encode(x, mask)
    found = sae.to("cuda").encode(x.to("cuda"), mask.to("cuda"))
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.gpu
def test_a_gpu_fits_dependent_atoms_as_the_cpu_does(make_sae) -> None:
    atoms = make_sae("ihtp", d_in=8, d_sae=40).W_dec
    atoms[20:] = atoms[:20]
    sae, x = make_sae("ihtp", W_dec=atoms, k=3), _x(3, 6, 8)
    expected = sae.encode(x)
    torch.testing.assert_close(sae.to("cuda").encode(x.to("cuda")).cpu(), expected, rtol=1e-3, atol=1e-3)
