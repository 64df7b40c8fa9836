"""What every sparse autoencoder is: a card, an encoder, a decoder that is affine in the codes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Any, ClassVar, Literal, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sae_research.errors import UserError
from sae_research.lm.site import Site
from sae_research.records import read_record
from sae_research.saes.normalisation import Normalisation, normalise

Scope = Literal["token", "sequence"]
Shapes = Mapping[str, tuple[str, ...]]
"""Names of tensors, each with its sizes in terms of d_in and d_sae."""

DICTIONARY: Shapes = MappingProxyType({"W_dec": ("d_sae", "d_in"), "b_dec": ("d_in",)})
"""The tensors of an SAE that has a dictionary and nothing else."""


@dataclass(frozen=True)
class SaeCard:
    """All that is known about an SAE except its tensors."""

    name: str
    """Unique in a run; names its folder and its row."""
    architecture: str
    """The name of its class's file in `sae_research/saes/architectures/`."""
    site: Site
    """Where in the language model it reads and writes."""
    d_in: int
    d_sae: int
    model_name: str
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    """What the architecture needs besides tensors: `k`, `s`, ..."""
    source: Mapping[str, Any] = field(default_factory=dict)
    """Where it came from: repo_id, filename, revision; for a variant also `baseline`."""
    digest: str = ""
    """SHA-256 over the tensors and everything in the card that determines codes."""
    training_tokens: int | None = None
    prepend_bos: bool = True
    """Whether the rows that it was trained on begin with BOS, as far as its checkpoint says."""
    input_norm: Normalisation = "none"
    """What it does to each token's activation before it encodes it, and undoes in the reconstruction."""
    label: str = ""
    """What tables and plots call its architecture, from params; empty: its own name. Changes nothing that is computed,
    and is stored in the manifest only."""
    control: bool = False
    """Whether it learned nothing that a metric should reward, from params: random atoms, PCA, an untrained model's SAE.
    Changes nothing that is computed, and is stored in the manifest only."""
    atoms: str = ""
    """What its atoms are where `setup` made it as a control: random, raw or pca. Stored in the manifest only."""
    control_for: str = ""
    """The variant that has the same encoder and settings as this control. Stored in the manifest only."""


class Sae(nn.Module, ABC):
    """A sparse autoencoder; one final subclass per architecture.

    `W_dec` is (d_sae, d_in), its rows the atoms; `b_dec` is (d_in,).
    """

    scope: ClassVar[Scope] = "token"
    """'sequence' if the codes of a token depend on the other tokens of its sequence."""
    atoms_per_token: ClassVar[str | None] = None
    """The option that says how many atoms a pursuit of scope `token` fits to each token: from d_in atoms
    on, any dictionary reconstructs it."""
    settings_type: ClassVar[type]
    """The frozen record of its options, which `card.hyperparameters` holds."""
    shapes: ClassVar[Shapes]
    """The tensors that determine the codes and the reconstruction: name -> sizes in terms of d_in and d_sae."""
    scaled_with_atoms: ClassVar[tuple[str, ...]] = ()
    """The tensors that are multiplied by an atom's norm when the atom is scaled to norm 1, so that the reconstruction
    stays. Empty: never scaled, because which latents fire would change (TopK)."""

    W_dec: Tensor
    b_dec: Tensor

    def __init__(self, card: SaeCard, tensors: Mapping[str, Tensor] = MappingProxyType({})) -> None:
        super().__init__()
        where = f"SAE {card.name!r}: hyperparameters"
        self.settings: Any = read_record(self.settings_type, card.hyperparameters, where=where)
        """An instance of `settings_type`."""
        self.card = replace(card, hyperparameters=asdict(self.settings))
        """The card with every option written out, defaults included."""
        check_tensors(card, self.shapes, tensors)
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)

    @abstractmethod
    def encode(
        self, x: Float[Tensor, "*batch d_in"], mask: Bool[Tensor, "*batch"] | None = None
    ) -> Float[Tensor, "*batch d_sae"]:
        """Codes of `x`; tokens where `mask` is False neither get codes (theirs are 0) nor influence others'.

        3-D input is (sequence, token, d_in); a 2-D input is a batch of one-token sequences.
        """

    @final
    def decode(
        self, codes: Float[Tensor, "*batch d_sae"], x: Float[Tensor, "*batch d_in"] | None = None
    ) -> Float[Tensor, "*batch d_in"]:
        """x_hat = codes W_dec + b_dec, in the units of `x`, which only SAEs that normalise their input need."""
        return self.in_units_of(x, codes @ self.W_dec + self.b_dec)

    @final
    def in_units_of(
        self, x: Float[Tensor, "*batch d_in"] | None, y_hat: Float[Tensor, "*batch d_in"]
    ) -> Float[Tensor, "*batch d_in"]:
        """The reconstruction `y_hat` with the normalisation of `x` undone."""
        if self.card.input_norm == "none":
            return y_hat
        if x is None:
            raise UserError(
                f"SAE {self.card.name!r}: it normalises each token's activation ({self.card.input_norm}), so codes "
                "alone say nothing about its reconstruction; call decode(codes, x)"
            )
        _, gain, shift = normalise(self.card.input_norm, x.to(y_hat.dtype))
        return y_hat * gain + shift

    @final
    def contributions(
        self, codes: Float[Tensor, "*batch some"], x: Float[Tensor, "*batch d_in"]
    ) -> Float[Tensor, "*batch some"]:
        """What each code adds to the activation, in atoms: the code itself, unless the input is normalised."""
        if self.card.input_norm == "none":
            return codes
        return codes * normalise(self.card.input_norm, x.to(self.W_dec.dtype)).gain

    def describe(self) -> dict[str, Any]:
        """The SAE's entry in manifests and results."""
        card = self.card
        return {
            "name": card.name,
            "architecture": card.architecture,
            "label": card.label or card.architecture,
            "control": card.control,
            "atoms": card.atoms or None,
            "control_for": card.control_for or None,
            "hook_name": card.site.hook_name,
            "layer": card.site.layer,
            "scope": self.scope,
            "d_in": card.d_in,
            "d_sae": card.d_sae,
            "hyperparameters": dict(card.hyperparameters),
            "source": dict(card.source),
            "digest": card.digest,
            "training_tokens": card.training_tokens,
            "model_name": card.model_name,
            "prepend_bos": card.prepend_bos,
            "centred": card.site.centred,
            "input_norm": card.input_norm,
        }

    @property
    def encoder_directions(self) -> Float[Tensor, "d_in d_sae"]:
        """The encoder's columns, for weight statistics; the atoms if the SAE has no encoder."""
        return self.get_buffer("W_enc") if "W_enc" in self.shapes else self.W_dec.T

    @property
    def encoder_bias(self) -> Float[Tensor, " d_sae"]:
        """The bias inside the encoder; zero if it has none."""
        if "b_enc" in self.shapes:
            return self.get_buffer("b_enc")
        return torch.zeros(self.card.d_sae, device=self.W_dec.device, dtype=self.W_dec.dtype)


