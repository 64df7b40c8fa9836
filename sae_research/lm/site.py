"""Names of places in a language model, as in the configs of SAEs."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sae_research.errors import UserError
from sae_research.foreign import shown
from sae_research.lm.module_names import Kind, named_activation

_PATTERNS: dict[Kind, str] = {
    "resid_pre": "blocks.{}.hook_resid_pre",
    "resid_post": "blocks.{}.hook_resid_post",
    "mlp_out": "blocks.{}.hook_mlp_out",
    "attn_out": "blocks.{}.hook_attn_out",
    "attn_z": "blocks.{}.attn.hook_z",
    "mlp_module": "blocks.{}.mlp.hook_out",
    "attn_module": "blocks.{}.attn.hook_out",
}
"""TransformerLens' names. `mlp_out` and `attn_out` are added to the residual stream. Some models (Gemma 2 and 3,
OLMo 2) have a norm before that: what enters it is `mlp_module` and `attn_module`, which otherwise are the same."""
_OTHER_NAMES: tuple[tuple[Kind, str], ...] = (
    ("resid_pre", "blocks.{}.hook_in"),
    ("resid_post", "blocks.{}.hook_out"),
)
"""Of TransformerLens' bridge."""
_MODULES = (
    "<path>.N (= blocks.N.hook_resid_post)",
    "<path>.N.mlp",
    "<path>.N.self_attn",
    "<path>.N.self_attn.o_proj.input (= blocks.N.attn.hook_z)",
)


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
        """The site that a TransformerLens hook name or a module's path in a Hugging Face model stands for."""
        names: list[tuple[Kind, str]] = [*_PATTERNS.items(), *_OTHER_NAMES]
        for kind, pattern in names:
            match = re.fullmatch(re.escape(pattern).replace(r"\{\}", "([0-9]{1,6})"), hook_name)
            if match:
                return cls(layer=int(match[1]), kind=kind)
        named = named_activation(hook_name)
        if named is None:
            valid = ", ".join(pattern.format("N") for pattern in _PATTERNS.values())
            raise UserError(
                f"hook name {shown(hook_name)} is not known; valid: {valid}; or a module's path in a Hugging Face "
                f"model, such as model.layers.9: {', '.join(_MODULES)}"
            )
        return cls(*named)
