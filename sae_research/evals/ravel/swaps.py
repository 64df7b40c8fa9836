"""Ways to put part of the source's representation into the base's: masked latents, masked axes, rotations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_research.probes.draws import keyed_generator
from sae_research.saes.codes import SparseCodes

PromptRows = Int[Tensor, " pair"]
"""Rows of the prompts' representations."""


class MaskMode(NamedTuple):
    """How a learnt mask is applied."""

    temperature: float | None = None
    """Each feature's share of the source is sigmoid(mask / temperature); None: 1 where the mask is above 0, else 0."""
    with_error: bool = False
    """Whether the base keeps its reconstruction error."""


HARD = MaskMode()


class Swap(ABC):
    """A replacement for the activation at the base's entity."""

    cause_only = False
    """Whether it is trained on cause pairs only."""

    @property
    def parameters(self) -> list[Tensor]:
        """The trained parameters; empty for swaps without any."""
        return []

    @abstractmethod
    def mixed(self, base: PromptRows, source: PromptRows, modes: Sequence[MaskMode]) -> list[Float[Tensor, "pair d"]]:
        """In each mode, the activations that replace the bases'."""


class Features(ABC):
    """The features of every prompt, and the direction of each feature."""

    directions: Float[Tensor, "feature d"]

    @abstractmethod
    def difference(self, base: PromptRows, source: PromptRows) -> Float[Tensor, "pair feature"]:
        """The source's features less the base's."""

    @abstractmethod
    def reconstruction(self, base: PromptRows, *, with_error: bool) -> Float[Tensor, "pair d"]:
        """The base's activation as its features reconstruct it, or with the reconstruction error added back."""


@final
class Latents(Features):
    """Codes of an SAE by (prompt, place), each with its latent; places without a code hold 0 of latent 0."""

    def __init__(
        self,
        codes: SparseCodes,
        x_hat: Float[Tensor, "prompt d"],
        x: Float[Tensor, "prompt d"],
        directions: Float[Tensor, "latent d"],
    ) -> None:
        self.latents, self.values = padded_rows(codes)
        self.x_hat, self.x, self.directions = x_hat, x, directions

    def difference(self, base: PromptRows, source: PromptRows) -> Tensor:
        dense = self.values.new_zeros(len(base), len(self.directions))
        dense.scatter_add_(1, self.latents[source], self.values[source])
        return dense.scatter_add_(1, self.latents[base], -self.values[base])

    def reconstruction(self, base: PromptRows, *, with_error: bool) -> Tensor:
        return self.x[base] if with_error else self.x_hat[base]


def padded_rows(codes: SparseCodes) -> tuple[Int[Tensor, "row place"], Float[Tensor, "row place"]]:
    """The latents and values of each row's codes, padded with zeros to the row with the most."""
    width = max(1, int(codes.counts.max())) if len(codes.counts) else 1
    filled = torch.arange(width, device=codes.counts.device) < codes.counts[:, None]
    latents = torch.zeros(filled.shape, dtype=torch.long, device=filled.device)
    latents[filled] = codes.latents.long()
    values = codes.values.new_zeros(filled.shape)
    values[filled] = codes.values
    return latents, values


@final
class Axes(Features):
    """Coordinates on orthonormal axes; these reconstruct without error."""

    def __init__(self, x: Float[Tensor, "prompt d"], directions: Float[Tensor, "d d"]) -> None:
        self.x, self.directions = x, directions

    def difference(self, base: PromptRows, source: PromptRows) -> Tensor:
        return (self.x[source] - self.x[base]) @ self.directions.T

    def reconstruction(self, base: PromptRows, *, with_error: bool) -> Tensor:
        return self.x[base]


