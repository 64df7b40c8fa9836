"""The list of a run's SAEs, `downloaded_saes/manifest.json`, read without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sae_research.errors import UserError

MANIFEST_FILE = "manifest.json"
SCHEMA = 1


@dataclass(frozen=True)
class Manifest:
    """What the setup stage prepared."""

    model: Mapping[str, Any]
    """The language model: `name` and resolved `revision`."""
    saes: tuple[Mapping[str, Any], ...]
    """An entry per SAE in the order of `params.yaml`: name (its folder), architecture, label (what tables call it),
    control (whether it learned nothing that a metric should reward), hook_name, layer, scope, d_in, d_sae,
    hyperparameters, source, digest, training_tokens, model_name."""


def read_manifest(folder: Path) -> Manifest:
    """The manifest that the setup stage wrote into `folder`."""
    path = folder / MANIFEST_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; run the setup stage first (`dvc repro setup`)") from None
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error}); run the setup stage again") from None
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise UserError(f"{path} is not in the form that this version writes; run the setup stage again")
    return Manifest(model=content["model"], saes=tuple(content["saes"]))


def manifest_text(model: Mapping[str, Any], saes: Sequence[Mapping[str, Any]]) -> str:
    """`manifest.json` of these: the same bytes for the same content."""
    content = {"schema": SCHEMA, "model": dict(model), "saes": [dict(entry) for entry in saes]}
    return json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n"
