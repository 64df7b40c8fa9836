"""How well a reconstruction matches its input: per-sequence sums of per-token quantities."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sae_research.evals.core.sums import sum_real

OUTLIER = 10.0
"""An outlier's norm is more than so many times the median: first tokens of many models, some delimiters."""
# As in SAEBench: a shorter input counts as length 1 in ‖x_hat‖ / ‖x‖.
_SHORTEST_NORM = 1e-4


class Inputs(NamedTuple):
    """The inputs, and quantities that depend on them only; shared by all SAEs."""

    x: Float[Tensor, "sequences tokens d_in"]
    real: Bool[Tensor, "sequences tokens"]
    usual: Bool[Tensor, "sequences tokens"]
    """Real tokens that are no outliers."""
    norm: Float[Tensor, "sequences tokens"]
    batch_spread: Float[Tensor, "sequences tokens"]
    """‖x - μ_b‖², μ_b the mean of the token's batch."""
    columns: dict[str, Float[Tensor, " sequences"]]
    offset: Float[Tensor, " d_in"]
    """Σ (x - centre) over all real tokens, float64."""
    usual_offset: Float[Tensor, " d_in"]
    """The same over the usual ones."""


def describe_inputs(
    x: Float[Tensor, "sequences tokens d_in"],
    real: Bool[Tensor, "sequences tokens"],
    centre: Float[Tensor, " d_in"],
    *,
    batch_size: int,
    outlier_norm: float,
) -> Inputs:
    """The inputs with norms and spreads; `batch_size` sequences form a batch (for SAEBench's legacy value).

    `centre` is any fixed vector near the mean, so that sums of squares about it lose no digits. Tokens of a larger norm
    than `outlier_norm` are outliers.
    """
    x = x.to(torch.float32)
    norm = x.norm(dim=-1)
    usual = real & (norm <= outlier_norm)
    shifted = x - centre
    spread = shifted.pow(2).sum(dim=-1)
    columns = {
        "tokens": real.sum(dim=1).to(torch.float64),
        "usual_tokens": usual.sum(dim=1).to(torch.float64),
        "in_square": sum_real(norm.double() ** 2, real),
        "in_norm": sum_real(norm, real),
        "in_spread": sum_real(spread, real),
        "usual_spread": sum_real(spread, usual),
    }
    offset, usual_offset = (_sum_vectors(shifted, kept) for kept in (real, usual))
    return Inputs(x, real, usual, norm, _batch_spread(shifted, real, batch_size), columns, offset, usual_offset)


def _sum_vectors(x: Tensor, kept: Tensor) -> Tensor:
    return torch.where(kept[..., None], x, 0.0).sum(dim=1).double().sum(dim=0)


def _batch_spread(x: Tensor, real: Tensor, batch_size: int) -> Tensor:
    """‖x - μ_b‖² for each token, which a shift of `x` does not change."""
    spreads = []
    for part, seen in zip(x.split(batch_size), real.split(batch_size), strict=True):
        mean = _sum_vectors(part, seen) / seen.sum()
        spreads.append((part - mean.to(part.dtype)).pow(2).sum(dim=-1))
    return torch.cat(spreads)


def take(inputs: Inputs, part: slice) -> Inputs:
    """The inputs of some of the sequences; columns and offsets stay those of all."""
    return inputs._replace(
        x=inputs.x[part],
        real=inputs.real[part],
        usual=inputs.usual[part],
        norm=inputs.norm[part],
        batch_spread=inputs.batch_spread[part],
    )


def describe_outputs(
    inputs: Inputs, x_hat: Float[Tensor, "sequences tokens d_in"]
) -> dict[str, Float[Tensor, " sequences"]]:
    """Per-sequence sums of quantities that compare `x_hat` with `x`."""
    x_hat = x_hat.to(torch.float32)
    norm = x_hat.norm(dim=-1)
    error = (inputs.x - x_hat).pow(2).sum(dim=-1)
    dot = torch.linalg.vecdot(inputs.x, x_hat)
    long_norm = torch.where(inputs.norm < _SHORTEST_NORM, 1.0, inputs.norm)
    cosine = torch.where((norm > 0) & (inputs.norm > 0), dot / (norm * inputs.norm), 0.0)
    quantities = {
        "error": error,
        "legacy": 1 - error.double() / inputs.batch_spread.double(),
        "out_norm": norm,
        "out_square": norm.double() ** 2,
        "dot": dot,
        "ratio": norm / long_norm,
        "cosine": cosine,
    }
    sums = {name: sum_real(values, inputs.real) for name, values in quantities.items()}
    return sums | {"usual_error": sum_real(error, inputs.usual)}
