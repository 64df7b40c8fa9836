"""SAEs from SAELens' registry, chosen by regular expressions. The only reader that needs sae_lens."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

from sae_research.errors import UserError
from sae_research.foreign import shown
from sae_research.formats.expressions import matching
from sae_research.formats.readers.saelens import from_lens
from sae_research.saes.base import Sae

_REGISTRY = "SAELens' registry"


def read_pretrained(release: str, sae_id: str) -> Iterator[Sae]:
    """Every SAE whose release and id match the two expressions in full, in the registry's order."""
    for release_name, sae_name in _matches(_directory(), release, sae_id):
        yield _read_one(release_name, sae_name)


def _directory() -> dict[str, Any]:
    """SAELens' registry: release -> its entry."""
    try:
        from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory
    except ImportError as error:
        raise UserError(
            "comparison_saes with release and sae_id need SAELens' registry, which is not installed: "
            f"pip install 'sae-research[registry]' ({error})"
        ) from error
    return dict(get_pretrained_saes_directory())


def _matches(directory: dict[str, Any], release: str, sae_id: str) -> list[tuple[str, str]]:
    releases = matching("comparison_saes: release", release, directory, of=_REGISTRY)
    if not releases:
        near = difflib.get_close_matches(release, directory, n=3, cutoff=0.4)
        raise UserError(
            f"comparison_saes: no release in {_REGISTRY} matches {shown(release)} in full; "
            f"similar: {', '.join(near) or 'none'}"
        )
    ids = [(name, i) for name in releases for i in directory[name].saes_map]
    wanted = set(matching("comparison_saes: sae_id", sae_id, dict.fromkeys(i for _, i in ids), of=_REGISTRY))
    if not wanted:
        some = list(directory[releases[0]].saes_map)[:5]
        raise UserError(
            f"comparison_saes: no SAE of {', '.join(releases[:3])} matches sae_id {shown(sae_id)} in full; "
            f"its ids look like: {', '.join(some)}"
        )
    return [(name, i) for name, i in ids if i in wanted]


def _read_one(release: str, sae_id: str) -> Sae:
    from sae_lens import SAE

    name = f"{release}_{sae_id}"
    try:
        lens, _, _ = SAE.from_pretrained_with_cfg_and_sparsity(release=release, sae_id=sae_id, device="cpu")
    except Exception as error:  # its many loaders raise anything; passed on with the name of the SAE
        reason = str(error).splitlines()[0] if str(error) else ""
        raise UserError(
            f"comparison SAE {sae_id!r} of release {release!r}: SAELens could not load it: "
            f"{type(error).__name__}: {reason}; check the connection (HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE) or "
            "narrow the expressions"
        ) from error
    source = {"release": release, "sae_id": sae_id, "format": "sae_lens registry"}
    return from_lens(lens.cfg.to_dict(), lens.state_dict(), name=name, source=source)
