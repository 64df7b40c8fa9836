"""Any object that encodes and decodes as an Sae, for `sae_research.evaluate`."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Protocol, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sae_research.errors import UserError
from sae_research.lm.hooks import evaluation_mode
from sae_research.lm.site import Site
from sae_research.saes.base import Sae, SaeCard, zero_masked
from sae_research.saes.build import sae_digest
from sae_research.saes.linear import BIASED

# Latents whose atoms are measured at a time.
_ATOMS_AT_ONCE = 1024


class EncoderDecoder(Protocol):
    """What a third-party SAE has to offer: (tokens, d_in) -> (tokens, d_sae) and back, each token by itself."""

    def encode(self, x: Tensor, /) -> Tensor: ...
    def decode(self, codes: Tensor, /) -> Tensor: ...


@dataclass(frozen=True)
class Settings:
    """A third-party SAE has no options that we know of."""

    source_class: str
    """The module and name of its class."""


@final
class WrappedSae(Sae):
    """The codes are the source's own; `W_dec` and `b_dec` are what its decoder amounts to, which is affine in them.

    `W_enc` and `b_enc` serve weight statistics only.
    """

    settings_type = Settings
    shapes = BIASED

    def __init__(self, card: SaeCard, tensors: Mapping[str, Tensor], source: EncoderDecoder) -> None:
        super().__init__(card, tensors)
        # In a tuple, so moving or training this module leaves the caller's object alone.
        self._source = (source,)

    def encode(
        self, x: Float[Tensor, "*batch d_in"], mask: Bool[Tensor, "*batch"] | None = None
    ) -> Float[Tensor, "*batch d_sae"]:
        codes = _encoded(self._source[0], x.reshape(-1, x.shape[-1]))
        return zero_masked(codes.to(x.device, self.W_dec.dtype).reshape(*x.shape[:-1], -1), mask)


def wrap_sae(
    source: EncoderDecoder,
    *,
    site: str | None = None,
    name: str | None = None,
    d_in: int | None = None,
    model_name: str = "",
) -> Sae:
    """`source` as an Sae; the source itself is not changed or moved.

    `site` is a hook name such as `blocks.4.hook_resid_post`. By default it, `d_in` and the weights are read from the
    source if it has them under the usual names (`cfg.hook_name`, `cfg.metadata.hook_name`, `cfg.d_in`, `W_enc`,
    `b_enc`, `W_dec`). What is read or assumed about its decoder is compared with what `decode` does.
    """
    kind = type(source).__name__
    name = name or kind
    site = site or _read(source, ("cfg.metadata.hook_name", "cfg.hook_name", "hook_name"))
    if site is None:
        raise UserError(f"SAE {name!r}: give its site, for example site='blocks.4.hook_resid_post'")
    d_in = d_in or _read(source, ("cfg.d_in", "d_in"))
    if d_in is None:
        raise UserError(f"SAE {name!r}: give d_in, the width of the activations that it reads")
    with torch.no_grad():
        tensors = _tensors(source, d_in, name)
        _check(source, tensors, name)
    card = SaeCard(
        name=name,
        architecture="wrapped",
        site=replace(Site.parse(site), centred=_was_centred(source)),
        d_in=d_in,
        d_sae=len(tensors["W_dec"]),
        model_name=model_name,
        hyperparameters={"source_class": f"{type(source).__module__}.{type(source).__qualname__}"},
        label=kind,
        prepend_bos=_read(source, ("cfg.metadata.prepend_bos", "cfg.prepend_bos")) is not False,
    )
    sae = WrappedSae(card, tensors, source).eval()
    sae.card = replace(sae.card, digest=sae_digest(sae))
    return sae


def _was_centred(source: Any) -> bool:
    places = ("cfg.metadata.model_from_pretrained_kwargs", "cfg.model_from_pretrained_kwargs")
    options = _read(source, places)
    return isinstance(options, Mapping) and options.get("center_writing_weights") is True


def _read(source: Any, places: tuple[str, ...]) -> Any:
    """The first of the dotted `places` that `source` has and that is not None."""
    for place in places:
        value = source
        for part in place.split("."):
            value = getattr(value, part, None)
        if value is not None:
            return value
    return None


def _evaluating(source: Any) -> AbstractContextManager[None]:
    """Within the block, a module is in evaluation mode."""
    return evaluation_mode(source) if isinstance(source, nn.Module) else nullcontext()


def _like(source: Any, x: Tensor) -> Tensor:
    """`x` on the device and in the dtype of the source's weights."""
    tensors = list(source.parameters()) + list(source.buffers()) if isinstance(source, nn.Module) else []
    weights = next((t for t in [*tensors, _read(source, ("W_dec", "W_enc"))] if isinstance(t, Tensor)), None)
    return x.float() if weights is None or not weights.is_floating_point() else x.to(weights.device, weights.dtype)


