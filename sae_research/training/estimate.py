"""What a training will cost: memory, disk and time, the last from a short probe."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from sae_research.device_memory import free_memory
from sae_research.errors import UserError
from sae_research.lm.model import LanguageModel
from sae_research.progress import duration
from sae_research.training.learner import Learner
from sae_research.training.settings import TrainSettings
from sae_research.training.stream import ActivationStream

_FLOAT = 4
"""Bytes of a float32, in which SAEs are trained."""
_WHILE_TRAINING = 4
"""Numbers per parameter: itself, its gradient, Adam's two moments."""
_PER_CODE = 10
"""Arrays of the size of a batch's codes that a step holds at once: 6 to 10 were measured, by architecture."""


class Costs(NamedTuple):
    """What a pass needs, in bytes and seconds."""

    memory: int
    disk: int
    model_seconds: float
    sae_seconds: float

    def shown(self) -> str:
        """`2.1 GB of memory, 3.0 GB of disk, 12 min 5 s (language model 2 min 1 s, SAEs 10 min 4 s)`."""
        whole = duration(self.model_seconds + self.sae_seconds)
        parts = f"language model {duration(self.model_seconds)}, SAEs {duration(self.sae_seconds)}"
        return f"{_size(self.memory)} of memory, {_size(self.disk)} of disk, {whole} ({parts})"


def estimate(settings: Sequence[TrainSettings], stream: ActivationStream, lm: LanguageModel, d_in: int) -> Costs:
    """The costs of a pass for SAEs with these settings; `stream` is one that nothing else reads."""
    stream.read()  # the first rows take longer than those that follow
    started = time.perf_counter()
    x = stream.read()
    per_activation = (time.perf_counter() - started) / max(1, len(x))
    seconds = [_seconds_per_step(one, x, d_in, str(lm.device)) for one in settings]
    parameters = [parameters_of(one, d_in) for one in settings]
    buffer = settings[0].buffer_size * d_in * x.element_size()
    batch = settings[0].train_batch_size_tokens
    step = max(batch * (_PER_CODE * one.width(d_in) + 4 * d_in) for one in settings) * _FLOAT
    # While a checkpoint replaces the one before, both are there.
    checkpoint = 2 * (3 * sum(parameters) * _FLOAT + buffer) if settings[0].checkpoint_every else 0
    return Costs(
        memory=_WHILE_TRAINING * sum(parameters) * _FLOAT + step + 2 * buffer,
        disk=checkpoint + sum(parameters) * _FLOAT,
        model_seconds=per_activation * settings[0].tokens,
        sae_seconds=sum(seconds) * settings[0].steps,
    )


def require_room(costs: Costs, device: torch.device, store: Path) -> list[str]:
    """UserError where the disk is too small; a warning, as a list, where memory may be."""
    store.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(store).free
    if costs.disk > free:
        raise UserError(
            f"training needs about {_size(costs.disk)} of disk under {store}, mostly for checkpoints, and "
            f"{_size(free)} are free: free some, or set checkpoint_every: 0"
        )
    memory = free_memory(device)
    if costs.memory <= memory:
        return []
    return [
        f"training needs about {_size(costs.memory)} of memory on {device} and {_size(memory)} are free: train fewer "
        "SAEs in one pass, or lower d_sae, train_batch_size_tokens or n_batches_in_buffer"
    ]


def parameters_of(settings: TrainSettings, d_in: int) -> int:
    """About how many numbers the SAE has: encoder, decoder and their biases."""
    return (2 * d_in + 3) * settings.width(d_in)


def _seconds_per_step(settings: TrainSettings, x: Tensor, d_in: int, device: str) -> float:
    """How long the second step on such activations takes, of an SAE that is thrown away."""
    learner = Learner(settings, "", d_in, device)
    size = settings.train_batch_size_tokens
    batch = x.repeat(-(-size // len(x)), 1)[:size].float()
    batch = batch / batch.norm(dim=-1).mean()  # Nothing overflows in the two steps.
    learner.trainer.step(batch)
    started = time.perf_counter()
    learner.trainer.step(batch).loss.item()
    return time.perf_counter() - started


def _size(n_bytes: float) -> str:
    """`1.2 GB`."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} TB"
