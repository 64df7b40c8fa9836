"""Gemma Scope: `layer_{L}/width_{w}/average_l0_{v}/params.npz` of a repository such as `gemma-scope-2b-pt-res`.

JumpReLU: a = x W_enc + b_enc where a > threshold, nothing subtracted from x. The repository's name says model and
site, the folder the layer. Lieberum et al. 2024, https://arxiv.org/abs/2408.05147
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from sae_research.errors import UserError
from sae_research.formats.layout import Layout, assembled, tensors_of
from sae_research.formats.reading import naming_file, read_npz
from sae_research.formats.refused import TRANSCODER
from sae_research.formats.stated import UNKNOWN_MODEL, stated_site
from sae_research.lm.site import Site
from sae_research.saes.base import Sae

WEIGHTS = "params.npz"
_LAYOUT = Layout(
    {name: name for name in ("W_enc", "b_enc", "W_dec", "b_dec", "threshold")}, transposed=frozenset()
)  # fmt: skip
_REPOSITORY = re.compile(r"gemma-scope-(2b|9b|27b)-(pt|it)-(res|mlp|att|transcoders)")
_HOOK_OF_SITE = {"res": "hook_resid_post", "mlp": "hook_mlp_out", "att": "attn.hook_z"}
_FOLDER = re.compile(r"(?:.*/)?layer_([0-9]{1,6})/(width_\w+)/(average_l0_\w+)")


def recognises(path: Path) -> bool:
    """`params.npz`, or a folder with it."""
    return _weights(path).is_file() and _weights(path).name == WEIGHTS


def companions(_filename: str) -> tuple[str, ...]:
    """None: the archive has everything that there is."""
    return ()


def short_name(filename: str) -> str | None:
    """Layer, width and L0; None for other formats' files."""
    match = _FOLDER.fullmatch(_folder_of(filename))
    return None if match is None else f"layer_{match[1]}_{match[2]}_{match[3]}"


def read(path: Path, *, name: str, source: Mapping[str, Any]) -> Sae:
    """The SAE in the archive; its site is stated if the repository has another name."""
    weights = _weights(path)
    repository = _repository(source, weights)
    if repository is not None and repository[3] == "transcoders":
        raise UserError(f"SAE {name!r}: {TRANSCODER} of a repository whose name ends in -res, -mlp or -att")
    site = _site(repository, weights, source, name)
    content = read_npz(weights, sae=name)
    with naming_file(weights):
        # Some archives have w_enc and w_dec.
        state = {("W" + key[1:] if key in ("w_enc", "w_dec") else key): array for key, array in content.items()}
        return assembled(
            tensors_of(state, _LAYOUT, sae=name),
            name=name,
            architecture="jumprelu",
            site=site,
            model_name=UNKNOWN_MODEL if repository is None else _model(repository),
            hyperparameters={"subtract_b_dec": False},
            source=source,
        )


def _weights(path: Path) -> Path:
    return path / WEIGHTS if path.is_dir() else path


def _folder_of(filename: str) -> str:
    path = PurePosixPath(filename)
    return (path.parent if path.name == WEIGHTS else path).as_posix()


def _repository(source: Mapping[str, Any], weights: Path) -> re.Match[str] | None:
    """The name of the repository, or of a folder above the file that is called like one."""
    names = [PurePosixPath(str(source.get("repo_id", ""))).name, *reversed(weights.resolve().parts)]
    return next((match for match in map(_REPOSITORY.fullmatch, names) if match is not None), None)


def _site(repository: re.Match[str] | None, weights: Path, source: Mapping[str, Any], name: str) -> Site:
    folder = weights.parent.as_posix()
    match = _FOLDER.fullmatch(folder) or _FOLDER.fullmatch(_folder_of(str(source.get("filename", ""))))
    if source.get("hook_name") is not None or repository is None:
        return stated_site(source, sae=name)
    if match is None:
        raise UserError(
            f"SAE {name!r}: {folder} does not end in layer_<L>/width_<w>/average_l0_<v>, which says where it reads "
            "(those of the embedding are not measured here); keep the repository's folders, or give hook_name"
        )
    return Site.parse(f"blocks.{match[1]}.{_HOOK_OF_SITE[repository[3]]}")


def _model(repository: re.Match[str]) -> str:
    return f"google/gemma-2-{repository[1]}{'-it' if repository[2] == 'it' else ''}"
