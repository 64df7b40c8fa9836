"""Logistic regressions on the first few of each problem's features, for several numbers of features at a time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sae_research.device_memory import elements_at_once
from sae_research.probes.logistic import Probes, fit_logistic

_ON_CPU = 2**18
"""Elements of the rows that are fitted together: fitting small problems one by one would be mostly overhead."""


def predict_nested(
    x: Float[Tensor, "problems rows features"],
    positive: Bool[Tensor, "problems rows"],
    test: Float[Tensor, "problems test_rows features"],
    k_values: Sequence[int],
    weights: Float[Tensor, "problems rows"] | None = None,
) -> Bool[Tensor, "k problems test_rows"]:
    """Which test rows each problem's probe (`fit_logistic`) assigns to its class, on its first k features for each k.

    `weights` are those of the rows. Probes of several k are fitted together with the features that they lack set to 0,
    which get no weight.
    """
    x, test = x.to(torch.float64), test.to(torch.float64)
    predicted = []
    for of_group in torch.tensor(k_values).split(max(1, elements_at_once(x.device, on_cpu=_ON_CPU) // x.numel())):
        most = int(of_group.max())
        used = (torch.arange(most) < of_group[:, None]).to(x.device)
        probes = _fit_masked(x[..., :most], positive, used, weights)
        scores = test[..., :most] @ probes.weights.movedim(0, 2) + probes.biases.T[:, None]
        predicted.append(scores.movedim(2, 0) > 0)
    return torch.cat(predicted)


def _fit_masked(x: Tensor, positive: Tensor, used: Bool[Tensor, "k features"], weights: Tensor | None) -> Probes:
    """The probes of each problem on each selection of features: k times as many, those of a selection together."""
    n_problems, n_features = len(x), used.shape[1]
    rows = (x * used[:, None, None]).flatten(0, 1)
    weights = None if weights is None else weights.repeat(len(used), 1)
    fitted = fit_logistic(rows, positive.repeat(len(used), 1), weights)
    return Probes(fitted.weights.view(-1, n_problems, n_features), fitted.biases.view(-1, n_problems))
