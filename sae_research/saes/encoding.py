"""The one way to an SAE's codes: sparse if they can be found without the dense product, always in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sae_research.device_memory import elements_at_once
from sae_research.saes.base import Sae
from sae_research.saes.codes import SparseCodes, joined, no_codes, sparse_codes
from sae_research.saes.kernels.screening import ScreenedEncoder, add_codes
from sae_research.saes.linear import LinearSae

# Dense codes that exist at a time on a CPU: 64 MiB in float32.
_PIECE_ELEMENTS = 2**24


@dataclass
class Supports:
    """How often the support of a sequence has d_in latents or more, so that any dictionary reconstructs it."""

    sequences: int = 0
    interpolated: int = 0

    def add(self, sae: Sae, codes: Float[Tensor, "*batch d_sae"], real: Bool[Tensor, "*batch"]) -> None:
        """Counts some sequences of an SAE of scope `sequence`, those without real tokens aside."""
        fires = (codes != 0).view(len(codes), -1, codes.shape[-1]).any(dim=1)
        self.sequences += int(real.view(len(real), -1).any(dim=1).sum())
        self.interpolated += int((fires.sum(dim=-1) >= sae.card.d_in).sum())


class Encoder:
    """One SAE's codes, their means, and its reconstructions.

    `x` is (sequence, token, d_in). Tokens that are not `real` get no codes and do not influence others. Codes of linear
    encoders come from the screened kernel as long as they are sparse, all others from `Sae.encode`, a bounded number of
    sequences at a time. On a GPU nothing is screened. FloatingPointError if a result is NaN or infinite.

    With `contributions`, codes and their means are what each adds to the activation (`Sae.contributions`): what an eval
    needs that removes latents from activations.
    """

    def __init__(self, sae: Sae, supports: Supports | None = None, *, contributions: bool = False) -> None:
        self.sae = sae
        self._is_scaled = contributions and sae.card.input_norm != "none"
        self._supports = supports if sae.scope == "sequence" else None
        """Counts the sequences that get codes or mean codes."""
        self._is_sparse = True
        """Whether its codes have been sparse so far; once they were not, nothing is screened any more."""

    def encode(
        self,
        x: Float[Tensor, "*batch d_in"],
        real: Bool[Tensor, "*batch"],
        *,
        wanted: Bool[Tensor, "*batch"] | None = None,
    ) -> Iterator[SparseCodes]:
        """The codes of the `wanted` tokens, by default of all real ones, in order, piece by piece.

        A 2-D `x` holds sequences of one token.
        """
        wanted = real if wanted is None else wanted
        screened = self._screened(x, wanted)
        if screened is not None:
            yield self._scaled_sparse(screened, x, wanted)
            return
        if self._is_long(real.shape):
            x = x[wanted]
            real = wanted = torch.ones(len(x), dtype=torch.bool, device=x.device)
            yield no_codes(x.device)
        for part in pieces(self.sae, *real.shape):
            dense = self.sae.encode(x[part], mask=real[part])
            if self._supports is not None:
                self._supports.add(self.sae, dense, real[part])
            codes = sparse_codes(self._scaled(dense[wanted[part]], x[part][wanted[part]]))
            finite(codes.values, "codes")
            yield codes

    def mean_codes(
        self, x: Float[Tensor, "sequences tokens d_in"], real: Bool[Tensor, "sequences tokens"]
    ) -> Float[Tensor, "sequences d_sae"]:
        """The mean code of each sequence over its real tokens, 0 if it has none."""
        means = x.new_zeros(len(x), self.sae.card.d_sae, dtype=torch.float32)
        screened = self._screened(x, real)
        if screened is not None:
            add_codes(self._scaled_sparse(screened, x, real), real.nonzero()[:, 0], means)
            means /= real.sum(dim=1, keepdim=True).clamp(min=1)
        elif self.sae.scope == "sequence":
            for part in pieces(self.sae, *real.shape):
                codes = self.sae.encode(x[part], mask=real[part])
                if self._supports is not None:
                    self._supports.add(self.sae, codes, real[part])
                means[part] = mean_over(self._scaled(codes, x[part]).float(), real[part])
        elif self._is_long(real.shape):
            for mean, sequence, is_real in zip(means, x, real, strict=True):
                tokens = sequence[is_real]
                for part in pieces(self.sae, len(tokens)):
                    mean += self._scaled(self.sae.encode(tokens[part]), tokens[part]).float().sum(dim=0)
                mean /= max(1, len(tokens))
        else:
            for part in pieces(self.sae, *real.shape):
                tokens = x[part][real[part]]
                means[part] = _shares(real[part]) @ self._scaled(self.sae.encode(tokens), tokens).float()
        return finite(means, "mean code")

    def reconstruct(
        self, x: Float[Tensor, "sequences tokens d_in"], real: Bool[Tensor, "sequences tokens"]
    ) -> Iterator[Reconstruction]:
        """x_hat and the codes behind it, a few sequences after the other."""
        for part in pieces(self.sae, *real.shape):
            x_part, real_part = x[part], real[part]
            codes = self._screened(x_part, real_part)
            if codes is not None:
                x_hat = x.new_zeros(x_part.shape, dtype=torch.float32)
                x_hat[real_part] = finite(self._decode(codes, x_part[real_part]), "reconstruction")
            elif self._is_long(real_part.shape):
                x_hat = x.new_zeros(x_part.shape, dtype=torch.float32)
                x_hat[real_part], codes = self._in_parts(x_part[real_part])
            else:
                codes = self.sae.encode(x_part, mask=real_part)
                x_hat = finite(self.sae.decode(codes, x_part), "reconstruction")
            yield Reconstruction(part, real_part, x_hat, codes)

    def _is_long(self, shape: torch.Size) -> bool:
        """Whether the dense codes of one sequence take more memory than those that may exist at a time.

        Its tokens are then encoded a few at a time, unless they influence each other.
        """
        return self.sae.scope == "token" and shape[1:].numel() * self.sae.card.d_sae > _piece_elements(self.sae)

    def _in_parts(self, tokens: Float[Tensor, "tokens d_in"]) -> tuple[Float[Tensor, "tokens d_in"], SparseCodes]:
        """x_hat and codes of the tokens of a long sequence."""
        x_hat, codes = [], []
        for part in pieces(self.sae, len(tokens)):
            dense = self.sae.encode(tokens[part])
            x_hat.append(finite(self.sae.decode(dense, tokens[part]), "reconstruction").float())
            codes.append(sparse_codes(dense))
        return torch.cat([tokens[:0].float(), *x_hat]), joined([no_codes(tokens.device), *codes])

    @cached_property
    def _screen(self) -> ScreenedEncoder | None:
        """None if the SAE's encoder, its device or dtype, or this machine does not allow for one."""
        firing = self.sae.firing() if isinstance(self.sae, LinearSae) else None
        if firing is None or not ScreenedEncoder.serves(self.sae.W_dec, firing.k):
            return None
        return ScreenedEncoder(self.sae.get_buffer("W_enc").T, firing)

    def _screened(self, x: Tensor, wanted: Tensor) -> SparseCodes | None:
        """The codes of the `wanted` tokens; None, then and from then on, if they are too many for the kernel."""
        if not self._is_sparse or self._screen is None or not isinstance(self.sae, LinearSae):
            return None
        codes = self._screen.encode(self.sae.encoder_input(x[wanted]))
        self._is_sparse = codes is not None
        return codes

    def _scaled(self, codes: Float[Tensor, "*batch d_sae"], x: Float[Tensor, "*batch d_in"]) -> Tensor:
        """The codes, or what they contribute."""
        return self.sae.contributions(codes, x) if self._is_scaled else codes

    def _scaled_sparse(self, codes: SparseCodes, x: Tensor, wanted: Tensor) -> SparseCodes:
        """The same of the codes of the `wanted` tokens."""
        if not self._is_scaled:
            return codes
        gains = self.sae.contributions(x.new_ones(len(codes.counts), 1), x[wanted])
        return codes._replace(values=codes.values * gains[codes.owners, 0])

    def _decode(self, codes: SparseCodes, x: Float[Tensor, "tokens d_in"]) -> Float[Tensor, "tokens d_in"]:
        """x_hat of each token, a weighted sum of few atoms."""
        starts = codes.counts.cumsum(0) - codes.counts
        sums = torch.nn.functional.embedding_bag(
            codes.latents.long(), self.sae.W_dec, starts, mode="sum", per_sample_weights=codes.values
        )
        return self.sae.in_units_of(x, sums + self.sae.b_dec)