def centred(sae: Sae, x: Float[Tensor, "*batch d_in"], *, subtract: bool = True) -> Float[Tensor, "*batch d_in"]:
    """`x` in the SAE's own dtype and normalised as it wants it, minus `b_dec` if `subtract`."""
    x = normalise(sae.card.input_norm, x.to(sae.b_dec.dtype)).y
    return x - sae.b_dec if subtract else x


def zero_masked(
    values: Float[Tensor, "*batch width"], mask: Bool[Tensor, "*batch"] | None
) -> Float[Tensor, "*batch width"]:
    """`values` with 0 at every position where `mask` is False, even in place of NaN."""
    return values if mask is None else torch.where(mask.unsqueeze(-1), values, 0)


def check_k(card: SaeCard, k: int) -> None:
    """Refuse a `k` that no code can have."""
    if not 1 <= k <= card.d_sae:
        raise UserError(f"SAE {card.name!r}: k is {k}, but d_sae is {card.d_sae}; k must lie between 1 and d_sae")


def check_tensors(card: SaeCard, shapes: Shapes, tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors whose names, sizes or values are not what the architecture expects."""
    if card.d_in < 1 or card.d_sae < 1:
        raise UserError(
            f"SAE {card.name!r}: d_in is {card.d_in} and d_sae is {card.d_sae}, expected at least 1; it has no "
            "latents: fix the config or the weights"
        )
    missing, unexpected = sorted(set(shapes) - set(tensors)), sorted(set(tensors) - set(shapes))
    if missing or unexpected:
        raise UserError(
            f"SAE {card.name!r}: missing {', '.join(missing) or 'nothing'}, unexpected "
            f"{', '.join(unexpected) or 'nothing'}; architecture {card.architecture!r} has exactly "
            f"{', '.join(shapes) or 'no tensors'}; is this the checkpoint of another architecture?"
        )
    sizes = {"d_in": card.d_in, "d_sae": card.d_sae}
    for name, tensor in tensors.items():
        expected = tuple(sizes[size] for size in shapes[name])
        if tuple(tensor.shape) != expected:
            raise UserError(
                f"SAE {card.name!r}: {name} has shape {tuple(tensor.shape)}, expected {expected} "
                f"({' x '.join(shapes[name])}, d_in {card.d_in}, d_sae {card.d_sae}); fix the config or the weights"
            )
        if not bool(torch.isfinite(tensor).all()):
            raise UserError(
                f"SAE {card.name!r}: {name} holds NaN or infinite values; the training diverged or the file is damaged"
            )
