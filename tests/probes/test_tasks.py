"""Tasks of a data set and the scores of the probes that solve them."""

from __future__ import annotations

import pytest
import torch
from sklearn.linear_model import LogisticRegression

from sae_research.probes.tasks import Tasks, make_tasks, rank_features, score_top_k, score_wide

TRAIN, TEST = dict.fromkeys("abc", 40), dict.fromkeys("abc", 10)
KEY = ("set", 0)


def _features(sizes: dict[str, int], width: int = 30, *, seed: int = 0, signal: float = 1.5) -> torch.Tensor:
    """Rows of the classes one after the other; feature i is larger in class i."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(sum(sizes.values()), width, generator=generator)
    start = 0
    for i, size in enumerate(sizes.values()):
        x[start : start + size, i] += signal
        start += size
    return x


@pytest.fixture
def tasks() -> Tasks:
    return make_tasks(TRAIN, TEST, key=KEY)


def test_tasks_are_balanced(tasks: Tasks) -> None:
    assert tasks.classes == ("a", "b", "c")
    for split, n in ((tasks.train, 40), (tasks.test, 10)):
        assert split.n == 3 * n
        for i, (rows, positive) in enumerate(zip(split.rows, split.positive, strict=True)):
            assert rows[positive].tolist() == list(range(i * n, (i + 1) * n))
            negatives = rows[~positive].tolist()
            assert len(set(negatives)) == n
            assert not set(negatives) & set(rows[positive].tolist())
    assert tasks.held_out.view(3, 40).sum(1).tolist() == [8, 8, 8]


def test_class_order_moves_rows_only() -> None:
    turned = make_tasks(dict(reversed(TRAIN.items())), TEST, key=KEY)
    a, c = make_tasks(TRAIN, TEST, key=KEY).train.rows[0], turned.train.rows[2]
    place = {0: 80, 1: 40, 2: 0}  # Where the classes start when their order is turned.
    assert sorted(place[r // 40] + r % 40 for r in a.tolist()) == sorted(c.tolist())


def test_sizes_must_agree() -> None:
    with pytest.raises(ValueError, match="all of one size"):
        make_tasks({"a": 3, "b": 4}, {"a": 2, "b": 2}, key=KEY)


def test_ranking_by_hand(tasks: Tasks) -> None:
    x = _features(TRAIN)
    best = rank_features(x, tasks.train, 5)
    for task in range(3):
        rows, positive = tasks.train.rows[task], tasks.train.positive[task]
        difference = (x[rows[positive]].double().mean(0) - x[rows[~positive]].double().mean(0)).abs()
        assert best[task].tolist() == difference.argsort(descending=True)[:5].tolist()
        assert best[task, 0] == task


def test_ranking_of_equals_takes_the_lowest(tasks: Tasks) -> None:
    assert rank_features(torch.zeros(120, 7), tasks.train, 3).tolist() == [[0, 1, 2]] * 3


def test_scores_are_those_of_sklearn(tasks: Tasks) -> None:
    train, test = _features(TRAIN), _features(TEST, seed=1)
    tests = score_top_k(train, test, tasks, (1, 4))
    for k, scores in tests.items():
        best = rank_features(train, tasks.train, k)
        for i, name in enumerate(tasks.classes):
            seen, asked = train[tasks.train.rows[i]][:, best[i]], test[tasks.test.rows[i]][:, best[i]]
            probe = LogisticRegression(max_iter=1000).fit(seen.numpy(), tasks.train.positive[i].numpy())
            right = (probe.predict(asked.numpy()) == tasks.test.positive[i].numpy()).sum()
            assert (scores[name].hits.sum(), len(scores[name].hits)) == (right, 20)


def test_k_beyond_the_features_is_absent(tasks: Tasks) -> None:
    train, test = _features(TRAIN), _features(TEST)
    assert list(score_top_k(train, test, tasks, (2, 30, 31))) == [2, 30]
    assert score_top_k(train, test, tasks, (31,)) == {}


def test_all_features(tasks: Tasks) -> None:
    clear = score_wide(_features(TRAIN, signal=8.0), _features(TEST, seed=1, signal=8.0), tasks)
    assert all((score.hits.sum(), len(score.hits)) == (20, 20) for score in clear.values())
    chance = score_wide(torch.zeros(120, 5), torch.zeros(30, 5), tasks)
    assert all((score.hits.sum(), len(score.hits)) == (10, 20) for score in chance.values())