class CodeSums(NamedTuple):
    """Sums over all codes of each sequence, in float64."""

    l1: Float[Tensor, " sequences"]
    """Of their absolute values."""
    signed: Float[Tensor, " sequences"]
    """Of the codes themselves."""


@dataclass(frozen=True)
class Reconstruction:
    """What an SAE makes of a few sequences."""

    part: slice
    """Which of the sequences."""
    real: Bool[Tensor, "sequences tokens"]
    x_hat: Float[Tensor, "sequences tokens d_in"]
    """Meaningless at tokens that are not real."""
    raw_codes: SparseCodes | Float[Tensor, "sequences tokens d_sae"]
    """Sparse and of the real tokens, or dense and of all tokens, 0 at those that are not real."""

    def codes(self) -> SparseCodes:
        """The codes of the real tokens."""
        if isinstance(self.raw_codes, SparseCodes):
            return self.raw_codes
        codes = sparse_codes(self.raw_codes.flatten(0, 1))
        return codes._replace(counts=codes.counts[self.real.flatten()])

    def sums(self) -> CodeSums:
        """Sums over the codes. Each token of dense codes is summed in float32."""
        if isinstance(self.raw_codes, SparseCodes):
            owners = self.real.nonzero()[:, 0].repeat_interleave(self.raw_codes.counts)
            values, n = self.raw_codes.values.double(), len(self.real)
            l1, signed = (torch.bincount(owners, weights=v, minlength=n) for v in (values.abs(), values))
            return CodeSums(l1, signed)
        l1 = torch.linalg.vector_norm(self.raw_codes, ord=1, dim=-1, dtype=torch.float32)
        signed = self.raw_codes.sum(dim=-1, dtype=torch.float32)
        return CodeSums(l1.double().sum(dim=1), signed.double().sum(dim=1))


