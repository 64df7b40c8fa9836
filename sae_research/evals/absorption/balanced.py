"""Balanced logistic regressions on the first 1, 2, ..., k of a class's latents, many classes at a time."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sae_research.probes.nested import predict_nested


def predict_balanced(
    train: Float[Tensor, "classes rows k"],
    positive: Bool[Tensor, "classes rows"],
    test: Float[Tensor, "classes test_rows k"],
) -> Bool[Tensor, "k classes test_rows"]:
    """Which test rows each class's probe assigns to the class, with the first feature, the first two, ..., all k.

    The probes are scikit-learn's `LogisticRegression(class_weight="balanced")`. Most rows of sparse codes are 0 in all
    k features; for each class these are merged into one positive and one negative row with their total weight.
    """
    x, labels, weights = _merge_empty_rows(train.double(), positive)
    return predict_nested(x, labels, test, range(1, train.shape[2] + 1), weights)


def _merge_empty_rows(x: Tensor, positive: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows, labels and balanced weights; the merged rows without any feature, one per label, come first."""
    n, n_positive = positive.shape[1], positive.sum(dim=1, keepdim=True)
    balanced = torch.where(positive, n / (2 * n_positive), n / (2 * (n - n_positive)))
    empty = (x == 0).all(dim=2)
    most = int((~empty).sum(dim=1).max())
    order = empty.to(torch.uint8).sort(dim=1, stable=True).indices[:, :most]
    others = x.gather(1, order[..., None].expand(-1, -1, x.shape[2]))
    weights = torch.where(empty, 0.0, balanced).gather(1, order)
    merged = torch.stack([torch.where(empty & side, balanced, 0.0).sum(dim=1) for side in (positive, ~positive)], dim=1)
    labels = torch.tensor([True, False], device=x.device).expand(len(x), 2)
    return (
        torch.cat([x.new_zeros(len(x), 2, x.shape[2]), others], dim=1),
        torch.cat([labels, positive.gather(1, order)], dim=1),
        torch.cat([merged, weights], dim=1).to(x.dtype),
    )
