"""SAEs that choose atoms for a whole sequence, or for each token, and then fit codes on them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import final

from jaxtyping import Bool, Float
from torch import Tensor

from sae_research.errors import UserError
from sae_research.saes.base import DICTIONARY, Sae, SaeCard, centred, zero_masked
from sae_research.workers import side_by_side

# Numbers held at a time besides the codes themselves: 256 MiB in float32. Changes memory and speed only.
_BUDGET = 2**26
# The same for each thread of a CPU. It is smaller because many small parts keep the threads evenly busy.
_THREAD_BUDGET = 3 * 2**22


class SupportSae(Sae):
    """An SAE without an encoder: its codes are fits on a support, the atoms chosen for a sequence or token."""

    shapes = DICTIONARY

    def __init__(self, card: SaeCard, tensors: Mapping[str, Tensor]) -> None:
        super().__init__(card, tensors)
        check_unit_atoms(card, self.W_dec)

    @abstractmethod
    def pursue(self, y: Float[Tensor, "seq token d_in"], codes: Float[Tensor, "seq token d_sae"]) -> None:
        """Writes the codes of centred sequences, masked tokens 0, into `codes`, which comes uninitialised.

        For SAEs of scope `token` each token is a sequence of its own.
        """

    @abstractmethod
    def largest_support(self, tokens: int) -> int:
        """How many atoms the support of a sequence of so many tokens has at most: determines memory only."""

    @final
    def encode(
        self, x: Float[Tensor, "*batch d_in"], mask: Bool[Tensor, "*batch"] | None = None
    ) -> Float[Tensor, "*batch d_sae"]:
        y = zero_masked(centred(self, x), mask)
        tokens = y.shape[-2] if y.ndim > 2 and self.scope == "sequence" else 1
        sequences = y.reshape(-1, tokens, y.shape[-1])
        codes = y.new_empty(len(sequences), tokens, self.card.d_sae)
        if codes.numel():
            self._pursue_in_parts(sequences, None if mask is None else mask.reshape(-1, tokens, 1), codes)
        return codes.view(*y.shape[:-1], self.card.d_sae)

    def _pursue_in_parts(
        self,
        sequences: Float[Tensor, "seq token d_in"],
        real: Bool[Tensor, "seq token 1"] | None,
        codes: Float[Tensor, "seq token d_sae"],
    ) -> None:
        tokens, support = sequences.shape[1], self.largest_support(sequences.shape[1])
        numbers = tokens * self.card.d_sae + 2 * support * (support + self.card.d_in)
        size = max(1, (_THREAD_BUDGET if codes.device.type == "cpu" else _BUDGET) // numbers)

        def pursue_part(part: slice) -> None:
            self.pursue(sequences[part], codes[part])
            if real is not None:
                codes[part].masked_fill_(~real[part], 0)

        side_by_side(pursue_part, [slice(i, i + size) for i in range(0, len(sequences), size)], codes.device)


def check_unit_atoms(card: SaeCard, W_dec: Float[Tensor, "d_sae d_in"]) -> None:
    """Refuse a dictionary whose atoms have another norm than 1 (or 0): pursuit would rank and scale them wrongly."""
    norms = W_dec.norm(dim=1)
    wrong = (norms != 0) & ((norms - 1).abs() > 1e-4)
    if bool(wrong.any()):
        raise UserError(
            f"SAE {card.name!r}: {int(wrong.sum())} of {card.d_sae} atoms have a norm other than 1 (up to "
            f"{float(norms.max()):.4g}); pursuit needs unit atoms: derive the variant with derive_variants"
        )
