"""What is left of a training beside the SAE: `training.json`, which says on what and how, and how it went."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sae_research.training.learner import Learner
from sae_research.training.settings import TrainSettings
from sae_research.training.stream import ActivationStream

RECORD = "training.json"
SCHEMA = 1


def training_record(
    learner: Learner, stream: ActivationStream, *, sources: dict[str, Any], warnings: list[str]
) -> dict[str, Any]:
    """Settings, text, numbers at the end, and the curve. Holds no clock: the same training leaves the same bytes.

    `dead_share` is the share of latents that did not fire on the last `dead_tokens` activations.
    """
    settings, last = learner.settings, learner.curve[-1]
    config = learner.trainer.sae.cfg
    return {
        "schema": SCHEMA,
        "key": learner.key,
        "architecture": settings.architecture,
        "options": {name: getattr(config, name) for name in settings.options},
        "d_in": config.d_in,
        "d_sae": config.d_sae,
        "hook_name": settings.place,
        **sources,
        "split": settings.split,
        "first_text": settings.first_text,
        "context_size": settings.context_size,
        "prepend_bos": settings.prepend_bos,
        "readings_of_the_text": stream.readings,
        "tokens": last.tokens,
        "tokens_per_latent": last.tokens / config.d_sae,
        "steps": last.step,
        "train_batch_size_tokens": settings.train_batch_size_tokens,
        "learning_rate": settings.lr,
        "lr_scheduler_name": settings.lr_scheduler_name,
        "lr_warm_up_steps": settings.lr_warm_up_steps,
        "lr_decay_steps": settings.lr_decay_steps,
        "normalize_activations": settings.normalize_activations,
        "activation_scale": learner.scale,
        "outlier_norm": settings.outlier_norm,
        "largest_norm": stream.limit,
        "left_out": stream.left_out,
        "dead_feature_window": settings.dead_feature_window,
        "autocast": settings.autocast,
        "seed": settings.seed,
        "loss": last.loss,
        "l0": last.l0,
        "dead_share": last.dead_share,
        "dead_tokens": learner.dead_window * settings.train_batch_size_tokens,
        "curve": [point._asdict() for point in learner.curve],
        "warnings": warnings,
    }


def record_text(record: dict[str, Any]) -> str:
    """The record as the text of its file."""
    return json.dumps(record, indent=2, sort_keys=True, allow_nan=False) + "\n"


def runner_settings(settings: TrainSettings, *, model_name: str, d_in: int) -> dict[str, Any]:
    """The settings in the names of SAELens' runner, for `runner_cfg.json`."""
    values = settings.influential(d_in)
    renamed = {"dataset": "dataset_path"}
    return {"model_name": model_name, **{renamed.get(key, key): value for key, value in values.items()}}


def has_record(folder: Path) -> bool:
    """Whether the folder holds a finished training."""
    return (folder / RECORD).is_file()
