"""SAEs from SAELens' registry, chosen by regular expressions. The only reader that needs sae_lens."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Any

from sae_research.errors import UserError
from sae_research.formats.readers.saelens import from_lens
from sae_research.saes.base import Sae


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
    wanted_release, wanted_id = _compiled("release", release), _compiled("sae_id", sae_id)
    releases = [name for name in directory if wanted_release.fullmatch(name)]
    if not releases:
        near = difflib.get_close_matches(release, directory, n=3, cutoff=0.4)
        raise UserError(
            f"comparison_saes: no release in SAELens' registry matches {release!r} in full; "
            f"similar: {', '.join(near) or 'none'}"
        )
    matches = [(name, i) for name in releases for i in directory[name].saes_map if wanted_id.fullmatch(i)]
    if not matches:
        some = list(directory[releases[0]].saes_map)[:5]
        raise UserError(
            f"comparison_saes: no SAE of {', '.join(releases[:3])} matches sae_id {sae_id!r} in full; "
            f"its ids look like: {', '.join(some)}"
        )
    return matches


def _compiled(key: str, expression: str) -> re.Pattern[str]:
    try:
        return re.compile(expression)
    except re.error as error:
        raise UserError(f"comparison_saes: {key} {expression!r} is not a valid regular expression: {error}") from None


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
