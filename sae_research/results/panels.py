"""Panels: the sets of SAEs that a verdict on a metric speaks of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

from sae_research.errors import UserError
from sae_research.results.numbers import shown
from sae_research.results.rows import Row, interpolation

TRAINED = "trained"
CONTROLS = "controls"
BANDS = "L0 "
"""How the names of the bands begin."""
BAND_FACTOR = 1.5
"""SAEs are at matched L0 where the largest is at most so many times the smallest: the step between the L0 that SAEBench
sweeps (20 to 200) that hides which of two SAEs is sparser."""

WIDE_SUPPORT = 0.25
"""Of d_in: with a larger support per sequence, dictionaries that learned nothing explain most of the variance too."""


class Panel(NamedTuple):
    """SAEs that are compared with each other, and the controls that they are held against."""

    name: str
    saes: tuple[str, ...]
    controls: tuple[str, ...] = ()
    for_one: Mapping[str, str] = MappingProxyType({})
    """By control the one SAE that it is held against: the variant with the same encoder. The others are for all."""


def sae_panels(rows: Sequence[Row], *, at_least: int) -> list[Panel]:
    """All trained SAEs, the controls, and the bands of trained SAEs at matched L0 that hold `at_least` SAEs.

    SAEs that interpolate most of the text, or choose from a wide support per sequence, are in none: what they
    reconstruct says little of what they learned.
    """
    saes = {row.sae: row for row in rows if row.source == "computed"}
    wide = wide_supports(rows)
    trained = tuple(name for name in trained_saes(rows) if name not in wide)
    controls = tuple(name for name, row in saes.items() if row.control)
    for_one = {name: saes[name].control_for or "" for name in controls if saes[name].control_for}
    l0 = {name: row.l0 for name, row in saes.items() if row.l0}
    panels = [Panel(TRAINED, trained, controls, for_one), Panel(CONTROLS, controls)]
    for place, band in bands_of_sites(saes, {name: l0[name] for name in trained if name in l0}):
        low, high = l0[band[0]], l0[band[-1]]
        site = saes[band[0]].hook_name
        at_l0 = [name for name in controls if low <= l0.get(name, 0.0) <= low * BAND_FACTOR]
        matched = tuple(name for name in at_l0 if saes[name].hook_name == site)
        if len(band) >= at_least:
            panels.append(Panel(f"{BANDS}{shown(low, 3)} to {shown(high, 3)}{place}", band, matched, for_one))
    return panels


def trained_saes(rows: Sequence[Row]) -> tuple[str, ...]:
    """The SAEs that are no controls and do not interpolate most of the text."""
    saes = {row.sae: row for row in rows if row.source == "computed"}
    return tuple(name for name, row in saes.items() if not row.control and interpolation(row.interpolates) != "most")


def wide_supports(rows: Sequence[Row]) -> dict[str, float]:
    """The support per sequence over d_in, where it is above the limit, of SAEs that choose latents by sequence."""
    return {
        row.sae: row.value
        for row in rows
        if (row.metric, row.source, row.scope) == ("support_share_of_d_in", "computed", "sequence")
        if row.value is not None and row.value > WIDE_SUPPORT
    }


def with_controls(rows: Sequence[Row], names: Sequence[str]) -> list[Row]:
    """The rows with the SAEs of these names as controls, beside those that are."""
    saes = list(dict.fromkeys(row.sae for row in rows))
    unknown = [name for name in names if name not in saes]
    if unknown:
        raise UserError(f"controls: no SAE is called {', '.join(unknown)}; valid: {', '.join(saes)}")
    return [replace(row, control=row.control or row.sae in names) for row in rows]


def bands_of_sites(saes: Mapping[str, Row], l0: Mapping[str, float]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The bands of each site by itself, with ` at <site>` where there are several; `saes` are rows by SAE."""
    sites = list(dict.fromkeys(saes[name].hook_name for name in l0))
    for site in sites:
        of_site = {name: value for name, value in l0.items() if saes[name].hook_name == site}
        for band in l0_bands(of_site):
            yield f" at {site}" if len(sites) > 1 else "", band


def l0_bands(l0: Mapping[str, float]) -> Iterator[tuple[str, ...]]:
    """The SAEs by ascending L0, in bands that each start at the smallest L0 left and are `BAND_FACTOR` wide."""
    left = sorted(l0, key=lambda name: (l0[name], name))
    while left:
        band = tuple(name for name in left if l0[name] <= l0[left[0]] * BAND_FACTOR)
        yield band
        left = left[len(band) :]
