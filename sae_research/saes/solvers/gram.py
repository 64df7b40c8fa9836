"""The Gram matrix D D^T of a dictionary, computed once for all SAEs that share it."""

from __future__ import annotations

import hashlib
from weakref import WeakValueDictionary

import torch
from jaxtyping import Float
from torch import Tensor

# A matrix lives as long as some SAE holds it. Variants of one baseline share theirs: 1 GiB at d_sae 16,384.
_matrices: WeakValueDictionary[tuple[str, str, str], Tensor] = WeakValueDictionary()
# Rows computed at a time; the blocks above the diagonal are mirrored from below it.
_ROWS = 1024


def shared_gram(W_dec: Float[Tensor, "d_sae d_in"]) -> Float[Tensor, "d_sae d_sae"]:
    """The Gram matrix of the atoms. Equal atoms get the same tensor: hold on to it, and never change it."""
    exact = W_dec.detach().cpu().contiguous()
    key = (hashlib.sha256(exact.view(torch.uint8).numpy().data).hexdigest(), str(W_dec.dtype), str(W_dec.device))
    gram = _matrices.get(key)
    if gram is None:
        gram = _matrices[key] = gram_matrix(W_dec)
    return gram


@torch.no_grad()
def gram_matrix(W_dec: Float[Tensor, "d_sae d_in"]) -> Float[Tensor, "d_sae d_sae"]:
    """W_dec W_dec^T with half the work of a plain product."""
    n = len(W_dec)
    gram = W_dec.new_empty(n, n)
    for start in range(0, n, _ROWS):
        end = min(n, start + _ROWS)
        gram[start:end, :end] = W_dec[start:end] @ W_dec[:end].T
        gram[:start, start:end] = gram[start:end, :start].T
    return gram