def encode_at(
    sae: Sae,
    x: Float[Tensor, "sequences tokens d_in"],
    real: Bool[Tensor, "sequences tokens"],
    places: Int[Tensor, " sequences"],
) -> Iterator[tuple[Float[Tensor, "some d_in"], Float[Tensor, "some d_sae"]]]:
    """One token of each sequence and its dense codes, a few sequences after the other."""
    in_context = sae.scope == "sequence"
    for part in pieces(sae, len(x), real.shape[1] if in_context else 1):
        at = torch.arange(len(places[part]), device=x.device), places[part]
        codes = sae.encode(x[part], mask=real[part])[at] if in_context else sae.encode(x[part][at])
        yield x[part][at], finite(codes.float(), "code")


def pieces(sae: Sae, sequences: int, tokens: int = 1) -> Iterator[slice]:
    """Slices over the sequences whose dense codes stay within a fixed memory; at least one sequence each."""
    step = max(1, _piece_elements(sae) // (tokens * sae.card.d_sae))
    for start in range(0, sequences, step):
        yield slice(start, min(start + step, sequences))


def _piece_elements(sae: Sae) -> int:
    return elements_at_once(sae.W_dec.device, on_cpu=_PIECE_ELEMENTS)


def finite(values: Tensor, what: str) -> Tensor:
    """`values`; a FloatingPointError that names `what` if they hold NaN or infinity."""
    if not bool(values.isfinite().all()):
        raise FloatingPointError(f"the {what} holds NaN or infinity")
    return values


def mean_over(
    values: Float[Tensor, "sequences tokens width"], real: Bool[Tensor, "sequences tokens"]
) -> Float[Tensor, "sequences width"]:
    """The mean of each sequence over its real tokens, 0 if it has none."""
    total = torch.where(real[..., None], values, 0.0).sum(dim=1)
    return total / real.sum(dim=1).clamp(min=1)[:, None]


def _shares(real: Bool[Tensor, "sequences tokens"]) -> Float[Tensor, "sequences real"]:
    """1/n if the real token is one of the n of the sequence, else 0: a product with it gives means.

    For sequences with 1 and 2 real tokens: [[1, 0, 0], [0, 1/2, 1/2]].
    """
    owners = real.nonzero()[:, 0]
    sequences = torch.arange(len(real), device=real.device)
    return (owners[None, :] == sequences[:, None]) / real.sum(dim=1).clamp(min=1)[:, None]
