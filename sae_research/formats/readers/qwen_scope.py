"""Qwen Scope: `layer{L}.sae.pt` with `W_enc`, `W_dec`, `b_enc`, `b_dec`, and `config.json` at the repository's root.

The k largest of x W_enc + b_enc, nothing subtracted from x. Both matrices are the transposes of ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from sae_research.errors import UserError
from sae_research.foreign import read_json_object
from sae_research.formats.layout import Layout, assembled, tensors_of
from sae_research.formats.peeking import PICKLED, shapes_in
from sae_research.formats.reading import naming_file, printable, read_json, read_pickled, required
from sae_research.formats.stated import UNKNOWN_MODEL, stated_k, stated_site
from sae_research.lm.site import Site
from sae_research.saes.base import Sae

CONFIG, MODEL_TYPE = "config.json", "topk_sae"
_LAYOUT = Layout({name: name for name in ("W_enc", "b_enc", "W_dec", "b_dec")})
_FILE = re.compile(r"layer([0-9]{1,6})\.sae\.pt")


def recognises(path: Path) -> bool:
    """A pickled file with `W_enc` and its `config.json`; without one `W_enc` (d_sae, d_in), of which others have the
    transpose."""
    shapes = shapes_in(path) if path.suffix in PICKLED else {}
    if "W_enc" not in shapes or path.with_name(f"{path.stem}_cfg.json").is_file():
        return False
    if path.with_name(CONFIG).is_file():
        return _says_so(path.with_name(CONFIG))
    W_enc, b_enc, b_dec = (shapes.get(name) for name in ("W_enc", "b_enc", "b_dec"))
    return b_enc is not None and b_dec is not None and W_enc == (*b_enc, *b_dec) and "W_dec" in shapes


def companions(filename: str) -> tuple[str, ...]:
    """`config.json` beside the file."""
    path = PurePosixPath(filename)
    return (path.with_name(CONFIG).as_posix(),) if path.suffix in PICKLED else ()


def read(path: Path, *, name: str, source: Mapping[str, Any]) -> Sae:
    """The SAE in the file; site, model and k are stated where there is no `config.json`."""
    config_path = path.with_name(CONFIG)
    config = read_json(config_path, sae=name) if config_path.is_file() else None
    content = read_pickled(path, sae=name)
    with naming_file(path):
        return assembled(
            tensors_of(content, _LAYOUT, sae=name),
            name=name,
            architecture="topk",
            site=stated_site(source, sae=name) if config is None else _site(config, path, name),
            model_name=(config and printable(config, "base_model", sae=name, path=config_path)) or UNKNOWN_MODEL,
            hyperparameters={
                "k": stated_k(source, sae=name) if config is None else required(config, "k", int, sae=name, path=path),
                "subtract_b_dec": False,
            },
            source=source,
        )


def _says_so(config: Path) -> bool:
    try:
        return read_json_object(config, remedy="").get("model_type") == MODEL_TYPE
    except UserError:
        return False


def _site(config: Mapping[str, Any], path: Path, name: str) -> Site:
    """From `hook_point`, for example `resid_post`, and the layer in the file's name, which stands nowhere else."""
    kind = required(config, "hook_point", str, sae=name, path=path)
    match = _FILE.fullmatch(path.name)
    if match is None:
        raise UserError(
            f"SAE {name!r}: its file is called {path.name}, expected layer<N>.sae.pt, which alone says its layer"
        )
    return Site.parse(f"blocks.{match[1]}.hook_{kind}")
