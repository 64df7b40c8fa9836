"""Logistic regressions on the first 1, 2, ..., k of a class's features, many classes at a time."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sae_research.probes.logistic import fit_logistic, predict


def predict_nested(
    train: Float[Tensor, "classes rows k"],
    positive: Bool[Tensor, "classes rows"],
    test: Float[Tensor, "classes test_rows k"],
) -> Bool[Tensor, "k classes test_rows"]:
    """Which test rows each class's probe takes for it when it sees the first feature, the first two, ..., all k.

    The probes are scikit-learn's `LogisticRegression(class_weight="balanced")`. Most rows of sparse codes are 0 in all
    k features: those of a class count as two rows, a positive and a negative one, of so much weight.
    """
    x, labels, weights = _merged(train.double(), positive)
    found = []
    for k in range(1, train.shape[2] + 1):
        probes = fit_logistic(x[..., :k], labels, weights)
        found.append(predict(probes, test[..., :k]))
    return torch.stack(found)


def _merged(x: Tensor, positive: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows, labels and balanced weights; rows without any feature come as one of each label, before the others."""
    n, hits = positive.shape[1], positive.sum(dim=1, keepdim=True)
    balanced = torch.where(positive, n / (2 * hits), n / (2 * (n - hits)))
    silent = (x == 0).all(dim=2)
    most = int((~silent).sum(dim=1).max())
    order = silent.to(torch.uint8).sort(dim=1, stable=True).indices[:, :most]
    kept = x.gather(1, order[..., None].expand(-1, -1, x.shape[2]))
    weights = torch.where(silent, 0.0, balanced).gather(1, order)
    zeros = torch.stack([torch.where(silent & positive, balanced, 0.0).sum(dim=1),
                         torch.where(silent & ~positive, balanced, 0.0).sum(dim=1)], dim=1)  # fmt: skip
    labels = torch.tensor([True, False], device=x.device).expand(len(x), 2)
    return (
        torch.cat([x.new_zeros(len(x), 2, x.shape[2]), kept], dim=1),
        torch.cat([labels, positive.gather(1, order)], dim=1),
        torch.cat([zeros, weights], dim=1).to(x.dtype),
    )
