"""One SAE in training: SAELens' trainer, its numbers so far, and its files."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, final

from jaxtyping import Float
from torch import Tensor

from sae_research.files import write_atomically
from sae_research.foreign import read_json_object
from sae_research.training.lens import build_trainer, estimate_scale, load_trainer, save_trainer
from sae_research.training.settings import TrainSettings
from sae_research.training.stream import ActivationStream

_POINTS = 100
"""Points of a training curve, at most."""
_STATE = "curve.json"


class Diverged(Exception):
    """The loss is not a number; carries the message for the user."""


class Point(NamedTuple):
    """Means over the steps since the point before, and the share of dead latents at this step."""

    step: int
    tokens: int
    loss: float
    l0: float
    dead_share: float


@final
class Learner:
    """A trainer that is fed batches; keeps the curve of loss, L0 and dead latents."""

    def __init__(self, settings: TrainSettings, key: str, d_in: int, device: str) -> None:
        self.settings, self.key = settings, key
        self.trainer = build_trainer(settings, d_in, device)
        self.curve: list[Point] = []
        self._sums, self._summed = [0.0, 0.0], 0
        self._between = math.ceil(settings.steps / _POINTS)

    @property
    def step(self) -> int:
        """Steps taken."""
        return self.trainer.n_training_steps

    @property
    def dead_window(self) -> int:
        """Steps in which a dead latent has not fired: the last half of those taken, at most `dead_feature_window`."""
        return max(1, min(self.settings.dead_feature_window, self.step // 2))

    @property
    def dead_share(self) -> float:
        """The share of latents that have not fired in the last `dead_window` steps."""
        return float((self.trainer.n_forward_passes_since_fired >= self.dead_window).float().mean())

    @property
    def n_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.trainer.sae.parameters())

    @property
    def scale(self) -> float | None:
        """The factor by which activations are multiplied; None without one."""
        return self.trainer.activation_scaler.scaling_factor

    def begin(self, stream: ActivationStream) -> None:
        """Learns from the stream's first activations what normalisation asks for; takes none of them."""
        estimate_scale(self.trainer, stream.fill())

    def learn(self, batch: Float[Tensor, "batch d"]) -> None:
        """Takes one step."""
        self.trainer.maybe_reset_sparsity()
        fired_before = self._fired()
        loss = self.trainer.step(batch).loss.item()
        if not math.isfinite(loss):
            raise Diverged(self._advice(loss))
        self.trainer.n_training_steps += 1
        # Counted by SAELens: another look at the codes of a large SAE would take gigabytes.
        l0 = (self._fired() - fired_before) / len(batch)
        self._sums = [self._sums[0] + loss, self._sums[1] + l0]
        self._summed += 1
        if self.step % self._between == 0 or self.step == self.settings.steps:
            self._mark()

    def _fired(self) -> float:
        """How often latents have fired since SAELens last reset its counts, which are whole numbers."""
        return float(self.trainer.act_freq_scores.double().sum())

    def _mark(self) -> None:
        """Ends a stretch of the curve."""
        loss, l0 = (value / self._summed for value in self._sums)
        self.curve.append(Point(self.step, self.trainer.n_training_samples, loss, l0, self.dead_share))
        self._sums, self._summed = [0.0, 0.0], 0

    def _advice(self, loss: float) -> str:
        settings = self.settings
        normalised = settings.normalize_activations != "none"
        return (
            f"SAE {settings.title!r}: the loss is {loss} at step {self.step + 1} of {settings.steps}; lower lr "
            f"(it is {settings.lr:g})"
            + (", let it warm up (lr_warm_up_steps)" if settings.lr_warm_up_steps == 0 else "")
            + ("" if normalised else ", set normalize_activations: expected_average_only_in")
            + (", set autocast: false" if settings.autocast else "")
            + ("" if settings.outlier_norm else ", leave out outliers (outlier_norm: 10)")
        )

    def shown(self) -> str:
        """Its last numbers, for a line of progress."""
        if not self.curve:
            return self.settings.title
        last = self.curve[-1]
        return f"{self.settings.title}: loss {last.loss:.4g}, L0 {last.l0:.3g}, dead {last.dead_share:.0%}"

    def save(self, folder: Path) -> None:
        """Writes its state into the new folder `folder`."""
        save_trainer(self.trainer, folder)
        state = {"curve": self.curve, "sums": self._sums, "summed": self._summed}
        write_atomically(folder / _STATE, json.dumps(state))

    def load(self, folder: Path) -> None:
        """Goes on where the state in `folder` was saved."""
        load_trainer(self.trainer, folder)
        state: Mapping[str, Any] = read_json_object(folder / _STATE, remedy="delete that folder")
        self.curve = [Point(*values) for values in state["curve"]]
        self._sums, self._summed = state["sums"], state["summed"]
