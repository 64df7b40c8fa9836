"""A pass: what is trained is what SAELens trains; a kill changes no byte; what diverges stops with its step."""

from __future__ import annotations

import json
import logging
import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.threads import torch_threads
from torch import Tensor

from sae_research.errors import UserError
from sae_research.formats.registry import read_sae
from sae_research.progress import Progress
from sae_research.training.fit import Workplace, train_missing
from sae_research.training.keys import Request
from sae_research.training.learner import Learner
from sae_research.training.lens import build_config
from sae_research.training.stream import ActivationStream

RequestOf = Callable[..., Request]
# By architecture, options under which this project can measure the result.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "standard": {"l1_coefficient": 0.5},
    "topk": {"k": 4, "dead_feature_window": 3},
    "batchtopk": {"k": 4},
    "jumprelu": {"l0_coefficient": 0.01},
    "gated": {"l1_coefficient": 0.5},
}


def quiet() -> Progress:
    return Progress("test", shown=False)


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def new_stream(place: Workplace, request: Request) -> ActivationStream:
    from sae_research.data.text import load_texts

    settings = request.settings
    texts = lambda: load_texts(place.hub, settings.dataset, settings.split)  # noqa: E731
    return ActivationStream(place.lm, texts, settings.text, settings.buffer_size)


def as_sae_lens_trains(request: Request, batches: list[Tensor], first: Tensor) -> Any:
    """SAELens' own `fit` on these batches, with the scale estimated from `first`."""
    from sae_lens.config import SAETrainerConfig
    from sae_lens.registry import get_sae_training_class
    from sae_lens.training.sae_trainer import SAETrainer

    settings = request.settings
    torch.manual_seed(settings.seed)
    sae = get_sae_training_class(settings.architecture)[0](build_config(settings, first.shape[1]))
    config = SAETrainerConfig(
        total_training_samples=settings.training_tokens, train_batch_size_samples=settings.train_batch_size_tokens,
        lr=settings.lr, lr_end=settings.lr / 10, dead_feature_window=settings.dead_feature_window,
    )  # fmt: skip
    trainer = SAETrainer(config, sae, iter(batches))
    trainer.activation_scaler.scaling_factor = math.sqrt(first.shape[1]) / float(first.norm(dim=-1).mean())
    trainer.fit()
    return sae


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_weights_are_those_of_sae_lens_own_fit_on_the_same_batches(
    architecture: str, place: Workplace, request_of: RequestOf, tmp_path: Path
) -> None:
    request = request_of(architecture, **ARCHITECTURES[architecture])
    stream = new_stream(place, request)
    first = stream.fill().clone()
    batches = [stream.next_batch() for _ in range(request.settings.steps)]
    theirs = as_sae_lens_trains(request, batches, first)
    theirs.save_inference_model(tmp_path / "theirs")
    for key, value in {"hook_name": "blocks.0.hook_resid_post", "model_name": "embedded/lm"}.items():
        theirs.cfg.metadata[key] = value
    theirs.save_inference_model(tmp_path / "theirs")
    train_missing(place, [request], quiet())
    ours = read_sae(place.trained(request.key), name="ours", source={})
    read = read_sae(tmp_path / "theirs", name="theirs", source={})
    assert ours.card.training_tokens == 800
    assert ours.card.architecture == read.card.architecture
    for name, tensor in ours.state_dict().items():
        torch.testing.assert_close(tensor, read.state_dict()[name], rtol=1e-6, atol=1e-7)


