"""What some SAEs do to each token's activation before they encode it, and undo in its reconstruction."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Float
from torch import Tensor

Normalisation = Literal["none", "layer_norm", "constant_norm_rescale"]
"""SAELens' names. `layer_norm`: y = (x - mean) / (std + 1e-5), undone by std y_hat + mean (of n - 1 degrees of freedom;
OpenAI's GPT-2 SAEs). `constant_norm_rescale`: y = x sqrt(d_in) / |x|."""
NORMALISATIONS: tuple[str, ...] = get_args(Normalisation)

_EPSILON = 1e-5


class Normalised(NamedTuple):
    """A token's activation in the units that its SAE was trained in, and the way back: x = gain y + shift."""

    y: Float[Tensor, "*batch d_in"]
    gain: Float[Tensor, "*batch 1"]
    """What 1 in these units is in the activation's."""
    shift: Float[Tensor, "*batch 1"]


def normalise(kind: Normalisation, x: Float[Tensor, "*batch d_in"]) -> Normalised:
    """`x` normalised token by token; an activation that is 0 stays 0."""
    if kind == "layer_norm":
        mean = x.mean(dim=-1, keepdim=True)
        y = x - mean
        std = y.std(dim=-1, keepdim=True)
        return Normalised(y / (std + _EPSILON), std, mean)
    if kind == "constant_norm_rescale":
        gain = torch.linalg.vector_norm(x, dim=-1, keepdim=True) / x.shape[-1] ** 0.5
        return Normalised(x / gain.clamp_min(torch.finfo(x.dtype).tiny), gain, torch.zeros_like(gain))
    one = torch.ones_like(x[..., :1])
    return Normalised(x, one, torch.zeros_like(one))