def _encoded(source: Any, x: Tensor) -> Tensor:
    with _evaluating(source):
        return source.encode(_like(source, x))


def _decoded(source: Any, codes: Tensor) -> Tensor:
    with _evaluating(source):
        return source.decode(_like(source, codes))


def _tensors(source: Any, d_in: int, name: str) -> dict[str, Tensor]:
    """The tensors of the SAE: its atoms, read or measured; its encoder's weights if it has them, else the atoms."""
    codes = _encoded(source, torch.zeros(1, d_in))
    if not isinstance(codes, Tensor) or codes.ndim != 2 or len(codes) != 1 or codes.numel() == 0:
        shown = tuple(codes.shape) if isinstance(codes, Tensor) else type(codes).__name__
        raise UserError(f"SAE {name!r}: encode of one token gave {shown}, expected codes of shape (1, d_sae)")
    d_sae = codes.shape[1]
    b_dec = _decoded(source, torch.zeros(1, d_sae))[0].float()
    W_dec = _read_as(source, "W_dec", (d_sae, d_in))
    if W_dec is None:
        parts = torch.arange(d_sae).split(_ATOMS_AT_ONCE)
        # Codes with a single 1 each.
        units = ((part[:, None] == torch.arange(d_sae)).float() for part in parts)
        W_dec = torch.cat([_decoded(source, unit).float() for unit in units]) - b_dec
    W_enc, b_enc = _read_as(source, "W_enc", (d_in, d_sae)), _read_as(source, "b_enc", (d_sae,))
    return {
        "W_enc": W_dec.T.contiguous() if W_enc is None else W_enc,
        "b_enc": torch.zeros_like(W_dec[:, 0]) if b_enc is None else b_enc,
        "W_dec": W_dec,
        "b_dec": b_dec,
    }


def _read_as(source: Any, name: str, shape: tuple[int, ...]) -> Tensor | None:
    """The source's tensor of that name, if it has that shape."""
    tensor = getattr(source, name, None)
    return tensor.detach().float().clone() if isinstance(tensor, Tensor) and tuple(tensor.shape) == shape else None


def _check(source: Any, tensors: Mapping[str, Tensor], name: str) -> None:
    """Refuse a source whose decoder is not affine in the codes, or whose codes depend on neighbouring tokens."""
    d_in = len(tensors["b_dec"])
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, d_in, generator=generator) * torch.linspace(0.5, 8, 6)[:, None]
    codes = _encoded(source, x)
    if not _near(codes[2:3], _encoded(source, x[2:3])):
        raise UserError(
            f"SAE {name!r}: the codes of a token depend on the other tokens; such an SAE has to be a subclass of "
            "sae_research.saes.base.Sae with scope = 'sequence', whose encode gets whole sequences and a mask"
        )
    affine = codes.float() @ tensors["W_dec"].to(codes.device) + tensors["b_dec"].to(codes.device)
    if not _near(_decoded(source, codes), affine):
        raise UserError(
            f"SAE {name!r}: decode is not codes @ W_dec + b_dec (a scale of the input that it remembers, a "
            "non-linearity, or a W_dec that it does not use); evals change single codes, so it has to be. An SAE of "
            "SAELens that normalises its input is read from its folder: save it and give the path"
        )


def _near(a: Tensor, b: Tensor) -> bool:
    """Whether two results agree up to the rounding of their dtype."""
    tolerance = 1e-3 if a.dtype in (torch.float32, torch.float64) else 5e-2
    a, b = a.float(), b.float()
    return bool((a - b).abs().max() <= tolerance * a.abs().max().clamp(min=1e-6))
