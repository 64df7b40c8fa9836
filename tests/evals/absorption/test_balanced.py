"""Probes on 1, 2, ..., k features, beside scikit-learn's."""

from __future__ import annotations

import torch
from sklearn.linear_model import LogisticRegression

from sae_research.evals.absorption.balanced import predict_balanced


def test_as_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(0)

    def draw(rows: int) -> tuple[torch.Tensor, torch.Tensor]:
        positive = torch.rand(2, rows, generator=generator) < 0.2
        x = torch.rand(2, rows, 3, generator=generator) * (torch.rand(2, rows, 3, generator=generator) < 0.25)
        return x + positive[..., None] * (torch.rand(2, rows, 3, generator=generator) < 0.4), positive

    (x, positive), (test, _) = draw(150), draw(80)
    predicted = predict_balanced(x, positive, test)
    assert predicted.shape == (3, 2, 80)
    for k in (1, 2, 3):
        for i in range(2):
            probe = LogisticRegression(class_weight="balanced", tol=1e-10, max_iter=1000)
            probe.fit(x[i, :, :k].double(), positive[i])
            assert predicted[k - 1, i].tolist() == list(probe.predict(test[i, :, :k].double()))


def test_features_that_never_fire_predict_one_class() -> None:
    x = torch.zeros(1, 10, 2)
    positive = torch.arange(10)[None] < 3
    predicted = predict_balanced(x, positive, x)
    assert bool((predicted == predicted[..., :1]).all())