@final
class MaskSwap(Swap):
    """base + Σ_i share_i (source_i - base_i) direction_i: SAEBench's MDBM, since decoders are affine in the codes."""

    def __init__(self, features: Features) -> None:
        self._features = features
        self.mask = torch.zeros(len(features.directions), device=features.directions.device).requires_grad_()

    @property
    def parameters(self) -> list[Tensor]:
        return [self.mask]

    @property
    def n_swapped(self) -> int:
        """Number of features that the hard mask takes from the source."""
        return int((self.mask > 0).sum())

    def mixed(self, base: PromptRows, source: PromptRows, modes: Sequence[MaskMode]) -> list[Tensor]:
        features = self._features
        difference = features.difference(base, source)
        added = {
            temperature: (source_share(self.mask, temperature) * difference) @ features.directions
            for temperature in dict.fromkeys(mode.temperature for mode in modes)
        }
        return [features.reconstruction(base, with_error=m.with_error) + added[m.temperature] for m in modes]


def source_share(mask: Float[Tensor, " feature"], temperature: float | None) -> Float[Tensor, " feature"]:
    """How much each feature takes from the source, between 0 and 1 (`MaskMode.temperature`)."""
    if temperature is None:
        return (mask > 0).to(mask.dtype)
    return torch.sigmoid(mask / temperature)


@final
class RotationSwap(Swap):
    """base + R diag(share) Rᵀ (source - base), R learnt and orthogonal by construction.

    R = Q (I - A)(I + A)⁻¹, the Cayley transform, with Q random and A antisymmetric; training starts at A = 0. Either a
    learnt mask selects the axes that are swapped (MDAS, as in SAEBench), or the first `dimension` are swapped (DAS,
    Geiger et al. 2023, https://arxiv.org/abs/2303.02536; the loss is on cause pairs only, as in RAVEL).
    """

    def __init__(self, x: Float[Tensor, "prompt d"], start: Float[Tensor, "d d"], dimension: int | None) -> None:
        self._x, self._start, self._dimension = x, start, dimension
        self.cause_only = dimension is not None
        # Not with the strides of `start`: Adam in one call misreads a gradient whose strides are not its parameter's.
        self.skew = torch.zeros_like(start, memory_format=torch.contiguous_format).requires_grad_()
        self.mask = torch.zeros(len(start), device=x.device).requires_grad_()

    @property
    def parameters(self) -> list[Tensor]:
        return [self.skew] if self._dimension is not None else [self.skew, self.mask]

    @property
    def axes(self) -> Float[Tensor, "d axis"]:
        """R."""
        skew = self.skew.triu(1) - self.skew.triu(1).T
        one = torch.eye(len(skew), device=skew.device)
        return self._start @ torch.linalg.solve(one + skew, one - skew)

    def mixed(self, base: PromptRows, source: PromptRows, modes: Sequence[MaskMode]) -> list[Tensor]:
        x, axes = self._x[base], self.axes[:, : self._dimension]
        difference = (self._x[source] - x) @ axes
        if self._dimension is not None:
            return [x + difference @ axes.T] * len(modes)
        return [x + (source_share(self.mask, mode.temperature) * difference) @ axes.T for mode in modes]


@final
class WholeSwap(Swap):
    """The source's whole activation, or the base's own: the two extremes of any swap."""

    def __init__(self, x: Float[Tensor, "prompt d"], *, of_source: bool) -> None:
        self._x, self._of_source = x, of_source

    def mixed(self, base: PromptRows, source: PromptRows, modes: Sequence[MaskMode]) -> list[Tensor]:
        return [self._x[source if self._of_source else base]] * len(modes)


def random_rotation(width: int, key: tuple[str | int, ...]) -> Float[Tensor, "width width"]:
    """A uniformly drawn orthogonal matrix (QR of a normal matrix, with signs from R's diagonal)."""
    normal = torch.from_numpy(keyed_generator(*key).standard_normal((width, width)))
    q, r = torch.linalg.qr(normal)
    return (q * r.diagonal().sign()).float()


def principal_axes(x: Float[Tensor, "prompt d"]) -> Float[Tensor, "d d"]:
    """The principal components of `x` as rows, the strongest first."""
    centred = x.double() - x.double().mean(dim=0)
    return torch.linalg.eigh(centred.T @ centred).eigenvectors.flip(1).T.float().contiguous()
