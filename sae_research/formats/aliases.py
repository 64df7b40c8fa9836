"""Short names of published SAEs, those of sae-sensitivity (seed 002): `py_4k_btopk_s0`, `gscope_16k_l0_44`.

Needs no torch and no connection: a name alone says which file of which repository it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import product
from typing import NamedTuple

from sae_research.errors import UserError
from sae_research.foreign import shown
from sae_research.formats.expressions import near_misses


class PublishedSae(NamedTuple):
    """The checkpoint behind a short name."""

    alias: str
    repo_id: str
    filename: str
    model: str
    """The hub id of the language model that it was trained on."""
    results: str | None
    """The end of the name of SAEBench's files of results on it; None where SAEBench published none under this name."""


class _Suite(NamedTuple):
    """SAEBench's SAEs of one language model."""

    model: str
    layer: int


_SUITES = {"py": _Suite("EleutherAI/pythia-160m-deduped", 8), "gem": _Suite("google/gemma-2-2b", 12)}
_WIDTHS = {"4k": "2pow12", "16k": "2pow14", "65k": "2pow16"}
_FOLDERS = {
    "btopk": ("BatchTopK", "batch_top_k"),
    "matbtopk": ("MatryoshkaBatchTopK", "matryoshka_batch_top_k"),
    "gated": ("GatedSAE", "gated"),
    "jumprelu": ("JumpRelu", "jump_relu"),
    "topk": ("TopK", "top_k"),
    "relu": ("Standard", "standard_new"),
    "pan": ("PAnneal", "p_anneal"),
}
"""By architecture what its folders are called in the repositories of adamkarvonen, and in those of canrager."""
_TRAINERS = range(6)
_OF_CANRAGER = {("gem", "16k"), ("gem", "65k")}

_GEMMA_SCOPE = re.compile(r"gscope_(?:layer([0-9]{1,3})_)?([0-9]{1,4}[km])_l0_([0-9]{1,6})")
_GEMMA_SCOPE_REPO, _GEMMA_SCOPE_LAYER = "google/gemma-scope-2b-pt-res", 12
_GEMMA_SCOPE_FILE = re.compile(r"layer_([0-9]+)/width_([0-9]+[km])/average_l0_([0-9]+)/params\.npz")
_NEAR = 8

EXAMPLE = "py_4k_btopk_s0"
"""A name for messages."""


def published_sae(alias: str) -> PublishedSae:
    """What `alias` means; ValueError for a name that means nothing, with those that it may have been meant for."""
    gemma_scope = _GEMMA_SCOPE.fullmatch(alias)
    if gemma_scope is not None:
        layer, width, l0 = int(gemma_scope[1] or _GEMMA_SCOPE_LAYER), gemma_scope[2], int(gemma_scope[3])
        filename = f"layer_{layer}/width_{width}/average_l0_{l0}/params.npz"
        return PublishedSae(alias, _GEMMA_SCOPE_REPO, filename, _SUITES["gem"].model, None)
    if alias not in _SAE_BENCH:
        near = near_misses(alias, list(_SAE_BENCH), most=_NEAR)
        similar = f"similar: {', '.join(near)}; " if near else ""
        raise ValueError(f"no published SAE is called {shown(alias)}; {similar}there are: {_all_names()}")
    return _SAE_BENCH[alias]


def looks_like_alias(name: str) -> bool:
    """Whether `name` starts as the short names do, right or misspelt, and so can be no path."""
    return re.match(rf"(?:{'|'.join(_SUITES)}|gscope)_[^/]*$", name) is not None


def require_published(sae: PublishedSae, present: Iterable[str]) -> None:
    """UserError unless the repository's files, `present`, hold that of `sae`; Gemma Scope's L0 are known from there."""
    names = set(present)
    if sae.filename in names:
        return
    there = [match for match in map(_GEMMA_SCOPE_FILE.fullmatch, sorted(names)) if match is not None]
    near = sorted(there, key=lambda match: _distance(sae, match))[:_NEAR]
    listed = ", ".join(f"gscope_layer{match[1]}_{match[2]}_l0_{match[3]}" for match in near)
    raise UserError(f"{sae.alias!r}: {sae.repo_id!r} has no {sae.filename}; the nearest there: {listed or 'none'}")


def _distance(sae: PublishedSae, other: re.Match[str]) -> tuple[int, bool, int]:
    """How far another SAE of Gemma Scope is: in layers, whether in width, in L0."""
    wanted = _GEMMA_SCOPE_FILE.fullmatch(sae.filename)
    if wanted is None:
        return (0, False, 0)
    return abs(int(wanted[1]) - int(other[1])), wanted[2] != other[2], abs(int(wanted[3]) - int(other[3]))


def _sae_bench() -> Iterable[PublishedSae]:
    for suite, width, architecture, trainer in product(_SUITES, _WIDTHS, _FOLDERS, _TRAINERS):
        owner, date = ("canrager", "0107") if (suite, width) in _OF_CANRAGER else ("adamkarvonen", "0108")
        model, power = _SUITES[suite].model.rsplit("/", 1)[-1], _WIDTHS[width]
        of_adamkarvonen, of_canrager = _FOLDERS[architecture]
        folder = f"{of_adamkarvonen}_{model}__{date}"
        if owner == "canrager":
            folder = f"{model}_{of_canrager}_width-{power}_date-{date}"
        run = f"resid_post_layer_{_SUITES[suite].layer}"
        results = f"saebench_{model}_width-{power}_date-0108"
        yield PublishedSae(
            f"{suite}_{width}_{architecture}_s{trainer}",
            f"{owner}/saebench_{model}_width-{power}_date-{date}",
            f"{folder}/{run}/trainer_{trainer}/ae.pt",
            _SUITES[suite].model,
            f"{results}/{results}_{of_adamkarvonen}_{model}__0108_{run}_trainer_{trainer}_eval_results.json",
        )


def _all_names() -> str:
    """All names, by their parts."""
    parts: Sequence[Iterable[str]] = (_SUITES, _WIDTHS, _FOLDERS)
    choices = "_".join("{" + "|".join(part) + "}" for part in parts)
    return f"{choices}_s{{0-{_TRAINERS[-1]}}}, gscope_[layer<L>_]{{16k|32k|65k|...}}_l0_<L0>"


_SAE_BENCH = {sae.alias: sae for sae in _sae_bench()}
