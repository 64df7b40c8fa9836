"""Which entries of a row are its largest, with a fixed rule for ties."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def top_k_mask(magnitudes: Float[Tensor, "*batch n"], k: int) -> Bool[Tensor, "*batch n"]:
    """True at the `k` largest positive entries of each row; of equal ones the lowest indices win.

    Zeros are never chosen, so fewer than `k` are True in a row with fewer than `k` positive entries. The two largest of
    [1, 3, 3, 3] are [False, True, True, False].
    """
    n = magnitudes.shape[-1]
    if k >= n:
        return magnitudes > 0
    best = magnitudes.topk(k + 1, dim=-1).values
    kth, after = best[..., k - 1 : k], best[..., k]
    chosen = magnitudes >= kth.clamp_min(torch.finfo(magnitudes.dtype).smallest_normal)
    crowded = (kth.squeeze(-1) == after) & (after > 0)
    if bool(crowded.any()):
        chosen[crowded] = _lowest_of_equal(magnitudes[crowded], kth[crowded], k)
    return chosen


def _lowest_of_equal(
    magnitudes: Float[Tensor, "rows n"], kth: Float[Tensor, "rows 1"], k: int
) -> Bool[Tensor, "rows n"]:
    above, level = magnitudes > kth, magnitudes == kth
    room = k - above.sum(-1, keepdim=True)
    return above | (level & (level.cumsum(-1) <= room))
