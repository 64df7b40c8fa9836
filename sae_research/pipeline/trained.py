"""The SAEs that `params.yaml` has trained: from the store, from `downloaded_saes/`, or trained now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sae_research.data.running import text_revision
from sae_research.errors import UserError
from sae_research.formats.readers.saelens import load_sae
from sae_research.formats.registry import read_sae
from sae_research.lm.load import model_shape
from sae_research.lm.site import Site
from sae_research.pipeline.manifest import read_manifest
from sae_research.pipeline.params import Params
from sae_research.pipeline.sections import BaselineSae, ComparisonSae
from sae_research.progress import Progress
from sae_research.saes.base import Sae, SaeCard
from sae_research.saes.build import rename
from sae_research.sources.hub import Hub, Snapshot
from sae_research.training.advice import MeasuredText
from sae_research.training.fit import Workplace, train_missing
from sae_research.training.keys import Request, TrainedModel, request_for
from sae_research.training.lens import lens_version
from sae_research.training.readable import why_unreadable
from sae_research.training.record import RECORD
from sae_research.training.settings import TrainSettings


def measured_text(params: Params) -> MeasuredText | None:
    """The text of the core eval; None where it is off."""
    core = params.settings["core"] if params.is_enabled("core") else None
    return None if core is None else MeasuredText(core.dataset, core.split, core.context_size)


def requests_for(place: Workplace, wanted: list[TrainSettings], snapshot: Snapshot) -> list[Request]:
    """The SAEs of these settings with their keys."""
    shape, lens = model_shape(snapshot.path), lens_version()
    revisions = {name: text_revision(place.hub, name) for name in dict.fromkeys(one.dataset for one in wanted)}
    return [
        request_for(
            one, d_in=shape.width(Site.parse(one.place)), model=place.model,
            dataset_revision=revisions[one.dataset], lens=lens,
        )
        for one in wanted
    ]  # fmt: skip


@dataclass(frozen=True)
class TrainedSaes:
    """The trained SAEs of one run."""

    place: Workplace
    snapshot: Snapshot
    """The language model's files."""
    written: Path
    """The folder of the run's SAEs, which may hold some from an earlier run."""

    @classmethod
    def of_run(cls, params: Params, hub: Hub, snapshot: Snapshot, *, written: Path, store: Path) -> TrainedSaes:
        """Those of `params`."""
        model = TrainedModel(params.model.name, snapshot.revision, params.model.torch_dtype)
        return cls(Workplace(hub, model, params.model.device, store, measured_text(params)), snapshot, written)

    def train(self, entries: Sequence[BaselineSae | ComparisonSae]) -> None:
        """Trains what is neither in the store nor written; SAEs that share a text and a site in one pass."""
        wanted = [settings for entry in entries for settings in entry.trainings]
        if not wanted:
            return
        missing = [
            request
            for request in requests_for(self.place, wanted, self.snapshot)
            if not (self.place.trained(request.key) / RECORD).is_file() and self._written(request.key) is None
        ]
        for request in missing:
            self._require_readable(request.settings)
        if missing:
            with Progress("training") as progress:
                train_missing(self.place, missing, progress)

    def _require_readable(self, settings: TrainSettings) -> None:
        d_in = model_shape(self.snapshot.path).width(Site.parse(settings.place))
        reason = why_unreadable(settings, d_in)
        if reason is not None:
            raise UserError(f"comparison_saes: the SAE would be trained, but could not be measured: {reason}")

    def saes_of(self, entry: BaselineSae | ComparisonSae) -> Iterator[Sae]:
        """The trained SAEs of one entry, one after the other."""
        if not entry.trainings:
            return
        for request in requests_for(self.place, list(entry.trainings), self.snapshot):
            settings = request.settings
            source = {"trained": request.key, "dataset": settings.dataset, "split": settings.split}
            written = self._written(request.key)
            if written is not None:
                yield rename(written, settings.title)
            else:
                yield read_sae(self.place.trained(request.key), name=settings.title, source=source)

    def record_of(self, card: SaeCard) -> Path | None:
        """The training record of an SAE of the run, to be put beside it; None where there is none."""
        match card.source:
            case {"trained": str(key)}:
                folders = [self.place.trained(key), *filter(None, [self._folder_written(key)])]
                return next((folder / RECORD for folder in folders if (folder / RECORD).is_file()), None)
            case {"repo_id": str(repo_id), "filename": str(filename)}:
                folder = self.place.hub.local_folder(repo_id)
                record = folder / filename / RECORD if folder is not None else Path()
                return record if record.is_file() else None
        return None

    def _written(self, key: str) -> Sae | None:
        """The SAE of that key that an earlier run has written; None where there is none, or it is damaged."""
        folder = self._folder_written(key)
        try:
            return None if folder is None else load_sae(folder)
        except UserError:
            return None

    def _folder_written(self, key: str) -> Path | None:
        """Where an earlier run has written the SAE of that key."""
        try:
            entries = read_manifest(self.written).saes
        except UserError:
            return None
        names = (entry["name"] for entry in entries if entry["source"].get("trained") == key)
        return next((self.written / name for name in names), None)
