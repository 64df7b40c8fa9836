"""How long each SAE takes, and which misfortune befalls whom."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DrillSettings:
    """How long each SAE takes, and which misfortune befalls whom."""

    seconds: float = 0.0
    """Per SAE."""
    flush_seconds: float = 0.0
    """What the disk takes for every file."""
    poison: str = ""
    """The SAE that ends the process that measures it."""
    most: int = 100
    """SAEs for which memory suffices."""
    needs: str = ""
    """The SAE for which it never does."""
    judge: str = ""
    """Who is asked one thing about each SAE; empty: nobody."""
