"""Sums of a reconstruction, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sae_research.evals.core.formulas import estimate_as_sae_bench, estimate_quality
from sae_research.evals.core.reconstruction import Inputs, describe_inputs, describe_outputs, take

X = torch.tensor([[[3.0, 4.0], [9.0, 9.0]], [[0.0, 2.0], [1.0, 0.0]]])
X_HAT = torch.tensor([[[3.0, 0.0], [7.0, 7.0]], [[0.0, 2.0], [0.0, 1.0]]])
REAL = torch.tensor([[True, False], [True, True]])


def test_sums_by_hand() -> None:
    inputs = describe_inputs(X, REAL, torch.tensor([1.0, 1.0]), batch_size=2, outlier_norm=math.inf)
    assert {n: c.tolist() for n, c in inputs.columns.items()} == {
        "tokens": [1, 2],
        "in_square": [25, 5],
        "in_norm": [5, 3],
        "in_spread": [4 + 9, 2 + 1],
        "usual_tokens": [1, 2],
        "usual_spread": [4 + 9, 2 + 1],
    }
    assert inputs.offset.tolist() == inputs.usual_offset.tolist() == [4 - 3, 6 - 3]
    sums = describe_outputs(inputs, X_HAT)
    assert sums["error"].tolist() == [16, 2]
    assert sums["dot"].tolist() == [9, 4]
    assert sums["out_square"].tolist() == [9, 5]
    assert sums["ratio"].tolist() == pytest.approx([3 / 5, 1 + 1])
    assert sums["cosine"].tolist() == pytest.approx([3 / 5, 1 + 0])


def test_formulas_by_hand() -> None:
    inputs = describe_inputs(X, REAL, torch.tensor([1.0, 1.0]), batch_size=1, outlier_norm=math.inf)
    columns = _columns(inputs)
    centre_error = torch.tensor([1 / 3, 1.0]).square().sum().item()  # The mean is (4/3, 2).
    estimates = estimate_quality(
        columns, np.arange(2), offset_square=centre_error, usual_offset_square=centre_error, d_in=2
    )
    spread = (X[REAL] - X[REAL].mean(0)).square().sum().item()
    assert estimates["explained_variance"].value == pytest.approx(1 - 18 / spread)
    assert estimates["mse"].value == 6
    assert estimates["relative_reconstruction_bias"].value == pytest.approx(14 / 13)
    sae_bench = estimate_as_sae_bench(columns, np.arange(2), batch_size=1, d_in=2)
    assert sae_bench["mse_sae_bench"].value == pytest.approx((16 / 1 + 2 / 2) / 3)
    square = (25 / 1 + 5 / 2) / 2
    assert sae_bench["explained_variance_sae_bench"].value == pytest.approx(
        1 - (16 + 1) / 2 / (square - (square / 2) ** 2)
    )
    assert sae_bench["relative_reconstruction_bias_sae_bench"].value == pytest.approx((9 / 9 + 5 / 4) / 2)


def test_outliers_by_hand() -> None:
    """The first token's norm is 5, those of the two others are 2 and 1."""
    columns = _columns(describe_inputs(X, REAL, torch.tensor([1.0, 1.0]), batch_size=2, outlier_norm=4))
    assert columns["usual_tokens"].tolist() == [0, 2]
    assert columns["usual_spread"].tolist() == [0, 2 + 1]
    assert columns["usual_error"].tolist() == [0, 2]
    # The mean is (4/3, 2), that of the two (1/2, 1).
    offsets = {"offset_square": 1 / 9 + 1, "usual_offset_square": 1 / 4}
    estimates = estimate_quality(columns, np.arange(2), **offsets, d_in=2)
    spread = (X[REAL] - X[REAL].mean(0)).square().sum().item()
    assert estimates["explained_variance"].value == pytest.approx(1 - 18 / spread)
    assert estimates["explained_variance_without_outliers"].value == pytest.approx(1 - 2 / 2.5)
    assert estimates["outlier_share_of_variance"].value == pytest.approx(1 - 2.5 / spread)
    assert estimates["outlier_share_of_tokens"].value == pytest.approx(1 / 3)


def _columns(inputs: Inputs) -> dict[str, np.ndarray]:
    """What `X_HAT` makes of them, with made-up counts of codes."""
    columns = {n: c.numpy() for n, c in {**inputs.columns, **describe_outputs(inputs, X_HAT)}.items()}
    columns |= dict.fromkeys(("l0", "l1", "signed", "negative", "support", "interpolating"), columns["tokens"])
    return columns | {"sequences": np.ones_like(columns["tokens"])}


def test_legacy_variance_is_about_the_batch_mean() -> None:
    inputs = describe_inputs(X, REAL, torch.zeros(2), batch_size=2, outlier_norm=math.inf)
    mean = X[REAL].mean(0)
    expected = (1 - (X - X_HAT).square().sum(-1) / (X - mean).square().sum(-1))[REAL].sum()
    assert describe_outputs(inputs, X_HAT)["legacy"].sum() == pytest.approx(float(expected))
    alone = describe_inputs(X, REAL, torch.zeros(2), batch_size=1, outlier_norm=math.inf)
    assert alone.batch_spread[1].tolist() == [1.25, 1.25]


def test_masked_tokens_are_never_read() -> None:
    wild = torch.where(REAL[..., None], X, torch.nan)
    inputs, other = (describe_inputs(x, REAL, torch.ones(2), batch_size=2, outlier_norm=math.inf) for x in (X, wild))
    torch.testing.assert_close(inputs.columns, other.columns)
    torch.testing.assert_close(inputs.offset, other.offset)
    torch.testing.assert_close(describe_outputs(inputs, X_HAT), describe_outputs(other, X_HAT))


def test_parts_make_the_whole() -> None:
    inputs = describe_inputs(X, REAL, torch.zeros(2), batch_size=2, outlier_norm=math.inf)
    whole = describe_outputs(inputs, X_HAT)
    for i in range(2):
        part = slice(i, i + 1)
        for name, values in describe_outputs(take(inputs, part), X_HAT[part]).items():
            assert values.item() == whole[name][i].item()


def test_zero_vectors() -> None:
    inputs = describe_inputs(
        torch.zeros(1, 1, 2), torch.tensor([[True]]), torch.zeros(2), batch_size=1, outlier_norm=math.inf
    )
    sums = describe_outputs(inputs, torch.tensor([[[3.0, 4.0]]]))
    assert sums["cosine"].item() == 0
    assert sums["ratio"].item() == 5
