"""The binary tasks of a labelled data set (each class against the others) and the probes that solve them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sae_research.metrics.accuracies import ProbeTest
from sae_research.probes.draws import draw_held_out, draw_negatives
from sae_research.probes.nested import predict_nested
from sae_research.probes.sae_bench import draw_one_against_rest
from sae_research.probes.sparse_rows import Rows, SparseRows, n_features, take_columns, weighted_sums
from sae_research.probes.wide import fit_wide, predict_wide

_HELD_OUT = 0.2


class TaskRows(NamedTuple):
    """The rows of each task in one split, positives first. The split's rows are its classes one after the other."""

    rows: Int[Tensor, "tasks examples"]
    positive: Bool[Tensor, "tasks examples"]
    n: int
    """Rows of the split over all classes."""

    def to(self, device: torch.device) -> TaskRows:
        """The same on `device`."""
        return TaskRows(self.rows.to(device), self.positive.to(device), self.n)


class Tasks(NamedTuple):
    """One task per class."""

    classes: tuple[str, ...]
    train: TaskRows
    test: TaskRows
    held_out: Bool[Tensor, " train_rows"]
    """Training rows on which the regularisation of a full-width probe is chosen."""

    def to(self, device: torch.device) -> Tasks:
        """The same on `device`."""
        return Tasks(self.classes, self.train.to(device), self.test.to(device), self.held_out.to(device))


ClassTests = Mapping[str, ProbeTest]
"""How the probe of each class did on its test rows."""


def make_tasks(train: Mapping[str, int], test: Mapping[str, int], *, key: tuple[str | int, ...]) -> Tasks:
    """Balanced tasks over classes of the given sizes (all classes of a split have one size); draws are keyed."""
    held_out = [draw_held_out(size, _HELD_OUT, key=(*key, name)) for name, size in train.items()]
    return Tasks(
        classes=tuple(train),
        train=_balanced(train, key=(*key, "train")),
        test=_balanced({name: test[name] for name in train}, key=(*key, "test")),
        held_out=torch.from_numpy(np.concatenate(held_out)),
    )


def _balanced(sizes: Mapping[str, int], *, key: tuple[str | int, ...]) -> TaskRows:
    """All rows of each class, and as many of the other classes."""
    if len(sizes) < 2 or len(set(sizes.values())) != 1:
        raise ValueError(f"a data set needs two classes or more, all of one size, got {dict(sizes)}")
    starts = dict(zip(sizes, np.cumsum([0, *sizes.values()])[:-1], strict=True))
    rows, positive = [], []
    for name, size in sizes.items():
        negatives = draw_negatives(sizes, name, key=key)
        parts = [starts[name] + np.arange(size), *(starts[other] + drawn for other, drawn in negatives.items())]
        rows.append(np.concatenate(parts))
        positive.append(np.arange(len(rows[-1])) < size)
    return TaskRows(torch.from_numpy(np.stack(rows)), torch.from_numpy(np.stack(positive)), sum(sizes.values()))


def draw_tasks_as_sae_bench(
    tasks: Tasks, train: Mapping[str, int], test: Mapping[str, int], generator: torch.Generator
) -> Tasks:
    """`tasks` with the negatives that SAEBench draws for one kind of probe: class by class, train before test."""
    rows: dict[str, list[Tensor]] = {"train": [], "test": []}
    splits = {"train": class_rows(train), "test": class_rows({name: test[name] for name in train})}
    for name in train:
        for split, classes in splits.items():
            drawn = draw_one_against_rest(classes, name, generator)
            rows[split].append(torch.cat([drawn.rows[drawn.positive], drawn.rows[~drawn.positive]]))
    return tasks._replace(
        train=tasks.train._replace(rows=torch.stack(rows["train"])),
        test=tasks.test._replace(rows=torch.stack(rows["test"])),
    )


def class_rows(sizes: Mapping[str, int]) -> dict[str, Tensor]:
    """The rows of each class in a split whose rows are its classes one after the other."""
    return dict(zip(sizes, torch.arange(sum(sizes.values())).split(list(sizes.values())), strict=True))


def mark_rows(split: TaskRows, *, positive_only: bool = False) -> Bool[Tensor, "rows tasks"]:
    """Which rows of the split belong to each task, or are its positives."""
    marked = torch.zeros(split.n, len(split.rows), dtype=torch.bool, device=split.rows.device)
    marked.T.scatter_(1, split.rows, split.positive if positive_only else torch.ones_like(split.positive))
    return marked


def rank_features(x: Rows, split: TaskRows, k: int) -> Int[Tensor, "tasks k"]:
    """For each task the k features whose class means differ most, best first; ties go to the lower index."""
    share = 1 / split.positive.sum(dim=1, keepdim=True), 1 / (~split.positive).sum(dim=1, keepdim=True)
    signed = torch.where(split.positive, share[0], -share[1]).double()
    weights = signed.new_zeros(len(split.rows), split.n).scatter_(1, split.rows, signed)
    return weighted_sums(x, weights).abs().sort(dim=1, descending=True, stable=True).indices[:, :k]


def score_top_k(
    train: Rows,
    test: Rows,
    tasks: Tasks,
    k_values: Sequence[int],
    *,
    best: Int[Tensor, "tasks features"] | None = None,
) -> dict[int, ClassTests]:
    """Tests of probes on the k features that separate the training classes best, for each k up to their number.

    `best` is what `rank_features` returned for the largest k or a larger one, where it is known. The probes are
    scikit-learn's `LogisticRegression` at its default strength, C = 1.
    """
    possible = [k for k in k_values if k <= n_features(train)]
    if not possible:
        return {}
    best = rank_features(train, tasks.train, max(possible)) if best is None else best[:, : max(possible)]
    train_x, test_x = _gather(train, tasks.train.rows, best), _gather(test, tasks.test.rows, best)
    predicted = predict_nested(train_x, tasks.train.positive, test_x, possible)
    return {k: _tests(of_k, tasks) for k, of_k in zip(possible, predicted, strict=True)}


def _gather(
    x: Rows, rows: Int[Tensor, "tasks examples"], features: Int[Tensor, "tasks k"]
) -> Float[Tensor, "tasks examples k"]:
    """Each task's own features of its own rows, in float64."""
    used, places = features.unique(return_inverse=True)
    columns = take_columns(x, used)
    return torch.stack([columns[r[:, None], f].double() for r, f in zip(rows, places, strict=True)])


def score_wide(train: Rows, test: Rows, tasks: Tasks) -> ClassTests:
    """Tests of probes on all features; their regularisation is chosen on held-out training rows.

    Of sparse rows, those features are left out that are 0 in every training row and so would get no weight.
    """
    if isinstance(train, SparseRows):
        used = train.features()
        train, test = train.columns(used), take_columns(test, used)
    assert not isinstance(test, SparseRows), "both are kept alike"
    split = tasks.train
    probes = fit_wide(train, mark_rows(split, positive_only=True), mark_rows(split), tasks.held_out)
    return _tests(predict_wide(probes, test).T.gather(1, tasks.test.rows), tasks)


def _tests(predicted: Bool[Tensor, "tasks examples"], tasks: Tasks) -> ClassTests:
    hits, rows = (predicted == tasks.test.positive).cpu().numpy(), tasks.test.rows.cpu().numpy()
    return {name: ProbeTest(hits[i], rows[i]) for i, name in enumerate(tasks.classes)}
