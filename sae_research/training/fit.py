"""One pass of the language model over a text, on which several SAEs are trained side by side."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from sae_research.data.running import text_revision
from sae_research.data.text import load_texts
from sae_research.errors import UserError
from sae_research.files import folder_in_the_making, write_atomically
from sae_research.lm.load import load_language_model
from sae_research.lm.model import LanguageModel
from sae_research.lm.site import Site
from sae_research.progress import Progress
from sae_research.sources.hub import Hub
from sae_research.training.advice import MeasuredText, advice
from sae_research.training.checkpoint import Checkpoint, new_checkpoint, unfinished
from sae_research.training.estimate import estimate, require_room
from sae_research.training.keys import Request, TrainedModel
from sae_research.training.learner import Diverged, Learner
from sae_research.training.lens import describe, fold_normalisation, write_inference
from sae_research.training.record import RECORD, record_text, runner_settings, training_record
from sae_research.training.stream import ActivationStream

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Workplace:
    """Where trainings take place: the model, and the store for checkpoints and finished SAEs."""

    hub: Hub
    model: TrainedModel
    device: str
    store: Path
    measured: MeasuredText | None = None
    """The text of the core eval, to warn of trainings on it."""

    @cached_property
    def lm(self) -> LanguageModel:
        """The language model, loaded when it is first needed."""
        model = self.model
        return load_language_model(self.hub, model.name, revision=model.revision, dtype=model.dtype, device=self.device)

    def trained(self, key: str) -> Path:
        """The folder of the finished SAE of that key."""
        return self.store / "trained" / key


@dataclass
class Pass:
    """SAEs that are trained on the same batches; those that diverge are left behind."""

    place: Workplace
    requests: Sequence[Request]
    progress: Progress
    checkpoint: Checkpoint | None = None
    """Where it goes on, if it does."""
    diverged: dict[str, str] = field(default_factory=dict)
    """By key, what became of an SAE whose loss is not a number."""
    warnings: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._site = Site.parse(self.requests[0].settings.place)
        self._lm = self.place.lm
        self._lm.require_site(self._site)
        self._d_in = self._lm.width(self._site)
        self._keys = [request.key for request in self.requests]
        self._checkpoint = self.checkpoint or new_checkpoint(self.place.store, self._keys)
        self._stream = self._new_stream()
        self._learners: list[Learner] = []

    def prepare(self) -> None:
        """Logs what the pass will cost and what is likely to go wrong; UserError where it cannot succeed."""
        settings = [request.settings for request in self.requests]
        first = settings[0]
        log.info(
            "training %s on %s activations of %s: %s steps of %s", ", ".join(one.title for one in settings),
            f"{first.tokens:,}", self._site.hook_name, f"{first.steps:,}", f"{first.train_batch_size_tokens:,}",
        )  # fmt: skip
        probed = self._new_stream()
        costs = estimate(settings, probed, self._lm, self._d_in)
        log.info("this takes about %s", costs.shown())
        x = probed.read()
        for sentence in require_room(costs, self._lm.device, self.place.store):
            log.warning("%s", sentence)
        named: dict[str, list[str]] = {}
        for request in self.requests:
            self.warnings[request.key] = advice(request.settings, x, self.place.measured)
            for sentence in self.warnings[request.key]:
                named.setdefault(sentence, []).append(request.settings.title)
        for sentence, titles in named.items():
            log.warning("%s: %s", ", ".join(titles), sentence)

    def run(self) -> dict[str, str]:
        """Trains to the end, from the last checkpoint if there is one; returns what diverged, by key."""
        if self.checkpoint is not None:
            self._resume()
        else:
            self.prepare()
            self._begin()
        self._train()
        for learner in self._learners:
            self._finish(learner)
        self._checkpoint.remove()
        return self.diverged

    def _new_stream(self) -> ActivationStream:
        text, hub = self.requests[0].settings, self.place.hub
        return ActivationStream(
            self._lm, lambda: load_texts(hub, text.dataset, text.split), text.text, text.buffer_size
        )

    def _new_learners(self, keys: Sequence[str]) -> list[Learner]:
        device = str(self._lm.device)
        return [Learner(r.settings, r.key, self._d_in, device) for r in self.requests if r.key in keys]

    def _begin(self) -> None:
        self._learners = self._new_learners(self._keys)
        for learner in self._learners:
            learner.begin(self._stream)

    def _resume(self) -> None:
        content = self._checkpoint.content()
        self.diverged = {key: message for key, message in content["diverged"].items() if key in self._keys}
        self.warnings = content["warnings"]
        self._learners = self._new_learners(content["learning"])
        self._checkpoint.load(self._stream, self._learners)
        step = self._learners[0].step if self._learners else 0
        log.info("training goes on after step %s of %s", f"{step:,}", f"{self.requests[0].settings.steps:,}")

    def _train(self) -> None:
        settings = self.requests[0].settings
        begun = self._learners[0].step if self._learners else settings.steps
        self.progress.expect(settings.steps - begun)
        started = time.monotonic()
        for step in range(begun + 1, settings.steps + 1):
            self._step()
            if not self._learners:
                return
            tokens = (step - begun) * settings.train_batch_size_tokens
            speed = f"{tokens / max(time.monotonic() - started, 1e-9):,.0f} tokens/s"
            self.progress.advance(1, doing="; ".join([*(learner.shown() for learner in self._learners), speed]))
            if settings.checkpoint_every and step % settings.checkpoint_every == 0 and step < settings.steps:
                self._checkpoint.save(self._stream, self._learners, diverged=self.diverged, warnings=self.warnings)

    def _step(self) -> None:
        """All SAEs learn from the next batch; one that diverges is left behind."""
        batch = self._stream.next_batch()
        for learner in list(self._learners):
            try:
                learner.learn(batch)
            except Diverged as error:
                log.error("%s", error)
                self.diverged[learner.key] = str(error)
                self._learners.remove(learner)

    def _finish(self, learner: Learner) -> None:
        """Writes the finished SAE into the store."""
        settings, trainer = learner.settings, learner.trainer
        model = self.place.model
        sources = {
            "model": model._asdict(), "dataset": settings.dataset,
            "dataset_revision": text_revision(self.place.hub, settings.dataset),
            "versions": {"sae_lens": next(r.lens for r in self.requests if r.key == learner.key)},
        }  # fmt: skip
        record = training_record(learner, self._stream, sources=sources, warnings=self.warnings.get(learner.key, []))
        fold_normalisation(trainer)
        trainer.set_final_sae_metadata()
        describe(trainer.sae.cfg, settings, model.name)
        with folder_in_the_making(self.place.trained(learner.key), scratch=self.place.store / "scratch") as draft:
            runner = runner_settings(settings, model_name=model.name, d_in=self._d_in)
            write_inference(trainer, draft, runner=runner)
            write_atomically(draft / RECORD, record_text(record))
        last = learner.curve[-1]
        log.info(
            "trained %s: loss %.4g, L0 %.3g, %.1f %% of %s latents dead on the last %s activations", settings.title,
            last.loss, last.l0, 100 * last.dead_share, f"{settings.width(self._d_in):,}", f"{record['dead_tokens']:,}",
        )  # fmt: skip


def train_missing(place: Workplace, requests: Sequence[Request], progress: Progress) -> None:
    """Trains those SAEs that the store does not hold; UserError at the end if some of them diverged.

    SAEs of the same batches share a pass of the model. What a killed pass had begun is finished first.
    """
    missing = {request.key: request for request in requests if not (place.trained(request.key) / RECORD).is_file()}
    diverged: dict[str, str] = {}
    for checkpoint, together in _passes(place.store, list(missing.values())):
        diverged |= Pass(place, together, progress, checkpoint).run()
    if diverged:
        raise UserError("\n".join(diverged.values()))


def _passes(store: Path, requests: Sequence[Request]) -> Iterator[tuple[Checkpoint | None, list[Request]]]:
    """The requests by pass, each with the checkpoint at which it goes on."""
    left = {request.key: request for request in requests}
    for checkpoint, keys in unfinished(store):
        begun = [left.pop(key) for key in keys if key in left]
        if begun:
            yield checkpoint, begun
    for text in dict.fromkeys(request.settings.text for request in left.values()):
        yield None, [request for request in left.values() if request.settings.text == text]
