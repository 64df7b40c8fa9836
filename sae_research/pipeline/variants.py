"""Variants: SAEs that encode with another's dictionary, by every combination of an architecture's options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from itertools import product
from typing import Any

from torch import Tensor

from sae_research.errors import UserError
from sae_research.foreign import shown
from sae_research.saes.base import Sae, SaeCard
from sae_research.saes.build import build_sae, unit_atoms
from sae_research.saes.registry import sae_class


def derive_variants(baseline: Sae, grids: Mapping[str, Mapping[str, Any]]) -> Iterator[Sae]:
    """SAEs that encode with the baseline's atoms, scaled to norm 1: by architecture, every combination of options."""
    card = baseline.card
    for architecture, options in variant_encoders(grids):
        name = variant_name(card, architecture, options)
        source = {**card.source, "baseline": card.name, "baseline_digest": card.digest}
        named = replace(card, name=name, label="", source=source)
        yield encode_with(named, architecture, options, unit_atoms(baseline.W_dec), baseline.b_dec)


def variant_encoders(grids: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each architecture that needs a dictionary alone, with every combination of its options."""
    for architecture, options in grids.items():
        sae_type, place = sae_class(architecture), f"sae_variants.{architecture}"
        if set(sae_type.shapes) != {"W_dec", "b_dec"}:
            raise UserError(
                f"{place}: {architecture} has trained tensors of its own ({', '.join(sae_type.shapes)}), and a variant "
                "gets the baseline's dictionary alone; name such an SAE in comparison_saes"
            )
        for combination in combinations(options, sae_type.settings_type, place):
            yield architecture, combination


def encode_with(card: SaeCard, architecture: str, options: Mapping[str, Any], atoms: Tensor, b_dec: Tensor) -> Sae:
    """The SAE of that architecture on these unit atoms, otherwise as `card` says."""
    card = replace(card, architecture=architecture, hyperparameters=dict(options), d_sae=len(atoms))
    try:
        return build_sae(card, {"W_dec": atoms, "b_dec": b_dec})
    except UserError as error:
        raise UserError(f"sae_variants.{architecture}: {error}") from error


def variant_name(baseline: SaeCard, architecture: str, options: Mapping[str, Any]) -> str:
    """What the variant is called: `relu_trainer_0_ihtp_k5`."""
    return "_".join([baseline.name, architecture, *shown_options(options)])


def shown_options(options: Mapping[str, Any]) -> list[str]:
    """The options as parts of a name: `k5`, `nonneg`."""
    return [f"{key}{'' if value is True else value}" for key, value in options.items() if value is not False]


def combinations(options: Mapping[str, Any], settings: type, place: str) -> Iterator[dict[str, Any]]:
    """Each combination of values: `<setting>: value` is fixed, `<setting>_values` a list; the first varies fastest."""
    names = [f.name for f in fields(settings)]
    valid = {**{name: name for name in names}, **{f"{name}_values": name for name in names}}
    values: dict[str, list[Any]] = {}
    for key, value in options.items():
        if key not in valid:
            raise UserError(f"{place}: unknown key {shown(key)}; valid: {', '.join(['enabled', *valid])}")
        if valid[key] in values:
            raise UserError(f"{place}: {valid[key]} and {valid[key]}_values are both given; remove one")
        if key not in names and not (isinstance(value, list | tuple) and len(set(map(str, value))) == len(value)):
            raise UserError(f"{place}.{key}: got {shown(value)}, expected a list without repetition")
        values[valid[key]] = [value] if key in names else list(value)
    for combination in product(*reversed(values.values())):
        yield dict(zip(values, reversed(combination), strict=True))
