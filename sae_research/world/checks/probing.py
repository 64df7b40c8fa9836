"""Linear probes on residuals and latents, and how much a single token gives away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from sae_research.lm.tokens import encode_plain
from sae_research.metrics.intervals import Estimate, wilson
from sae_research.probes.lbfgs import minimise_columns
from sae_research.world.checks.bar import Bar, bootstrapped, mean_estimate, resamples
from sae_research.world.checks.checked_world import RANDOM, CheckedWorld
from sae_research.world.checks.language import spelling_prompts
from sae_research.world.families.spelling import WORD_POSITION, first_letter

_TRAIN, _TEST = 300, 150
"""Texts per class."""
_LETTER_F1 = 0.6


class LabelColumn(NamedTuple):
    """A column of labels in a data set."""

    name: str
    data_set: str
    text: str
    label: str


TASKS = {
    name: LabelColumn(name, *rest)
    for name, rest in {
        "profession": ("bios", "hard_text", "profession"),
        "gender": ("bios", "hard_text", "gender"),
        "category": ("reviews", "text", "category"),
        "sentiment": ("reviews", "text", "rating"),
        "topic": ("news", "text", "label"),
        "language": ("languages", "text", "label"),
        "code": ("code", "code", "language"),
    }.items()
}


class LabelledTexts(NamedTuple):
    """Texts with the number of their class."""

    texts: list[str]
    labels: Tensor


class TrainAndTest(NamedTuple):
    """Training and test texts of one task."""

    train: LabelledTexts
    test: LabelledTexts


def probing_bars(world: CheckedWorld) -> list[Bar]:
    """All of this file's bars."""
    splits = {name: read_task(world, task) for name, task in TASKS.items()}
    saes = {name: world.sae(f"sae-{name.replace(' ', '/')}") for name in ("topk k8", "topk k16", "topk k32")}
    saes[RANDOM] = world.sae(RANDOM)
    bars: list[Bar] = []
    differences: dict[str, list[Bar]] = {}
    for name, split in splits.items():
        train, test = (world.pooled(part.texts, saes) for part in split)
        bars.append(_residual_probe(name, split, train["residual"], test["residual"]))
        differences[name] = _by_one_latent_bars(name, split, train, test)
    tokens = [_best_single_token(world, name, splits[name]) for name in ("profession", "category", "topic")]
    reported = [_best_single_token(world, name, splits[name], required=False) for name in ("gender", "sentiment")]
    return [*bars, *tokens, *reported, *chain(*differences.values()), _over_tasks(differences), letter_probe(world)]


def read_task(world: CheckedWorld, task: LabelColumn) -> TrainAndTest:
    """The first texts of each class."""

    def part(split: str, n: int) -> LabelledTexts:
        rows = world.rows(task.data_set, split, [task.text, task.label])
        labels = sorted({row[task.label] for row in rows})
        first = [row for label in labels for row in [r for r in rows if r[task.label] == label][:n]]
        numbers = torch.tensor([labels.index(row[task.label]) for row in first])
        return LabelledTexts([row[task.text] for row in first], numbers)

    return TrainAndTest(part("train", _TRAIN), part("test", _TEST))


def one_against_rest(labels: Tensor) -> Tensor:
    """Targets, one column per class."""
    return (labels[:, None] == labels.unique()[None]).double()


def balanced_weights(targets: Tensor) -> Tensor:
    """Weights that give both sides of each column the same influence."""
    share = targets.mean(dim=0)
    return torch.where(targets > 0, 0.5 / share, 0.5 / (1 - share))


def _fit_and_predict(train: Tensor, targets: Tensor, test: Tensor) -> Tensor:
    """Which test rows each column's probe assigns to its class."""
    mean, scale = train.mean(0), train.std(0).clamp(min=1e-6)
    x, x_test = ((part - mean) / scale for part in (train.double(), test.double()))
    probes = minimise_columns(x, targets, balanced_weights(targets))
    return x_test @ probes.weights + probes.biases > 0


def _balanced_hits(predicted: Tensor, targets: Tensor) -> Tensor:
    """For each row and column, hits weighted so that their mean is the balanced accuracy."""
    return (predicted == (targets > 0)).double() * balanced_weights(targets)


def _residual_probe(name: str, split: TrainAndTest, train: Tensor, test: Tensor) -> Bar:
    targets = one_against_rest(split.test.labels)
    hits = _balanced_hits(_fit_and_predict(train, one_against_rest(split.train.labels), test), targets)
    required = 0.90 if name in ("profession", "category", "topic") else None
    return Bar(f"residual probe, {name}", mean_estimate(hits.mean(dim=1).numpy()), at_least=required)


