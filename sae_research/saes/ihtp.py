"""IHTP: instance-level hard thresholding pursuit on a fixed dictionary, as the seed defines it.

One support per sequence: the union over its tokens of the k atoms most correlated with each. Then all tokens are
fitted on that support by least squares, so every token has (nearly) all of the support's atoms, with signs. It is
one hard-thresholding step and a fit, not the iterated HTP of Foucart (2011). The codes of a token depend on its
whole sequence, later tokens included, and once the support reaches d_in atoms the fit only interpolates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sae_research.saes.base import Sae, SaeCard, Scope, Shapes, centred, zero_masked
from sae_research.saes.parts.build import check_k, check_unit_atoms, read_settings, with_settings
from sae_research.saes.parts.least_squares import least_squares
from sae_research.saes.parts.selection import top_k_mask

# Numbers held at a time beside the codes themselves: 256 MiB in float32. Changes memory and speed only.
_BUDGET = 2**26


@dataclass(frozen=True)
class Settings:
    """Options of IHTP."""

    k: int
    """Atoms that each token adds to the support of its sequence."""


class Support(NamedTuple):
    """The atoms chosen in each sequence."""

    indices: Int[Tensor, "seq m"]
    """Ascending; after the first `sizes[b]` of row b comes padding."""
    sizes: Int[Tensor, " seq"]


@final
class IhtpSae(Sae):
    """codes_S = argmin_Z ||Y - Z D_S||_F with S = union over tokens of top_k |Y D^T|, Y = x - b_dec, D = W_dec."""

    scope: ClassVar[Scope] = "sequence"
    shapes: ClassVar[Shapes] = {"W_dec": ("d_sae", "d_in"), "b_dec": ("d_in",)}

    def __init__(self, card: SaeCard, tensors: Mapping[str, Tensor]) -> None:
        settings = read_settings(Settings, card)
        check_k(card, settings.k)
        super().__init__(with_settings(card, settings), tensors)
        check_unit_atoms(card, self.W_dec)
        self.settings = settings

    def encode(
        self, x: Float[Tensor, "*batch d_in"], mask: Bool[Tensor, "*batch"] | None = None
    ) -> Float[Tensor, "*batch d_sae"]:
        y = zero_masked(centred(self, x), mask)
        tokens = y.shape[-2] if y.ndim > 2 else 1
        sequences = y.reshape(-1, tokens, y.shape[-1])
        if sequences.numel() == 0:
            return y.new_zeros(*y.shape[:-1], self.card.d_sae)
        widest = min(self.settings.k * tokens, self.card.d_sae)
        each = tokens * self.card.d_sae + 2 * widest * (widest + self.card.d_in)
        parts = [self._encode(part) for part in sequences.split(max(1, _BUDGET // each))]
        return zero_masked(torch.cat(parts).reshape(*y.shape[:-1], self.card.d_sae), mask)

    def _encode(self, y: Float[Tensor, "seq token d_in"]) -> Float[Tensor, "seq token d_sae"]:
        chosen = top_k_mask((y @ self.W_dec.T).abs_(), self.settings.k).any(dim=1)
        support = _support(chosen)
        present = torch.arange(support.indices.shape[1], device=y.device) < support.sizes.unsqueeze(-1)
        atoms = zero_masked(self.W_dec[support.indices], present)
        values = least_squares(y, atoms, support.sizes)
        codes = y.new_zeros(*y.shape[:2], self.card.d_sae)
        # Added, not set: padding repeats an index, with value 0.
        return codes.scatter_add_(-1, support.indices.unsqueeze(1).expand_as(values), values)


def _support(chosen: Bool[Tensor, "seq d_sae"]) -> Support:
    """The chosen atoms as indices, padded to the largest support (at least one column)."""
    sizes = chosen.sum(-1)
    sequence, atom = chosen.nonzero(as_tuple=True)
    place = (chosen.cumsum(-1) - 1)[sequence, atom]
    indices = torch.zeros(len(chosen), max(1, int(sizes.max())), dtype=torch.long, device=chosen.device)
    indices[sequence, place] = atom
    return Support(indices, sizes)
