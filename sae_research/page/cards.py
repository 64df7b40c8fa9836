"""Cards and provenance of all SAEs, the page's file `data/cards.js`: what many share stands there once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sae_research.digests import digest_of
from sae_research.evals.registry import eval_names, find_eval
from sae_research.page.fleet import FleetMember

_SHARED = ("settings", "provenance", "versions")


def cards_chunk(fleet: Sequence[FleetMember]) -> dict[str, Any]:
    """By SAE: card, densities of latents, health, and of each eval state, key, settings, provenance and versions."""
    shared: dict[str, Any] = {}

    def once(content: Any) -> str:
        digest = digest_of(content)[:12]
        shared.setdefault(digest, content)
        return digest

    saes = [
        {
            "card": member.entry.get("card") or {},
            "latent_density": member.entry.get("latent_density"),
            "health": _health(member),
            "evals": {
                name: {
                    "state": cell["state"],
                    "reason": cell.get("reason"),
                    "key": cell.get("key"),
                    "again": _again(name) if member.first.source == "computed" else None,
                    **{part: once(_without_sae(part, cell[part])) for part in _SHARED if cell.get(part)},
                }
                for name, cell in (member.entry.get("evals") or {}).items()
            },
        }
        for member in fleet
    ]
    return {"saes": saes, "shared": shared}


def _without_sae(part: str, content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Provenance without the SAE's own digest, which its card has, so that SAEs share the rest."""
    return {key: value for key, value in content.items() if part != "provenance" or key not in ("sae", "site")}


def _health(member: FleetMember) -> Mapping[str, Any] | None:
    health = (member.run.health or {}).get(member.first.sae) if member.first.source == "computed" else None
    return health and {key: health[key] for key in ("verdict", "answers", "advice") if key in health}


def _again(name: str) -> str | None:
    """The command that computes the eval's cells again."""
    if name not in eval_names():
        return None
    stage = f"{name}_eval" if find_eval(name).has_own_stage else f"optional_evals@{name}"
    return f"SAE_NO_REUSE=1 dvc repro --force --single-item {stage}"
