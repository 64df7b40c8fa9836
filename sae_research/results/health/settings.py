"""The thresholds of the health report: the section `health` of `params.yaml`."""

from __future__ import annotations

from dataclasses import dataclass, field

from sae_research.records import at_least


@dataclass(frozen=True)
class Limits:
    """Where healthy ends, and where bad begins."""

    healthy: float
    """The worst value that is healthy."""
    borderline: float
    """The worst value that is not bad."""


@dataclass(frozen=True)
class L0Limits:
    """The range of a healthy L0."""

    healthy: tuple[float, ...] = (20.0, 200.0)
    """From and to; outside is bad."""
    sweet_spot: tuple[float, ...] = (40.0, 120.0)
    """The part of it that advice aims at; changes no verdict."""

    def __post_init__(self) -> None:
        for name in ("healthy", "sweet_spot"):
            ends = getattr(self, name)
            if len(ends) != 2 or not 0 <= ends[0] <= ends[1]:
                raise ValueError(f"{name} is {list(ends)}, expected [from, to] with 0 <= from <= to")


@dataclass(frozen=True)
class RedundancyLimits:
    """How many latents may have a near copy."""

    cosine: float = 0.9
    """A latent is redundant if its decoder row has at least this cosine with that of another latent."""
    healthy: float = 0.25
    """The largest share of redundant latents that is healthy."""
    borderline: float = 0.35
    """The largest share that is not bad."""

    def __post_init__(self) -> None:
        if not -1 <= self.cosine <= 1:
            raise ValueError(f"cosine is {self.cosine}, expected -1 to 1")


@dataclass(frozen=True)
class HealthSettings:
    """Thresholds of the five questions; the defaults are those of seed 004 (Llama-3-8B), of no authority elsewhere."""

    loss_recovered: Limits = field(default_factory=lambda: Limits(healthy=0.7, borderline=0.6))
    """Against zero ablation; at least."""
    l0: L0Limits = field(default_factory=L0Limits)
    dead: Limits = field(default_factory=lambda: Limits(healthy=0.1, borderline=0.2))
    """The share of silent latents; at most."""
    redundant: RedundancyLimits = field(default_factory=RedundancyLimits)
    absorption: Limits = field(default_factory=lambda: Limits(healthy=0.25, borderline=0.35))
    """The mean absorption fraction; at most."""
    tokens_per_latent: float = 100.0
    """Training tokens per latent below which advice asks for more; `train` warns below the same. Changes no verdict."""

    def __post_init__(self) -> None:
        at_least(self, tokens_per_latent=0)
        if self.loss_recovered.healthy < self.loss_recovered.borderline:
            raise ValueError("loss_recovered: healthy is below borderline, expected at least borderline")
        for name in ("dead", "redundant", "absorption"):
            limits = getattr(self, name)
            if limits.healthy > limits.borderline:
                raise ValueError(f"{name}: healthy is above borderline, expected at most borderline")
