"""SAEs from SAELens' registry, chosen by regular expressions. The only reader that needs sae_lens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from sae_research.errors import UserError
from sae_research.foreign import shown
from sae_research.formats.expressions import matching, near_misses
from sae_research.formats.readers.saelens import from_lens
from sae_research.saes.base import Sae

_REGISTRY = "SAELens' registry"


class RegistryEntry(NamedTuple):
    """What the registry says of an SAE."""

    release: str
    sae_id: str
    repo_id: str
    path: str
    """Where it lies in the repository."""
    model: str
    l0: float | None


def read_pretrained(release: str, sae_id: str) -> Iterator[Sae]:
    """Every SAE whose release and id match the two expressions in full, in the registry's order."""
    for release_name, sae_name in _matches(_directory(), release, sae_id, place="comparison_saes"):
        yield _read_one(release_name, sae_name)


def registry_entries(release: str, sae_id: str, *, place: str) -> list[RegistryEntry]:
    """What the registry says of those SAEs; `place` is where the expressions stand, for messages."""
    directory = _directory()
    return [_entry(directory[name], name, i) for name, i in _matches(directory, release, sae_id, place=place)]


def _entry(listed: Any, release: str, sae_id: str) -> RegistryEntry:
    # The registry has 0 where it does not know.
    l0 = (listed.expected_l0 or {}).get(sae_id) or None
    return RegistryEntry(release, sae_id, listed.repo_id, listed.saes_map[sae_id], listed.model, l0)


def _directory() -> dict[str, Any]:
    """SAELens' registry: release -> its entry."""
    try:
        from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory
    except ImportError as error:
        raise UserError(
            "release and sae_id need SAELens' registry, which is not installed: "
            f"pip install 'sae-research[registry]' ({error})"
        ) from error
    return dict(get_pretrained_saes_directory())


def _matches(directory: dict[str, Any], release: str, sae_id: str, *, place: str) -> list[tuple[str, str]]:
    releases = matching(f"{place}: release", release, directory, of=_REGISTRY)
    if not releases:
        near = near_misses(release, list(directory), most=3)
        raise UserError(
            f"{place}: no release in {_REGISTRY} matches {shown(release)} in full; similar: {', '.join(near) or 'none'}"
        )
    ids = [(name, i) for name in releases for i in directory[name].saes_map]
    wanted = set(matching(f"{place}: sae_id", sae_id, dict.fromkeys(i for _, i in ids), of=_REGISTRY))
    if not wanted:
        some = list(directory[releases[0]].saes_map)[:5]
        raise UserError(
            f"{place}: no SAE of {', '.join(releases[:3])} matches sae_id {shown(sae_id)} in full; "
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
