"""What users state of an SAE where its files do not say it: `hook_name`, `model_name` and `k`, entries of `source`.

`site` is the hook name for those whose files say none, from an argument that is meant for several SAEs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sae_research.errors import UserError
from sae_research.foreign import shown
from sae_research.lm.site import Site
from sae_research.saes.base import SaeCard
from sae_research.sources.hub import full_model_id

UNKNOWN_MODEL = "unknown"
"""The `model_name` of a card where neither the files nor the user name the model."""
_WHERE = "beside its filename in params.yaml, or to load_sae"


def stated_site(source: Mapping[str, Any], *, sae: str) -> Site:
    """The site that the user states; a UserError that says how, where none is stated."""
    hook_name = source.get("hook_name") or source.get("site")
    if hook_name is None:
        raise UserError(
            f"SAE {sae!r}: its files do not say at which hook point it reads; give hook_name, such as "
            f"blocks.4.hook_resid_post, and model_name {_WHERE}"
        )
    return Site.parse(hook_name)


def stated_k(source: Mapping[str, Any], *, sae: str) -> int:
    """The k that the user states; a UserError that says how, where none is stated."""
    if source.get("k") is None:
        raise UserError(f"SAE {sae!r}: its files do not say how many latents fire at a time; give k {_WHERE}")
    return int(source["k"])


def completed(card: SaeCard, source: Mapping[str, Any]) -> SaeCard:
    """`card` with the model that the user states, if its files name none; refused where files and user differ."""
    hook_name, k = source.get("hook_name"), source.get("k")
    if hook_name is not None and replace(card.site, centred=False) != Site.parse(hook_name):
        raise _contradiction(card.name, "hook_name", hook_name, card.site.hook_name)
    if k is not None and card.hyperparameters.get("k") != k:
        raise _contradiction(card.name, "k", k, card.hyperparameters.get("k", f"no k (it is a {card.architecture})"))
    model = source.get("model_name")
    if model is None or _last_part(model) == _last_part(card.model_name):
        return card
    if card.model_name != UNKNOWN_MODEL:
        raise _contradiction(card.name, "model_name", model, card.model_name)
    return replace(card, model_name=model)


def _last_part(model_name: str) -> str:
    return full_model_id(model_name).rstrip("/").rsplit("/", 1)[-1]


def _contradiction(sae: str, key: str, stated: object, file_has: object) -> UserError:
    return UserError(
        f"SAE {sae!r}: {key} is given as {shown(stated)}, but its files say {shown(file_has)}; "
        f"remove {key} or correct it"
    )
