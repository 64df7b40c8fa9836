"""Names of places in a language model, as in the configs of SAEs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from sae_research.errors import UserError
from sae_research.foreign import shown

Kind = Literal["resid_pre", "resid_post", "mlp_out", "attn_z"]

_PATTERNS: dict[Kind, str] = {
    "resid_pre": "blocks.{}.hook_resid_pre",
    "resid_post": "blocks.{}.hook_resid_post",
    "mlp_out": "blocks.{}.hook_mlp_out",
    "attn_z": "blocks.{}.attn.hook_z",
}


@dataclass(frozen=True, order=True)
class Site:
    """A hook point: a layer, and one of its activations."""

    layer: int
    kind: Kind
    centred: bool = False
    """Whether the activation is read without its mean over dimensions, as TransformerLens has it with
    `center_writing_weights`. A model whose norms subtract that mean (LayerNorm) computes the same from it."""

    @property
    def hook_name(self) -> str:
        """The TransformerLens name, e.g. `blocks.4.hook_resid_post`."""
        return _PATTERNS[self.kind].format(self.layer)

    @property
    def depth(self) -> float:
        """How many blocks a run has behind it: half a block more than before it inside of one."""
        return self.layer + {"resid_pre": 0.0, "resid_post": 1.0}.get(self.kind, 0.5)

    @classmethod
    def parse(cls, hook_name: str) -> Site:
        """The site that a TransformerLens hook name stands for."""
        for kind, pattern in _PATTERNS.items():
            match = re.fullmatch(re.escape(pattern).replace(r"\{\}", "([0-9]{1,6})"), hook_name)
            if match:
                return cls(layer=int(match[1]), kind=kind)
        valid = ", ".join(pattern.format("N") for pattern in _PATTERNS.values())
        raise UserError(f"hook name {shown(hook_name)} is not known; valid: {valid}")
