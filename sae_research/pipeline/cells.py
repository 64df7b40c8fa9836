"""Cells: one SAE under one eval, with the key that determines its numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sae_research.code_version import code_version
from sae_research.evals.base import Eval
from sae_research.evals.keys import key_of, shared_parts
from sae_research.pipeline.manifest import Manifest
from sae_research.pipeline.params import Params
from sae_research.reference.registry import reference_module, reference_version
from sae_research.sources.hub import Hub

# What every eval needs: the SAEs are loaded from SAELens folders.
_ALWAYS = ("sae_research.formats.readers.saelens", "sae_research.lm.load")
# What hands seed, settings, model and SAEs on to an eval; what they import is of other evals and of the pipeline.
_HANDED_ON_BY = ("sae_research.evals.run", "sae_research.pipeline.execute")


@dataclass(frozen=True)
class Cell:
    """One (SAE, eval); `key` is the digest of `parts`, which is all that determines its numbers."""

    sae: Mapping[str, Any]
    """The SAE's entry in the manifest."""
    eval_name: str
    key: str
    parts: Mapping[str, Any]
    model_parts: Mapping[str, Any]
    """All that determines what the eval finds of the language model alone, but for the site."""

    @property
    def sae_name(self) -> str:
        return self.sae["name"]


def plan_cells(
    params: Params,
    manifest: Manifest,
    evaluated: Eval,
    hub: Hub,
    *,
    requested: Mapping[str, Sequence[int]] = MappingProxyType({}),
) -> list[Cell]:
    """A cell for every SAE of the manifest that the eval does not leave out, in its order.

    `requested` are the latents, by SAE, that an eval that looks closer is to show.
    """
    settings = params.settings_of(evaluated)
    shared = shared_parts(
        evaluated,
        settings,
        engine=params.engine,
        model={
            **manifest.model,
            "dtype": params.model.torch_dtype,
            # Only what is unusual counts.
            **({"tf32": True} if params.model.tf32 else {}),
        },
        hub=hub,
        seed=params.random_seed,
    )
    if params.engine == "sae_bench":
        shared["engine_version"] = reference_version()
    computed_by = evaluated.module if params.engine == "native" else reference_module(evaluated.name)
    readers = {data_set.reader for data_set in evaluated.data(settings) if data_set.reader is not None}
    named = evaluated.modules(settings) if params.engine == "native" else ()
    modules = (computed_by, *sorted(readers), *named, *_ALWAYS)
    model_parts = {**shared, "code": code_version(*modules, alone=_HANDED_ON_BY)}
    saes = [entry for entry in manifest.saes if not evaluated.leaves_out(settings, entry["name"])]
    by_sae = {name: {"latents": list(latents)} for name, latents in requested.items()}
    return [_cell(entry, shared | by_sae.get(entry["name"], {}), modules, model_parts) for entry in saes]


def _cell(
    entry: Mapping[str, Any], shared: Mapping[str, Any], modules: Sequence[str], model_parts: Mapping[str, Any]
) -> Cell:
    code = code_version(*modules, f"sae_research.saes.architectures.{entry['architecture']}", alone=_HANDED_ON_BY)
    parts = {**shared, "sae": entry["digest"], "site": entry["hook_name"], "code": code}
    return Cell(sae=entry, eval_name=shared["eval"], key=key_of(parts), parts=parts, model_parts=model_parts)


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> Sequence[str]:
    """How two cells' parts differ, in words: `settings.k_values [1] -> [1, 2]`.

    Another engine is other code, which goes without saying.
    """
    changes: list[str] = []
    for name in sorted(set(old) | set(new)):
        a, b = old.get(name), new.get(name)
        if a == b or (name in {"code", "engine_version"} and old.get("engine") != new.get("engine")):
            continue
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            changes += differences(a, b, f"{prefix}{name}.")
        elif name in {"code", "sae"}:
            changes.append(f"changed {'code' if name == 'code' else 'SAE'}")
        else:
            changes.append(f"{prefix}{name} {_short(a)} -> {_short(b)}")
    return changes


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."
