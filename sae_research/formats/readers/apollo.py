"""Apollo's end-to-end SAEs: a run's `samples_{N}.pt` and `final_config.yaml`; the hub's `{name}.pt` and `{name}.yaml`.

relu(x W_enc + b_enc), nothing subtracted from x. The atoms have norm 1, to which those in a run's files have to be
scaled. Such a file may hold SAEs of several sites (`blocks-6-hook_resid_pre.encoder.0.weight`). Braun et al. 2024,
https://arxiv.org/abs/2405.12241
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from torch import Tensor

from sae_research.errors import UserError
from sae_research.foreign import shown
from sae_research.formats.layout import LINEAR, Layout, assembled, tensors_of
from sae_research.formats.peeking import PICKLED, shapes_in
from sae_research.formats.reading import naming_file, printable, read_pickled, required
from sae_research.formats.stated import UNKNOWN_MODEL
from sae_research.lm.site import Site
from sae_research.saes.base import Sae
from sae_research.saes.build import unit_atoms
from sae_research.yaml_text import read_yaml

_RUN_CONFIG = "final_config.yaml"
_ENCODER = ".encoder.0.weight"
_OF_A_RUN = Layout(
    {"encoder.0.weight": "W_enc", "encoder.0.bias": "b_enc", "decoder.weight": "W_dec", "decoder.bias": "b_dec"}
)


def recognises(path: Path) -> bool:
    """A pickled file with tensors of hook points, or one with two nn.Linear and a `.yaml` of the same name."""
    if path.suffix not in PICKLED:
        return False
    shapes = shapes_in(path)
    return bool(_positions(shapes)) or (path.with_suffix(".yaml").is_file() and set(LINEAR.keys) <= set(shapes))


def companions(filename: str) -> tuple[str, ...]:
    """The run's configuration, under either name."""
    path = PurePosixPath(filename)
    names = (path.with_suffix(".yaml"), path.with_name(_RUN_CONFIG))
    return tuple(name.as_posix() for name in names) if path.suffix in PICKLED else ()


def short_name(filename: str) -> str | None:
    """The run's folder and the file, which is called the same in every run; None for other files."""
    path = PurePosixPath(filename)
    is_of_a_run = re.fullmatch(r"samples_[0-9]+\.pt", path.name) is not None
    return "_".join(filter(None, [path.parent.name, path.stem])) if is_of_a_run else None


def members(path: Path, *, sae: str) -> list[dict[str, Any]]:
    """The hook point of each SAE in the file."""
    positions = _positions(shapes_in(path))
    if not positions:
        return [{"hook_name": _only_position(_config(path, sae), sae)}]
    return [{"hook_name": _hook_name(position)} for position in positions]


def read(path: Path, *, name: str, source: Mapping[str, Any]) -> Sae:
    """The SAE at `source["hook_name"]`."""
    config = _config(path, name)
    content = read_pickled(path, sae=name)
    site = Site.parse(source["hook_name"])
    with naming_file(path):
        tensors = _tensors(content, source["hook_name"], name)
        return assembled(
            {**tensors, "W_dec": unit_atoms(tensors["W_dec"])},
            name=name,
            architecture="relu",
            # Its trainer loads models as TransformerLens does by default; models of its own it leaves as they are.
            site=replace(site, centred=site.kind != "attn_z" and config.get("tlens_model_path") is None),
            model_name=printable(config, "tlens_model_name", sae=name, path=path) or UNKNOWN_MODEL,
            hyperparameters={"subtract_b_dec": False},
            source=source,
        )


def _positions(keys: Mapping[str, Any]) -> list[str]:
    """The hook points that stand before the names of tensors, written with dashes."""
    return [key.removesuffix(_ENCODER) for key in keys if key.endswith(_ENCODER)]


def _hook_name(position: str) -> str:
    return position.replace("-", ".")


def _tensors(content: Mapping[str, Any], hook_name: str, name: str) -> dict[str, Tensor]:
    positions = _positions(content)
    if not positions:
        return tensors_of(content, LINEAR, sae=name)
    foreign = [key for key in content if not any(key.startswith(f"{position}.") for position in positions)]
    if foreign:
        raise UserError(f"SAE {name!r}: unexpected {', '.join(map(shown, foreign))}; expected tensors of hook points")
    start = next(position for position in positions if _hook_name(position) == hook_name) + "."
    return tensors_of(
        {k.removeprefix(start): v for k, v in content.items() if k.startswith(start)}, _OF_A_RUN, sae=name
    )


def _config(path: Path, name: str) -> dict[str, Any]:
    """The run's configuration; empty where a file that names its hook points has none."""
    candidates = [path.with_suffix(".yaml"), path.with_name(_RUN_CONFIG)]
    file = next((candidate for candidate in candidates if candidate.is_file()), None)
    config = {} if file is None else read_yaml(file)
    if not isinstance(config, dict):
        raise UserError(f"SAE {name!r}: {file} holds {shown(config)}, expected a mapping; fetch it again")
    return config


def _only_position(config: Mapping[str, Any], name: str) -> str:
    """`saes.sae_positions`, which has to be one."""
    file = Path("the run's yaml")
    saes = required(config, "saes", dict, sae=name, path=file)
    positions = saes.get("sae_positions")
    only = positions[0] if isinstance(positions, list) and len(positions) == 1 else positions
    if not isinstance(only, str):
        raise UserError(f"SAE {name!r}: saes.sae_positions is {shown(positions)}, expected one hook point")
    return only
