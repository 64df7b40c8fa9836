"""The contribution of each latent to linear probes on mean activations, and the probes' logits without it.

Decoding is affine and the error x - x̂ stays, so zeroing the latents S turns the mean activation of a text into
x̄ - z̄_S W_dec[S], where z̄ are its mean codes. A probe w then loses Σ_{i in S} z̄_i (W_dec[i]·w); nothing is decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_research.probes.draws import Rules
from sae_research.probes.sparse_rows import Rows, take_columns, weighted_sums
from sae_research.probes.tasks import TaskRows

# Atoms converted to float64 at a time.
_ATOMS = 2**15


class ClassMeans(NamedTuple):
    """The mean features of both sides of each task."""

    positive: Float[Tensor, "tasks features"]
    negative: Float[Tensor, "tasks features"]


def class_means(x: Rows, split: TaskRows) -> ClassMeans:
    """The means over the positive and over the negative rows of each task, in float64."""
    means = []
    for side in (split.positive, ~split.positive):
        share = side.double() / side.sum(dim=1, keepdim=True)
        weights = share.new_zeros(len(split.rows), split.n).scatter_add_(1, split.rows, share)
        means.append(weighted_sums(x, weights))
    return ClassMeans(*means)


def atom_products(
    atoms: Float[Tensor, "features d"], probes: Float[Tensor, "probes d"]
) -> Float[Tensor, "features probes"]:
    """W_dec[i]·w of every latent and probe, in float64."""
    return torch.cat([part.double() @ probes.double().T for part in atoms.split(_ATOMS)])


def removal_effects(means: ClassMeans, directions: Float[Tensor, "features tasks"]) -> Float[Tensor, "tasks features"]:
    """|(mean of the positives - mean of the negatives) W_dec[i]·w|: what the latent adds to the gap in mean logits."""
    return ((means.positive - means.negative) * directions.T).abs()


def targeted_effects(
    means: ClassMeans, directions: Float[Tensor, "features tasks"], rules: Rules
) -> Float[Tensor, "tasks features"]:
    """(mean of the positives - mean of the negatives) W_dec[i]·w of latents that fire for the positives, else 0.

    A latent fires for the positives if its mean there is larger in absolute value: flipping the signs of a latent's
    codes and of its atom changes nothing. SAEBench compares the means themselves, which is the same for codes >= 0.
    """
    difference = means.positive - means.negative
    fires = difference > 0 if rules == "sae_bench" else means.positive.abs() > means.negative.abs()
    return torch.where(fires, difference * directions.T, 0.0)


def choose_latents(
    effects: Float[Tensor, " features"], n_values: Sequence[int], rules: Rules
) -> list[Int[Tensor, " chosen"] | None]:
    """For each n the latents with the n largest effects, to be ablated; None where the SAE has fewer than n latents.

    `clean`: only latents with an effect above 0; ties go to the lower index. `sae_bench`: n is capped by the number of
    effects other than 0. Fewer may be above 0, so its choice can include latents that speak against the class.
    """
    if rules == "clean":
        order = effects.sort(descending=True, stable=True).indices[: int((effects > 0).sum())]
        return [order[:n] if n <= len(effects) else None for n in n_values]
    # Ties are broken as SAEBench breaks them: by `topk` of float32.
    single = effects.float()
    most = int((single != 0).sum())
    return [single.topk(min(n, most)).indices if n <= len(effects) else None for n in n_values]


def ablated_logits(
    codes: Rows,
    directions: Float[Tensor, "features probes"],
    logits: Float[Tensor, "texts probes"],
    chosen: Sequence[Int[Tensor, " chosen"] | None],
) -> Float[Tensor, "n texts probes"]:
    """The probes' logits on texts with mean codes `codes` after each choice of latents is ablated; NaN for None.

    `logits` are those before the ablation, `directions` the products of atoms and probes.
    """
    used = torch.cat([directions.new_zeros(0, dtype=torch.long), *(c for c in chosen if c is not None)]).unique()
    columns = take_columns(codes, used)
    after = [
        torch.full_like(logits, torch.nan)
        if latents is None
        else logits - columns[:, torch.searchsorted(used, latents)].double() @ directions[latents]
        for latents in chosen
    ]
    return torch.stack(after)