def test_several_saes_in_one_pass_are_those_of_passes_of_their_own(
    place: Workplace, request_of: RequestOf, world: Path, tmp_path: Path
) -> None:
    requests = [request_of(name, **options) for name, options in ARCHITECTURES.items() if name != "topk"]
    alone = Workplace(place.hub, place.model, "cpu", tmp_path / "alone")
    read_before = place.lm.tokens_read
    train_missing(place, requests, quiet())
    together = place.lm.tokens_read - read_before
    for request in requests[:2]:
        train_missing(alone, [request], quiet())
        assert files_in(alone.trained(request.key)) == files_in(place.trained(request.key))
    assert alone.lm.tokens_read == 2 * together


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_killed_training_goes_on_and_leaves_the_same_bytes(
    place: Workplace, request_of: RequestOf, tmp_path: Path
) -> None:
    requests = [request_of("topk", dead_feature_window=3), request_of("batchtopk"), request_of("jumprelu")]
    undisturbed = Workplace(place.hub, place.model, "cpu", tmp_path / "undisturbed")
    train_missing(undisturbed, requests, quiet())
    assert undisturbed.lm is not None and place.lm is not None  # what forks share must be there before
    with torch_threads(1):  # a fork must not use threads that it does not have
        child = os.fork()
        if child == 0:
            _train_and_die(place, requests, after=15)
        _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    (state,) = (place.store / "training").glob("*/pass.json")
    assert json.loads(state.read_text())["learning"] == [request.key for request in requests]
    steps: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        learn = Learner.learn
        patch.setattr(Learner, "learn", lambda self, batch: (steps.append(self.step), learn(self, batch))[1])
        # One more SAE on the same text neither stops that nor changes it.
        train_missing(place, [*requests, request_of("gated")], quiet())
    assert steps[:3] == [12, 12, 12]
    for request in requests:
        assert files_in(place.trained(request.key)) == files_in(undisturbed.trained(request.key))
    assert not list((place.store / "training").iterdir())


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_of_a_killed_training_those_go_on_that_are_still_wanted(
    place: Workplace, request_of: RequestOf, tmp_path: Path
) -> None:
    stays, goes = request_of("batchtopk"), request_of("jumprelu")
    undisturbed = Workplace(place.hub, place.model, "cpu", tmp_path / "undisturbed")
    train_missing(undisturbed, [stays, goes], quiet())
    assert place.lm is not None
    with torch_threads(1):
        child = os.fork()
        if child == 0:
            _train_and_die(place, [stays, goes], after=15)
        os.waitpid(child, 0)
    train_missing(place, [stays], quiet())
    assert not place.trained(goes.key).exists()
    train_missing(place, [stays, goes], quiet())
    for request in (stays, goes):
        assert files_in(place.trained(request.key)) == files_in(undisturbed.trained(request.key))


def _train_and_die(place: Workplace, requests: list[Request], *, after: int) -> None:
    learn = Learner.learn

    def learn_or_die(self: Learner, batch: Tensor) -> None:
        if self.step == after:
            os.kill(os.getpid(), signal.SIGKILL)
        learn(self, batch)

    Learner.learn = learn_or_die  # type: ignore[method-assign]
    try:
        train_missing(place, requests, quiet())
    finally:
        os._exit(1)


def test_a_loss_that_is_no_number_stops_that_sae_with_its_step_and_a_remedy(
    place: Workplace, request_of: RequestOf
) -> None:
    wild = request_of("standard", lr=1e30, normalize_activations="none")
    tame = request_of("standard")
    with pytest.raises(UserError, match=r"SAE 'standard': the loss is \w+ at step \d+ of 20; lower lr \(it is 1e\+30"):
        train_missing(place, [wild, tame], quiet())
    assert not place.trained(wild.key).exists()
    assert read_sae(place.trained(tame.key), name="tame", source={}).card.d_sae == 24
    assert not list((place.store / "training").iterdir())


def test_a_full_disk_leaves_nothing_half_written(
    place: Workplace, request_of: RequestOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    request = request_of("topk", d_sae=200)
    assert place.lm is not None
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(UserError, match=r"free some space|larger than a file may be"):
            train_missing(place, [request], quiet())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path for path in place.store.rglob("*") if path.is_file()] == []
    train_missing(place, [request], quiet())
    assert place.trained(request.key).is_dir()


def test_the_record_says_on_what_and_how_it_went(place: Workplace, request_of: RequestOf) -> None:
    request = request_of("topk", training_tokens=4000)
    train_missing(place, [request], quiet())
    record = json.loads((place.trained(request.key) / "training.json").read_text())
    assert (record["tokens"], record["steps"], record["tokens_per_latent"]) == (4000, 100, 4000 / 24)
    assert (record["architecture"], record["options"]) == ("topk", {"k": 4})
    assert (record["dataset"], record["context_size"], record["learning_rate"]) == ("embedded/text", 16, 1e-3)
    assert record["normalize_activations"] == "expected_average_only_in"
    assert record["model"]["name"] == "embedded/lm"
    assert record["readings_of_the_text"] > 1
    assert len(record["curve"]) == 100
    assert record["curve"][-1]["loss"] == record["loss"] < record["curve"][0]["loss"]
    assert record["l0"] == pytest.approx(4, abs=0.2)
    assert 0 <= record["dead_share"] < 1
    assert record["dead_tokens"] == 50 * 40
    assert any("for each of 24 latents" in sentence or "steps only" in sentence for sentence in record["warnings"])


def test_finished_saes_are_not_trained_again(
    place: Workplace, request_of: RequestOf, caplog: pytest.LogCaptureFixture
) -> None:
    request = request_of("topk")
    train_missing(place, [request], quiet())
    before = files_in(place.trained(request.key))
    caplog.clear()
    with caplog.at_level(logging.INFO):
        train_missing(place, [request], quiet())
    assert not caplog.records
    assert files_in(place.trained(request.key)) == before
