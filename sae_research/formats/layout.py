"""From the names and orientation of other projects' tensors to ours, strictly, and on to an SAE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from sae_research.errors import UserError
from sae_research.formats.folding import fold_atom_norms
from sae_research.formats.reading import require_floats
from sae_research.saes.base import Sae, SaeCard
from sae_research.saes.build import build_sae


@dataclass(frozen=True)
class Layout:
    """The tensors of one format."""

    keys: Mapping[str, str]
    """Its name of a tensor -> ours."""
    transposed: frozenset[str] = frozenset({"W_enc", "W_dec"})
    """Which of ours it keeps as the transpose, as nn.Linear does. Shapes say so too, except where d_in = d_sae."""
    ignored: frozenset[str] = frozenset()
    """Entries that affect neither codes nor reconstruction."""


LINEAR = Layout(
    {"encoder.weight": "W_enc", "encoder.bias": "b_enc", "decoder.weight": "W_dec", "decoder.bias": "b_dec"}
)
"""Two nn.Linear called `encoder` and `decoder`."""


def tensors_of(state: Mapping[str, Any], layout: Layout, *, sae: str) -> dict[str, Tensor]:
    """The tensors of `state` under our names and in our orientation; every other entry is refused by name."""
    missing = sorted(set(layout.keys) - set(state))
    unexpected = sorted(set(state) - set(layout.keys) - layout.ignored)
    no_tensors = sorted(key for key in layout.keys if key in state and not isinstance(state[key], Tensor))
    if missing or unexpected or no_tensors:
        raise UserError(
            f"SAE {sae!r}: missing {', '.join(missing) or 'nothing'}, unexpected {', '.join(unexpected) or 'nothing'}"
            + (f", no tensors: {', '.join(no_tensors)}" if no_tensors else "")
            + f"; this format has {', '.join(layout.keys)}; is this the checkpoint of another project?"
        )
    tensors: dict[str, Tensor] = {key: state[key] for key in layout.keys}
    require_floats(tensors, sae=sae)
    ours = {layout.keys[key]: tensor.float() for key, tensor in tensors.items()}
    d_in = ours["b_dec"].numel()
    d_sae = ours["b_enc"].numel() if "b_enc" in ours else ours["W_dec"].numel() // max(1, d_in)
    for key, name in layout.keys.items():
        if name in ("W_enc", "W_dec"):
            expected = (d_in, d_sae) if name == "W_enc" else (d_sae, d_in)
            ours[name] = _oriented(ours[name], expected, is_transposed=name in layout.transposed, key=key, sae=sae)
    return ours


def _oriented(tensor: Tensor, expected: tuple[int, int], *, is_transposed: bool, key: str, sae: str) -> Tensor:
    shape = tuple(tensor.shape)
    if shape not in (expected, expected[::-1]):
        raise UserError(
            f"SAE {sae!r}: {key} has shape {shape}, expected {expected} or its transpose, as its biases have it; "
            "are the tensors of one SAE?"
        )
    if expected[0] != expected[1]:
        is_transposed = shape != expected
    return tensor.T if is_transposed else tensor


def assembled(tensors: Mapping[str, Tensor], *, architecture: str, **fields: Any) -> Sae:
    """The SAE with these tensors and these fields of its card; atoms get norm 1 where that changes nothing else."""
    d_sae, d_in = tensors["W_dec"].shape
    card = SaeCard(architecture=architecture, d_in=d_in, d_sae=d_sae, **fields)
    return build_sae(card, fold_atom_norms(architecture, tensors))
