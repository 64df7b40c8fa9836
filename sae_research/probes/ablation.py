"""What latents do to linear probes on mean activations, and what the probes see once latents are ablated.

The mean activation of a text with the latents S zeroed is x̄ - z̄_S W_dec[S], z̄ the text's mean codes: decoding is
affine, and the error x - x̂ is left as it is. A probe w then loses Σ_{i in S} z̄_i (W_dec[i]·w): nothing is decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_research.probes.draws import Rules
from sae_research.probes.tasks import Split

# Rows turned into float64 at a time.
_ROWS = 1024


class ClassMeans(NamedTuple):
    """The mean features of both sides of each task."""

    positive: Float[Tensor, "tasks features"]
    negative: Float[Tensor, "tasks features"]


def class_means(x: Float[Tensor, "rows features"], split: Split) -> ClassMeans:
    """The means over the positive and over the negative rows of each task, in float64."""
    sides = []
    for chosen in (split.positive, ~split.positive):
        share = chosen.double() / chosen.sum(dim=1, keepdim=True)
        weights = x.new_zeros(len(split.rows), split.n, dtype=torch.float64).scatter_add_(1, split.rows, share)
        parts = zip(x.split(_ROWS), weights.split(_ROWS, dim=1), strict=True)
        sides.append(sum(own @ part.double() for part, own in parts))
    return ClassMeans(*sides)


def removal_effects(means: ClassMeans, directions: Float[Tensor, "features tasks"]) -> Float[Tensor, "tasks features"]:
    """|(mean of the positives - mean of the negatives) W_dec[i]·w|: the latent's part in what the probe tells apart."""
    return ((means.positive - means.negative) * directions.T).abs()


def targeted_effects(
    means: ClassMeans, directions: Float[Tensor, "features tasks"], rules: Rules
) -> Float[Tensor, "tasks features"]:
    """(mean of the positives - mean of the negatives) W_dec[i]·w of the latents that fire for the positives, else 0.

    A latent fires for the positives where its mean there is the larger in absolute value, so that turning the signs of
    a latent's codes and of its atom changes nothing. SAEBench asks for the larger mean, the same for codes >= 0.
    """
    difference = means.positive - means.negative
    fires = difference > 0 if rules == "sae_bench" else means.positive.abs() > means.negative.abs()
    return torch.where(fires, difference * directions.T, 0.0)


def choose_latents(
    effects: Float[Tensor, " features"], n_values: Sequence[int], rules: Rules
) -> list[Int[Tensor, " chosen"] | None]:
    """For each n the latents to ablate: those of the n largest effects; None where there are fewer than n latents.

    `clean`: of latents with an effect above 0 alone, equal ones in order of their index. `sae_bench`: n is capped by
    the number of effects other than 0, and those above 0 may be fewer, so that its choice can hold others too.
    """
    if rules == "clean":
        order = effects.sort(descending=True, stable=True).indices[: int((effects > 0).sum())]
        return [order[:n] if n <= len(effects) else None for n in n_values]
    # Ties are broken as SAEBench breaks them: by `topk` of float32.
    single = effects.float()
    most = int((single != 0).sum())
    return [single.topk(min(n, most)).indices if n <= len(effects) else None for n in n_values]


def ablated_logits(
    codes: Float[Tensor, "texts features"],
    directions: Float[Tensor, "features probes"],
    logits: Float[Tensor, "texts probes"],
    chosen: Sequence[Int[Tensor, " chosen"] | None],
) -> Float[Tensor, "n texts probes"]:
    """The probes' logits on texts with mean codes `codes` once each choice of latents is ablated; NaN for no choice.

    `logits` are those before, `directions` the products of atoms and probes.
    """
    after = []
    for latents in chosen:
        if latents is None:
            after.append(torch.full_like(logits, torch.nan))
        else:
            after.append(logits - codes[:, latents].double() @ directions[latents])
    return torch.stack(after)
