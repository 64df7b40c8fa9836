"""What a training costs: the figures, and what happens where there is not enough."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from support.training import settings_with

from sae_research.errors import UserError
from sae_research.progress import Progress
from sae_research.training import estimate as estimates
from sae_research.training.estimate import Costs, parameters_of, require_room
from sae_research.training.fit import Pass, Workplace
from sae_research.training.keys import Request
from sae_research.training.lens import build_trainer

CPU = torch.device("cpu")


@pytest.mark.parametrize("architecture", ["standard", "topk", "jumprelu"])
def test_parameters_are_counted_to_a_few_percent(architecture: str) -> None:
    settings = settings_with(architecture, d_sae=300)
    trainer = build_trainer(settings, 16, "cpu")
    exact = sum(parameter.numel() for parameter in trainer.sae.parameters())
    assert parameters_of(settings, 16) == pytest.approx(exact, rel=0.1)


def test_a_checkpoint_takes_no_more_disk_than_was_said(place: Workplace, request_of: Callable[..., Request]) -> None:
    request = request_of("topk", d_sae=2000)
    told: list[Costs] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sae_research.training.fit.require_room", lambda costs, *_: told.append(costs) or [])
        run = Pass(place, [request], Progress("test", shown=False))
        run.prepare()
        run._begin()
        run._checkpoint.save(run._stream, run._learners, diverged={}, warnings={})
    written = sum(path.stat().st_size for path in place.store.rglob("*") if path.is_file())
    # Two checkpoints and the finished SAE; Adam has no moments before the first step.
    weights = 4 * parameters_of(request.settings, 16)
    assert weights < written < told[0].disk
    assert told[0].disk == pytest.approx(7 * weights, rel=0.1)
    assert told[0].memory > 4 * weights
    assert 0 < told[0].model_seconds < 60 and 0 < told[0].sae_seconds < 60


def test_too_small_a_disk_stops_before_anything_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    costs = Costs(memory=10, disk=3_000_000_000, model_seconds=61, sae_seconds=3600)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2_000_000_000))
    with pytest.raises(UserError, match=r"needs about 3 GB of disk .* 2 GB are free: free some, or set checkpoint"):
        require_room(costs, CPU, tmp_path)


def test_too_little_memory_is_a_warning_with_remedies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimates, "free_memory", lambda _: 1_500_000)
    costs = Costs(memory=21_000_000_000, disk=10, model_seconds=61, sae_seconds=3600)
    (sentence,) = require_room(costs, CPU, tmp_path)
    assert sentence.startswith("training needs about 21 GB of memory on cpu and 1.5 MB are free: train fewer SAEs")
    assert costs.shown() == "21 GB of memory, 10 bytes of disk, 1 h 1 min (language model 1 min 1 s, SAEs 1 h 0 min)"


def test_the_probe_takes_nothing_from_the_training(
    place: Workplace, request_of: Callable[..., Request], tmp_path: Path
) -> None:
    """With or without it, the same bytes come out."""
    request = request_of("topk")
    other = Workplace(place.hub, place.model, "cpu", tmp_path / "other")
    Pass(place, [request], Progress("test", shown=False)).run()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pass, "prepare", lambda self: None)
        Pass(other, [request], Progress("test", shown=False)).run()
    assert (other.trained(request.key) / "sae_weights.safetensors").read_bytes() == (
        place.trained(request.key) / "sae_weights.safetensors"
    ).read_bytes()
