"""What can be said of latents from their atoms alone: the tokens they promote, and the atoms that are like them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_research.lm.model import LanguageModel
from sae_research.lm.site import Site

_ELEMENTS = 2**24
"""Products that are held at once besides the result, 64 MiB."""


class Tops(NamedTuple):
    """The largest values of each row, in falling order, and their columns."""

    columns: Int[Tensor, "rows k"]
    values: Float[Tensor, "rows k"]


def no_logits(lm: LanguageModel, site: Site) -> str | None:
    """Why nothing can be said of the tokens that atoms at `site` promote; None where it can."""
    if site.kind == "attn_z":
        return f"atoms at {site.hook_name} are of attention heads and do not add to the residual stream as they are"
    width = lm.unembedding.shape[1]
    return None if lm.width(site) == width else f"atoms are {lm.width(site)} wide, the unembedding {width}"


def promoted_tokens(
    atoms: Float[Tensor, "n d"], unembedding: Float[Tensor, "vocab d"], *, k: int, n_tokens: int
) -> tuple[Tops, Tops]:
    """The tokens that each atom, added to the last hidden state, raises most, and those that it lowers most.

    The products of atoms with the rows of the unembedding: an approximation that passes over later layers and the last
    norm. Only the first `n_tokens` rows are tokens; models pad their vocabulary.
    """
    unembedding = unembedding[:n_tokens]
    k = min(k, len(unembedding))
    logits = _products(atoms, unembedding)
    most, least = logits.topk(k, dim=1), logits.topk(k, dim=1, largest=False)
    return Tops(most.indices, most.values), Tops(least.indices, least.values)


def nearest_atoms(W_dec: Float[Tensor, "d_sae d"], latents: Int[Tensor, " n"], *, k: int) -> Tops:
    """The other latents whose decoder rows have the largest cosine with those of `latents`; 0 with a row of zeros."""
    units = torch.nn.functional.normalize(W_dec[latents].float(), dim=1)
    cosines = _products(units, W_dec, unit_rows=True)
    cosines[torch.arange(len(latents), device=cosines.device), latents] = -torch.inf
    nearest = cosines.topk(min(k, len(W_dec) - 1), dim=1)
    return Tops(nearest.indices, nearest.values)


def _products(left: Tensor, right: Tensor, *, unit_rows: bool = False) -> Tensor:
    """left right^T in float32; of `right` only a part is held in float32 at a time."""
    step = max(1, _ELEMENTS // right.shape[1])
    products = left.new_empty(len(left), len(right), dtype=torch.float32)
    for start in range(0, len(right), step):
        rows = right[start : start + step].float()
        rows = torch.nn.functional.normalize(rows, dim=1) if unit_rows else rows
        torch.mm(left.float(), rows.T, out=products[:, start : start + step])
    return products
