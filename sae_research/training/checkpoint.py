"""The state of a pass on disk: written whole or not at all, read after a kill."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from sae_research.digests import digest_of
from sae_research.files import folder_in_the_making, write_atomically
from sae_research.foreign import read_json_object, reading
from sae_research.training.learner import Learner
from sae_research.training.stream import ActivationStream

_PASS, _STREAM = "pass.json", "stream.safetensors"
_REMEDY = "delete that folder: the training begins again"


@dataclass(frozen=True)
class Checkpoint:
    """The last state of a pass."""

    store: Path
    name: str

    @property
    def folder(self) -> Path:
        return self.store / "training" / self.name

    def save(
        self,
        stream: ActivationStream,
        learners: Sequence[Learner],
        *,
        diverged: Mapping[str, str],
        warnings: Mapping[str, Any],
    ) -> None:
        """Replaces the state by the present one."""
        with folder_in_the_making(self.folder, scratch=self.store / "scratch") as draft:
            tensors, values = stream.state()
            save_file(tensors, draft / _STREAM)
            for learner in learners:
                learner.save(draft / learner.key)
            content = {
                "learning": [learner.key for learner in learners], "diverged": dict(diverged), "stream": values,
                "warnings": dict(warnings),
            }  # fmt: skip
            write_atomically(draft / _PASS, json.dumps(content))

    def content(self) -> dict[str, Any]:
        """What it holds beside tensors: `learning`, `diverged`, `warnings`."""
        return read_json_object(self.folder / _PASS, remedy=_REMEDY)

    def load(self, stream: ActivationStream, learners: Sequence[Learner]) -> None:
        """Brings the stream and the SAEs to that state."""
        with reading(self.folder, remedy=_REMEDY):
            stream.restore(load_file(self.folder / _STREAM), self.content()["stream"])
            for learner in learners:
                learner.load(self.folder / learner.key)

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def new_checkpoint(store: Path, keys: Sequence[str]) -> Checkpoint:
    """Where the pass that trains the SAEs of these keys keeps its state."""
    return Checkpoint(store, digest_of(sorted(keys))[:32])


def unfinished(store: Path) -> Iterator[tuple[Checkpoint, list[str]]]:
    """The checkpoints in the store, each with the keys of its SAEs."""
    for file in sorted((store / "training").glob(f"*/{_PASS}")):
        checkpoint = Checkpoint(store, file.parent.name)
        content = checkpoint.content()
        yield checkpoint, [*content["learning"], *content["diverged"]]
