"""EleutherAI's sparsify: `{hookpoint}/cfg.json` and `{hookpoint}/sae.safetensors`, and above them `config.json`.

The k largest of relu((x - b_dec) W_enc + b_enc), or the largest of each of k groups. The hookpoint, such as `layers.5`
or `h.3.attn`, is the name of the folder and stands nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from sae_research.errors import UserError
from sae_research.foreign import shown
from sae_research.formats.layout import Layout, assembled, tensors_of
from sae_research.formats.reading import (
    naming_file,
    optional,
    printable,
    read_json,
    read_safetensors,
    required,
)
from sae_research.formats.refused import SKIPS, TRANSCODER
from sae_research.formats.stated import UNKNOWN_MODEL, stated_site
from sae_research.lm.site import Site
from sae_research.saes.base import Sae

CONFIG, WEIGHTS, RUN = "cfg.json", "sae.safetensors", "config.json"
_LAYOUT = Layout(
    {"encoder.weight": "W_enc", "encoder.bias": "b_enc", "W_dec": "W_dec", "b_dec": "b_dec"},
    transposed=frozenset({"W_enc"}),
)
_ARCHITECTURES = {"topk": "topk", "groupmax": "groupmax"}
"""By the option `activation`; before there was one, all were TopK."""
_KEYS = frozenset({
    "activation", "d_in", "expansion_factor", "k", "multi_topk", "normalize_decoder", "num_latents", "signed",
    "skip_connection", "transcode",
})  # fmt: skip
_HOOKPOINT = re.compile(r"(?:\w+\.)*(?:layers|h|blocks)\.[0-9]{1,6}(?:\.\w+)*")
"""`layers.5`, `gpt_neox.layers.5.mlp`, `transformer.h.3.attn`."""


def recognises(path: Path) -> bool:
    """A folder with `cfg.json` and `sae.safetensors`, or that file."""
    folder = _folder(path)
    return (folder / CONFIG).is_file() and (folder / WEIGHTS).is_file()


def companions(filename: str) -> tuple[str, ...]:
    """`config.json` of the run, above the folder of a hookpoint, and `cfg.json` beside the weights."""
    path = PurePosixPath(filename)
    if path.name == WEIGHTS:
        return ((path.parent / CONFIG).as_posix(), (path.parent.parent / RUN).as_posix())
    return ((path.parent / RUN).as_posix(),) if _HOOKPOINT.fullmatch(path.name) else ()


def short_name(filename: str) -> str | None:
    """The run, if it has a name, and the hookpoint; None for other formats' files."""
    path = PurePosixPath(filename)
    folder = path.parent if path.name == WEIGHTS else path
    return "_".join([*folder.parent.parts[-1:], folder.name]) if _HOOKPOINT.fullmatch(folder.name) else None


def read(path: Path, *, name: str, source: Mapping[str, Any]) -> Sae:
    """The SAE in the folder."""
    folder = _folder(path)
    config_path, run_path = folder / CONFIG, folder.parent / RUN
    config = read_json(config_path, sae=name)
    with naming_file(config_path):
        architecture, d_in, d_sae = _checked(config, name)
        k = required(config, "k", int, sae=name, path=Path(CONFIG))
    run = read_json(run_path, sae=name) if run_path.is_file() else {}
    model = printable(run, "model", sae=name, path=run_path)
    state = read_safetensors(folder / WEIGHTS, sae=name)
    with naming_file(folder / WEIGHTS):
        tensors = tensors_of(state, _LAYOUT, sae=name)
        if tuple(tensors["W_dec"].shape) != (d_sae, d_in):
            raise UserError(
                f"SAE {name!r}: W_dec is {' x '.join(map(str, tensors['W_dec'].shape))}, but {CONFIG} says "
                f"{d_sae} latents of width {d_in}; are they of one run?"
            )
        return assembled(
            tensors,
            name=name,
            architecture=architecture,
            site=stated_site(source, sae=name) if source.get("hook_name") else _site(folder.name, name),
            model_name=model or UNKNOWN_MODEL,
            hyperparameters={"k": k, "subtract_b_dec": True},
            source=source,
        )


def _folder(path: Path) -> Path:
    return path.parent if path.name == WEIGHTS else path


def _checked(config: Mapping[str, Any], name: str) -> tuple[str, int, int]:
    """Architecture, d_in and d_sae, unless an option would change what is computed here."""
    unknown = sorted(set(config) - _KEYS)
    if unknown:
        raise UserError(
            f"SAE {name!r}: {CONFIG} has {shown(', '.join(unknown))}, which is not known and might change what it "
            f"computes; remove it if it does not. Known: {', '.join(sorted(_KEYS))}"
        )
    reasons = {
        "transcode": TRANSCODER,
        "skip_connection": SKIPS,
        "signed": "it has codes below 0, an option that sparsify has given up; choose an SAE without it",
    }
    for option, reason in reasons.items():
        if optional(config, option, bool, sae=name, path=Path(CONFIG)):
            raise UserError(f"SAE {name!r}: {CONFIG}: {option} is true: {reason}")
    activation = optional(config, "activation", str, sae=name, path=Path(CONFIG)) or "topk"
    if activation not in _ARCHITECTURES:
        raise UserError(f"SAE {name!r}: activation is {shown(activation)}, expected one of {', '.join(_ARCHITECTURES)}")
    d_in = required(config, "d_in", int, sae=name, path=Path(CONFIG))
    d_sae = optional(config, "num_latents", int, sae=name, path=Path(CONFIG))
    if not d_sae:
        d_sae = d_in * required(config, "expansion_factor", int, sae=name, path=Path(CONFIG))
    return _ARCHITECTURES[activation], d_in, d_sae


def _site(hookpoint: str, name: str) -> Site:
    """The output of the module of that path."""
    try:
        return Site.parse(hookpoint)
    except UserError as error:
        raise UserError(
            f"SAE {name!r}: its folder is called {shown(hookpoint)}, which is no hookpoint that is measured here (such "
            f"as layers.5, layers.5.mlp or h.3.attn); give hook_name and model_name beside its filename ({error})"
        ) from error
