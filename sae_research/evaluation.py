"""What the library returns: the results of evals, as a table, an audit, a report on health."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sae_research.errors import UserError
from sae_research.evals.registry import find_eval
from sae_research.measurements import Result
from sae_research.results.audit import ColumnAudit, audit_columns
from sae_research.results.health.assess import Health, assess
from sae_research.results.health.settings import HealthSettings
from sae_research.results.health.training import Training
from sae_research.results.latents import latents_of
from sae_research.results.merge import Entry, tidy_rows
from sae_research.results.panels import with_controls
from sae_research.results.rows import Row


@dataclass(frozen=True)
class Failure:
    """An SAE that one eval could not measure; the others were measured."""

    sae: Mapping[str, Any]
    """Its entry in a manifest."""
    eval_name: str
    error: Exception


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` measured."""

    results: tuple[Result, ...]
    """One per eval and SAE, in the order of the arguments."""
    failures: tuple[Failure, ...] = ()

    def table(self) -> list[Row]:
        """A row per number, with interval, unit and place, and a row with the reason per failure."""
        return tidy_rows(self._entries(), [f.sae for f in self.failures])

    def audit(self, controls: Sequence[str] = ()) -> list[ColumnAudit]:
        """Verdicts on each metric; `controls` are names of SAEs that learned nothing a metric should reward."""
        return audit_columns(self._entries(), with_controls(self.table(), controls))

    def health(
        self,
        settings: HealthSettings | None = None,
        training: Mapping[str, Training] | None = None,
        *,
        dataset: str | None = None,
    ) -> list[Health]:
        """Each SAE's loss recovered, L0, dead and redundant latents and absorption, judged by `settings`.

        Needs the eval `core`, and `absorption` for its question. For advice, `training` says by SAE how it was trained,
        and `dataset` what texts that were passed in memory are called.
        """
        return assess(self._entries(), settings or HealthSettings(), training, dataset=dataset)

    def _entries(self) -> list[Entry]:
        entries = [
            Entry(
                "computed", r.sae["name"], r.eval_name, r, find_eval(r.eval_name).specs,
                latents=latents_of(r.output.tables),
            )
            for r in self.results
        ]  # fmt: skip
        entries += [
            Entry("computed", f.sae["name"], f.eval_name, None, reason=f"{type(f.error).__name__}: {f.error}")
            for f in self.failures
        ]
        return entries

    def to_pandas(self) -> Any:
        """`table()` as a DataFrame."""
        import pandas as pd

        return pd.DataFrame(self.table())

    def value(self, sae: str, metric: str, **at: int | float | str) -> float:
        """One number: `value("mine", "sae_top_k_test_accuracy", k=5)`; a UserError with the reason if it is missing."""
        of_metric = [
            m for r in self.results if r.sae["name"] == sae for m in r.output.measurements if m.metric == metric
        ]
        measurement = next((m for m in of_metric if dict(m.at) == at), None)
        if measurement is None or measurement.value is None:
            failed = [f.error for f in self.failures if f.sae["name"] == sae] if not of_metric else []
            if failed:
                raise UserError(f"{metric} of {sae!r} at {at}: failed: {failed[0]}")
            places = ", ".join(str(dict(m.at)) for m in of_metric) or "none"
            reason = measurement.reason if measurement is not None else f"not measured there; places measured: {places}"
            raise UserError(f"{metric} of {sae!r} at {at}: {reason}")
        return measurement.value