def _by_one_latent_bars(name: str, split: TrainAndTest, train: dict[str, Tensor], test: dict[str, Tensor]) -> list[Bar]:
    """How much better one SAE's best single latent is than another's; paired over texts."""
    hits = {sae: _hits_by_one_latent(split, train[sae], test[sae]) for sae in train if sae != "residual"}

    def bar(one: str, other: str) -> Bar:
        return Bar(f"{name} k=1, {one} minus {other}", mean_estimate((hits[one] - hits[other]).numpy()))

    if name != "profession":
        return [bar("topk k8", RANDOM)]
    return [bar("topk k8", RANDOM), bar("topk k16", RANDOM), bar("topk k8", "topk k32")]


def _over_tasks(differences: Mapping[str, Sequence[Bar]]) -> Bar:
    """How far a trained SAE is ahead of a random one, over all tasks.

    Which tasks show it differs from world to world: in a model of width 128 the best of 1024 random directions is a
    strong competitor.
    """
    estimates = [bars[0].estimate for bars in differences.values()]
    value = sum(e.value for e in estimates) / len(estimates)
    half = sum((e.high - e.value) ** 2 for e in estimates if e.high is not None) ** 0.5 / len(estimates)
    name = f"k=1 over all tasks, topk k8 minus {RANDOM}"
    return Bar(name, Estimate(value, value - half, value + half), at_least=0.02)


def _hits_by_one_latent(split: TrainAndTest, train: Tensor, test: Tensor) -> Tensor:
    """For each test text, hits averaged over the classes."""
    predicted = _by_one_latent(train, one_against_rest(split.train.labels), test)
    return _balanced_hits(predicted, one_against_rest(split.test.labels)).mean(dim=1)


def _by_one_latent(train: Float[Tensor, "text d_sae"], targets: Tensor, test: Tensor) -> Tensor:
    """The predictions of a probe on each class's one latent with the largest difference of means."""
    positive = (targets / targets.sum(0)).T.float() @ train
    negative = ((1 - targets) / (1 - targets).sum(0)).T.float() @ train
    best = (positive - negative).abs().argmax(dim=1)
    columns = [
        _fit_and_predict(train[:, [latent]], targets[:, [i]], test[:, [latent]])
        for i, latent in enumerate(best.tolist())
    ]
    return torch.cat(columns, dim=1)


def _best_single_token(world: CheckedWorld, name: str, split: TrainAndTest, *, required: bool = True) -> Bar:
    """The balanced accuracy of the best rule 'this token occurs', for the class where it is best; not held out."""
    texts, labels = split.train
    sets = [dict.fromkeys(ids) for ids in encode_plain(world.tokenizer, texts)]
    best = Estimate(0.0)
    for label in labels.unique().tolist():
        inside = [tokens for tokens, own_label in zip(sets, labels.tolist(), strict=True) if own_label == label]
        outside = [tokens for tokens, own_label in zip(sets, labels.tolist(), strict=True) if own_label != label]
        best = max(best, _best_rule(inside, outside), key=lambda estimate: estimate.value)
    return Bar(f"best single token, {name}", best, at_most=0.80 if required else None)


def _best_rule(inside: Sequence[dict[int, None]], outside: Sequence[dict[int, None]]) -> Estimate:
    here = Counter(token for tokens in inside for token in tokens)
    there = Counter(token for tokens in outside for token in tokens)

    def accuracy(token: int) -> float:
        difference = here[token] / len(inside) - there[token] / len(outside)
        return 0.5 + abs(difference) / 2

    return wilson(round(max(map(accuracy, here)) * 2 * len(inside)), 2 * len(inside))


def letter_probe(world: CheckedWorld) -> Bar:
    """Letters (of 26) that a linear probe at the word's token finds with F1 over 0.6, on words it has not seen."""
    (x, letters), (x_test, test_letters) = (_word_activations(world, split) for split in ("train", "test"))
    alphabet = sorted(set(letters))
    targets, test_targets = (
        torch.tensor([[letter == other for other in alphabet] for letter in part]).double()
        for part in (letters, test_letters)
    )
    predicted = _fit_and_predict(x, targets, x_test)
    samples = resamples(len(test_letters), seed=world.seed)
    counts = [_letters_found(predicted[rows], test_targets[rows]) for rows in torch.from_numpy(samples[:200])]
    value = _letters_found(predicted, test_targets)
    return Bar("first-letter probe, letters with F1 > 0.6", bootstrapped(value, counts), at_least=23)


@torch.no_grad()
def _word_activations(world: CheckedWorld, split: str) -> tuple[Tensor, list[str]]:
    prompts, words = spelling_prompts(world, split)
    tokens = world.prompts(prompts)
    parts = [world.lm.capture(part, world.site)[:, WORD_POSITION] for part in tokens.split(64)]
    return torch.cat(parts), [first_letter(word) for word in words]


def _letters_found(predicted: Tensor, targets: Tensor) -> int:
    hits = (predicted & (targets > 0)).sum(0)
    f1 = 2 * hits / (predicted.sum(0) + targets.sum(0)).clamp(min=1)
    return int((f1 > _LETTER_F1).sum())
