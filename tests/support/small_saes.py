"""Random SAEs of six dimensions, and a world that holds some of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from sae_research.formats.readers.saelens import save_sae
from sae_research.lm.site import Site
from sae_research.pipeline.fetched_saes import fetch_baseline
from sae_research.pipeline.sections import BaselineSae
from sae_research.saes.base import Sae, SaeCard
from sae_research.saes.build import build_sae
from sae_research.sources.hub import Hub

MODEL = {"name": "embedded/lm", "revision": "sha256:1"}


def small_sae(name: str, architecture: str = "relu", *, seed: int = 0, d_sae: int = 16, **options: Any) -> Sae:
    generator = torch.Generator().manual_seed(seed)
    shapes = {"W_enc": (6, d_sae), "b_enc": (d_sae,), "W_dec": (d_sae, 6), "b_dec": (6,)}
    tensors = {key: torch.randn(shape, generator=generator) for key, shape in shapes.items()}
    card = SaeCard(name, architecture, Site(3, "resid_post"), 6, d_sae, "gpt2", options)
    return build_sae(card, tensors)


def small_hub(tmp_path: Path) -> Hub:
    """A world with a dictionary_learning baseline and two SAELens folders."""
    models = tmp_path / "world" / "models"
    trainer = models / "sae-relu" / "resid_post_layer_3" / "trainer_0"
    trainer.mkdir(parents=True)
    generator = torch.Generator().manual_seed(1)
    state = {
        "encoder.weight": torch.randn(16, 6, generator=generator), "encoder.bias": torch.zeros(16),
        "decoder.weight": torch.randn(6, 16, generator=generator), "bias": torch.ones(6),
    }  # fmt: skip
    torch.save(state, trainer / "ae.pt")
    config = {"trainer_class": "StandardTrainer", "dict_class": "AutoEncoder", "layer": 3, "lm_name": "embedded/lm"}
    (trainer / "config.json").write_text(json.dumps({"trainer": config}))
    save_sae(small_sae("a", "topk", k=4), models / "sae-topk" / "k4")
    save_sae(small_sae("b", "topk", seed=1, k=4), models / "sae-other" / "topk_k4")
    return Hub(tmp_path / "world")


BASELINE = BaselineSae("embedded/sae-relu", "resid_post_layer_3/trainer_0/ae.pt", hook_layer=3)


def small_baseline(hub: Hub, *, hook_layer: int = 3, model_name: str = "embedded/lm") -> Sae:
    return fetch_baseline(hub, replace(BASELINE, hook_layer=hook_layer), model_name=model_name)
