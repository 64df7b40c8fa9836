"""The run's controls: its variants' encoders, and TopK, on atoms that learned nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from sae_research.code_version import code_version
from sae_research.data.running import text_revision
from sae_research.data.text import load_texts, token_rows
from sae_research.digests import digest_of
from sae_research.errors import UserError
from sae_research.formats.readers.saelens import load_sae
from sae_research.lm.load import load_language_model
from sae_research.pipeline.manifest import read_manifest
from sae_research.pipeline.sections import Atoms, ControlParams, ModelParams
from sae_research.pipeline.variants import encode_with, shown_options, variant_encoders, variant_name
from sae_research.saes.base import Sae, SaeCard
from sae_research.saes.build import build_sae
from sae_research.saes.controls import principal_atoms, random_atoms, raw_atoms, topk_tensors
from sae_research.saes.normalisation import normalise
from sae_research.sources.hub import Hub, Snapshot

TITLES: Mapping[Atoms, str] = {"random": "random atoms", "raw": "raw activations", "pca": "PCA directions"}
"""What labels call the atoms."""
_CODE = ("sae_research.saes.controls", "sae_research.data.text", "sae_research.lm.load")


class Encoder(NamedTuple):
    """One control: how it encodes, and on what."""

    atoms: Atoms
    architecture: str
    options: Mapping[str, Any]


def control_saes(
    made_from: ControlInputs, variants: Mapping[str, Mapping[str, Any]], *, written: Path
) -> Iterator[Sae]:
    """TopK, then the encoder of every variant, on each kind of atoms that the settings name.

    Those that the folder `written` holds from an earlier run are taken from there: the same draw on another processor
    would differ in its last digits, and every eval of it would run again.
    """
    settings = made_from.settings
    encoders = [Encoder(atoms, "topk", {"k": settings.topk_k}) for atoms in settings.topk_atoms]
    encoders += [
        Encoder(atoms, architecture, options)
        for atoms in settings.variant_atoms
        for architecture, options in variant_encoders(variants)
    ]
    folders = _written_before(written)
    for encoder in encoders:
        card = made_from.card(encoder)
        sae = _load(folders.get(card.source["key"])) or made_from.encode(card, encoder)
        from_params = {key: getattr(card, key) for key in ("name", "label", "control", "atoms", "control_for")}
        sae.card = replace(sae.card, **from_params)
        yield sae


def _written_before(folder: Path) -> dict[str, Path]:
    """The folders of the controls in `folder`, by key; none where finished results are to be ignored."""
    if os.environ.get("SAE_NO_REUSE"):
        return {}
    try:
        entries = [entry for entry in read_manifest(folder).saes if entry.get("atoms")]
    except UserError:
        return {}
    return {entry["source"]["key"]: folder / entry["name"] for entry in entries}


def _load(folder: Path | None) -> Sae | None:
    """The SAE in `folder`; None where it is missing or not what was written."""
    try:
        return None if folder is None else load_sae(folder)
    except UserError:
        return None


@dataclass(frozen=True)
class ControlInputs:
    """What controls are made from: the baseline, a seed, and a text, which is read when it is first needed."""

    baseline: Sae
    settings: ControlParams
    seed: int
    hub: Hub
    model: ModelParams
    snapshot: Snapshot
    """The language model's files."""

    def card(self, encoder: Encoder) -> SaeCard:
        """The control's card; `source.key` is the digest of all that determines it."""
        source: dict[str, Any] = {"atoms": encoder.atoms, "seed": self.seed}
        if encoder.atoms != "random" or encoder.architecture == "topk":
            source |= self._text()
        parts = {
            **source,
            "architecture": encoder.architecture,
            "options": dict(encoder.options),
            "baseline": self.baseline.card.digest,
            "code": code_version(*_CODE),
        }
        return replace(
            self.baseline.card,
            name="_".join([encoder.atoms, encoder.architecture, *shown_options(encoder.options)]),
            architecture=encoder.architecture,
            hyperparameters=dict(encoder.options),
            label=f"{encoder.architecture} on {TITLES[encoder.atoms]}",
            source={**source, "key": digest_of(parts)},
            control=True,
            atoms=encoder.atoms,
            control_for="" if encoder.architecture == "topk" else variant_name(self.baseline.card, *encoder[1:]),
            training_tokens=0,
        )

    def _text(self) -> dict[str, Any]:
        """What determines the activations."""
        settings = self.settings
        return {
            "model": {"name": self.model.name, "revision": self.snapshot.revision, "dtype": self.model.torch_dtype},
            "dataset": settings.dataset,
            "revision": text_revision(self.hub, settings.dataset),
            **{name: getattr(settings, name) for name in ("split", "first_text", "context_size", "n_sequences")},
        }

    def encode(self, card: SaeCard, encoder: Encoder) -> Sae:
        """The control that `card` describes."""
        atoms, centre = self._atoms(encoder.atoms)
        if encoder.atoms == "pca" and (encoder.architecture == "topk" or encoder.options.get("nonneg")):
            # Codes above 0 in both directions are components with their signs.
            atoms = torch.cat([atoms, -atoms])
        if encoder.architecture != "topk":
            return encode_with(card, encoder.architecture, encoder.options, atoms, centre)
        tensors = topk_tensors(atoms, centre, self.x, k=encoder.options["k"])
        return build_sae(replace(card, d_sae=len(atoms)), tensors)

    def _atoms(self, kind: Atoms) -> tuple[Float[Tensor, "d_sae d_in"], Float[Tensor, " d_in"]]:
        """The atoms, and the point that activations are seen from: the baseline's `b_dec`, for PCA the mean."""
        card, centre = self.baseline.card, self.baseline.b_dec
        seed = int(digest_of(["controls", kind, self.seed])[:12], 16)
        match kind:
            case "random":
                return random_atoms(card.d_sae, card.d_in, seed=seed), centre
            case "raw":
                return raw_atoms(self.x, centre, card.d_sae, seed=seed), centre
            case "pca":
                return principal_atoms(self.x), self.x.mean(dim=0)

    @cached_property
    def x(self) -> Float[Tensor, "token d_in"]:
        """The activations of the text's real tokens at the baseline's site, as it sees them, in float32 on the CPU."""
        settings, site = self.settings, self.baseline.card.site
        lm = load_language_model(
            self.hub, self.model.name, revision=self.snapshot.revision, dtype=self.model.torch_dtype,
            device=self.model.device,
        )  # fmt: skip
        lm.require_site(site, self.baseline.card.d_in)
        rows = token_rows(
            islice(load_texts(self.hub, settings.dataset, settings.split), settings.first_text, None),
            lm.tokenizer,
            context_size=settings.context_size,
            n_rows=settings.n_sequences,
            name=f"controls: split {settings.split!r} of data set {settings.dataset!r}",
        )
        with torch.no_grad():
            parts = [lm.capture_real(part.to(lm.device), site) for part in rows.split(self.model.llm_batch_size)]
        x = torch.cat(parts).float().cpu()
        if len(x) < self.baseline.card.d_sae:
            raise UserError(
                f"controls: {settings.n_sequences} sequences hold {len(x)} tokens, but raw activations as atoms need "
                f"{self.baseline.card.d_sae}, as many as the baseline has latents; raise controls.n_sequences"
            )
        return normalise(self.baseline.card.input_norm, x).y
