"""Warnings before a training starts: what has made SAEs useless elsewhere and can be seen beforehand."""

from __future__ import annotations

import math
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from sae_research.training.settings import TrainSettings

_FEW_TOKENS = 100
"""Tokens per latent. The SAE of 131,072 latents that was trained on 500,000 tokens, 4 for each, had 89 % of its latents
dead and recovered 7 % of the loss; its makers then asked for 10 to 50 million, 76 to 381 for each."""
_FEW_STEPS = 1000
_FAR_FROM_1 = 3.0
_OUTLIER = 10.0


class MeasuredText(NamedTuple):
    """The text that the core eval measures."""

    dataset: str
    split: str
    context_size: int


def advice(settings: TrainSettings, x: Float[Tensor, "token d"], measured: MeasuredText | None = None) -> list[str]:
    """What is likely to go wrong, each with a remedy; `x` are activations of the text as they are trained on."""
    return [*_about_size(settings, x.shape[1]), *_about_scale(settings, x), *_about_text(settings, measured)]


def _about_size(settings: TrainSettings, d_in: int) -> list[str]:
    """Too little training for so many latents."""
    sentences = []
    d_sae = settings.width(d_in)
    per_latent = settings.tokens / d_sae
    if per_latent < _FEW_TOKENS:
        sentences.append(
            f"{settings.tokens:,} tokens are {per_latent:.3g} for each of {d_sae:,} latents: most may stay dead, and "
            f"the reconstruction poor; train on {_FEW_TOKENS * d_sae:,} or more (training_tokens), or make it smaller "
            "(d_sae, expansion_factor)"
        )
    if settings.steps < _FEW_STEPS:
        sentences.append(
            f"it takes {settings.steps} steps only: raise training_tokens, or lower train_batch_size_tokens "
            f"({settings.train_batch_size_tokens})"
        )
    revives = "topk" in settings.architecture and settings.options.get("aux_loss_coefficient", 1) != 0
    if revives and settings.dead_feature_window >= settings.steps:
        sentences.append(
            f"dead latents are not revived: the auxiliary loss acts on those that have not fired for "
            f"{settings.dead_feature_window} steps (dead_feature_window), and there are {settings.steps}; lower it"
        )
    return sentences


def _about_scale(settings: TrainSettings, x: Float[Tensor, "token d"]) -> list[str]:
    """Activations whose norm makes coefficients mean something else."""
    sentences = []
    norms = x.float().norm(dim=-1)
    factor = math.sqrt(x.shape[1]) / float(norms.mean())
    if settings.normalize_activations == "none" and not 1 / _FAR_FROM_1 < factor < _FAR_FROM_1:
        l1 = settings.options.get("l1_coefficient")
        acts_as = (
            f": an l1_coefficient of {l1:g} acts as {l1 * factor:.3g} would" if isinstance(l1, int | float) else ""
        )
        sentences.append(
            f"activations are not normalised, and their mean norm is {float(norms.mean()):.3g} where coefficients and "
            f"thresholds are made for {math.sqrt(x.shape[1]):.3g} (the root of {x.shape[1]} dimensions){acts_as}; set "
            "normalize_activations: expected_average_only_in"
        )
    largest, median = float(norms.max()), float(norms.median())
    if settings.outlier_norm is None and largest > _OUTLIER * median:
        n = int((norms > _OUTLIER * median).sum())
        sentences.append(
            f"{n} of {len(norms):,} activations have norms of up to {largest:.3g} where the median is {median:.3g}: "
            f"they rule the loss; leave them out (outlier_norm: {_OUTLIER:g})"
        )
    return sentences


def _about_text(settings: TrainSettings, measured: MeasuredText | None) -> list[str]:
    """Training text that is the measured one, or another kind of text."""
    if measured is None:
        return []
    if settings.dataset != measured.dataset:
        return [
            f"it is trained on {settings.dataset} and measured on {measured.dataset}: an SAE reconstructs other text "
            "less well than its own, so compare SAEs that were trained on the same"
        ]
    if settings.split == measured.split and settings.first_text == 0:
        return [
            f"it is trained on the text that core_eval measures ({settings.dataset}, split {settings.split!r}): its "
            "numbers will be too good; train on another split, or pass over the measured texts (first_text)"
        ]
    if settings.context_size != measured.context_size:
        return [
            f"it is trained on rows of {settings.context_size} tokens and measured on rows of {measured.context_size}; "
            "make context_size the same"
        ]
    return []
