"""How pictures look: the section `visualization` of `params.yaml`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

MARKERS = ("o", "s", "^", "v", "<", ">", "D", "d", "p", "h", "H", "8", "P", "X", "*")
"""Matplotlib's markers that have an inside, which is left empty where an SAE interpolates."""

COLORS = (
    *("tab:blue", "tab:orange", "tab:green", "tab:red", "tab:purple"),
    *("tab:brown", "tab:pink", "tab:gray", "tab:olive", "tab:cyan"),
    *("black", "gray", "silver", "red", "darkred", "orange", "darkorange", "gold", "olive", "green", "darkgreen"),
    *("teal", "cyan", "blue", "navy", "steelblue", "purple", "indigo", "magenta", "pink", "brown"),
)
"""Colours by name; any other is written `#rrggbb`."""

_HEX = re.compile(r"#[0-9a-fA-F]{6}")


@dataclass(frozen=True)
class VisualizationSettings:
    """Markers, colours and sizes; changing any of them redraws the pictures and computes nothing."""

    markers: Mapping[str, str] = field(default_factory=dict)
    """Marker by label, which is the architecture unless `comparison_saes` gives another."""
    colors: Mapping[str, str] = field(default_factory=dict)
    """Colour by label."""
    k_values: tuple[int, ...] = ()
    """Which k of top-k probing get a panel; empty: all that were measured."""
    n_values: tuple[int, ...] = ()
    """Which n of SCR and TPP (latents ablated) get a panel; empty: all that were measured."""
    error_bars: bool = True
    """Whether 95 % intervals are drawn."""
    connect: bool = True
    """Whether the SAEs of a label and width are joined by a line."""
    marker_size: float = 9.0
    """In points."""
    font_size: float = 11.0
    """In points."""
    dpi: int = 150
    """Pixels per inch of the PNGs."""
    extra_formats: tuple[Literal["pdf", "svg"], ...] = ()
    """Formats drawn beside PNG."""

    def __post_init__(self) -> None:
        for label, marker in self.markers.items():
            check_look(f"markers.{label}", marker=marker)
        for label, color in self.colors.items():
            check_look(f"colors.{label}", color=color)
        for name, values in (("k_values", self.k_values), ("n_values", self.n_values)):
            if any(value < 1 for value in values) or len(set(values)) != len(values):
                raise ValueError(f"{name} is {list(values)}, expected different whole numbers of at least 1")
        for name, value, low, high in (
            ("dpi", self.dpi, 50, 600),
            ("marker_size", self.marker_size, 1, 40),
            ("font_size", self.font_size, 4, 40),
        ):
            if not low <= value <= high:
                raise ValueError(f"{name} is {value}, expected {low} to {high}")


def check_look(where: str, marker: str | None = None, color: str | None = None) -> None:
    """ValueError unless a marker has an inside to leave empty and a colour can be drawn."""
    if marker is not None and marker not in MARKERS:
        raise ValueError(f"{where} is {marker!r}; valid: {' '.join(MARKERS)}")
    if color is not None and color not in COLORS and not _HEX.fullmatch(color):
        raise ValueError(f"{where} is {color!r}; valid: #rrggbb, {', '.join(COLORS)}")
