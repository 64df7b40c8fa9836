"""`params.yaml` as frozen typed records; a mistake anywhere in it fails at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from sae_research.data.labelled import families
from sae_research.data.running import running_text_family
from sae_research.errors import UserError
from sae_research.evals.base import DataSet, Eval
from sae_research.evals.registry import all_evals, eval_names, find_eval
from sae_research.foreign import plain_name, shown
from sae_research.judges.settings import Judging
from sae_research.pipeline.names import check_filename, check_name
from sae_research.pipeline.secrets import refuse_keys
from sae_research.pipeline.sections import (
    ActivationCaching,
    BaselineSae,
    ComparisonSae,
    ControlParams,
    ExecutionParams,
    ModelParams,
)
from sae_research.plots.settings import VisualizationSettings
from sae_research.records import read_record
from sae_research.reference.registry import Engine, require_offered, require_single_draw
from sae_research.results.health.settings import HealthSettings
from sae_research.saes.registry import architectures
from sae_research.sources.described import DescribedSet
from sae_research.sources.hub import WORLD_PREFIX
from sae_research.sources.packages import PACKAGE_PREFIX
from sae_research.world.settings import WorldSettings
from sae_research.yaml_text import read_yaml

_LONGEST_KEY = 100
"""DVC writes keys into dvc.lock, which takes 128 letters."""


@dataclass(frozen=True)
class Params:
    """All of `params.yaml`; the evals' sections are `settings`."""

    random_seed: int
    model: ModelParams
    baseline_sae: BaselineSae
    engine: Engine = "native"
    """What computes the evals: this package, or SAEBench itself on the same model, data and SAEs."""
    sae_variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By architecture `enabled` and its options: `<setting>: value`, or `<setting>_values: [...]`, one variant for
    each combination. `setup` checks the options, with the architecture's own record of settings."""
    comparison_saes: tuple[ComparisonSae, ...] = ()
    data_sets: Mapping[str, DescribedSet] = field(default_factory=dict)
    """Labelled data sets of one's own, by the name that sparse probing, SCR and TPP know them by."""
    controls: ControlParams | None = None
    """The controls that are made beside these SAEs; None: none."""
    eval_types: Mapping[str, bool] = field(default_factory=dict)
    """Which evals run, in the order in which reports list them."""
    activation_caching: ActivationCaching = field(default_factory=ActivationCaching)
    execution: ExecutionParams = field(default_factory=ExecutionParams)
    judging: Judging = field(default_factory=Judging)
    """How judges behind a server are reached, and what they may cost; re-runs no eval."""
    health: HealthSettings = field(default_factory=HealthSettings)
    """The thresholds of the health report; re-runs no eval."""
    visualization: VisualizationSettings = field(default_factory=VisualizationSettings)
    world: WorldSettings = field(default_factory=WorldSettings)
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The settings record of each eval whose section is given, by the eval's name."""

    def __post_init__(self) -> None:
        _refuse_unknown("eval_types", self.eval_types, eval_names())
        _refuse_unknown("sae_variants", self.sae_variants, architectures())
        self._check_names()
        self._check_data_sets()
        self._refuse_the_same_twice()
        for architecture, options in self.sae_variants.items():
            if not isinstance(options.get("enabled", True), bool):
                raise ValueError(f"sae_variants.{architecture}.enabled is {options['enabled']!r}, expected a bool")
        for evaluated in map(find_eval, self.enabled_evals):
            if evaluated.name not in self.settings:
                raise ValueError(
                    f"eval_types.{evaluated.name} is true, but there is no section {evaluated.section!r}; add it, or "
                    f"set 'eval_types.{evaluated.name}: false'"
                )
            if self.engine == "sae_bench":
                require_offered(evaluated.name)
                require_single_draw(evaluated.section, self.settings_of(evaluated))
            evaluated.check(self.settings_of(evaluated), self.random_seed)
            for data_set in evaluated.data(self.settings_of(evaluated)):
                data_set.require(self.data_sets)
        if not self.model.name.startswith(WORLD_PREFIX):
            self._refuse_the_worlds_data()
        self._refuse_controls_from_measured_text()

    @property
    def enabled_evals(self) -> tuple[str, ...]:
        """The evals that run."""
        return tuple(name for name, is_on in self.eval_types.items() if is_on)

    def is_enabled(self, eval_name: str) -> bool:
        """Whether that eval runs."""
        return eval_name in self.enabled_evals

    def settings_of(self, evaluated: Eval) -> Any:
        """The settings record of an eval."""
        return self.settings[evaluated.name]

    @property
    def variants(self) -> Mapping[str, Mapping[str, Any]]:
        """The options of the variants that are switched on, by architecture."""
        return {
            name: {option: value for option, value in options.items() if option != "enabled"}
            for name, options in self.sae_variants.items()
            if options.get("enabled", True)
        }

    def repository_of(self, data_set: DataSet) -> str:
        """Where a data set of an eval lies."""
        described = self.data_sets.get(data_set.name)
        return (data_set.repository or data_set.name) if described is None else described.repo

    def _data_sets(self) -> list[tuple[str, str]]:
        """The data of controls, trainings and enabled evals that have settings: where each is named, where it lies."""
        of_evals = [
            (f"{evaluated.section}.{data_set.field}", self.repository_of(data_set))
            for evaluated in map(find_eval, self.enabled_evals)
            if evaluated.name in self.settings
            for data_set in evaluated.data(self.settings_of(evaluated))
        ]
        trained = [("baseline_sae", self.baseline_sae.trainings)]
        trained += [(f"comparison_saes[{i}]", entry.trainings) for i, entry in enumerate(self.comparison_saes)]
        of_trainings = [(f"{place}.train.dataset", one.dataset) for place, several in trained for one in several]
        of_controls = [("controls.dataset", self.controls.dataset)] if self.controls else []
        return [*of_controls, *of_trainings, *of_evals]

    def _check_names(self) -> None:
        """Names that no model, SAE or data set can have, or that would lead out of the place they are looked for in."""
        entries = [("baseline_sae", self.baseline_sae.repo_id, self.baseline_sae.filename)]
        entries += [(f"comparison_saes[{i}]", e.repo_id, e.filename) for i, e in enumerate(self.comparison_saes)]
        for place, repo_id, filename in entries:
            if repo_id is not None:
                check_name(repo_id, f"{place}.repo_id")
            if filename is not None:
                check_filename(filename, f"{place}.filename")
        described = [(f"data_sets.{name}.repo", described.repo) for name, described in self.data_sets.items()]
        for place, name in [("model.name", self.model.name), *self._data_sets(), *described]:
            check_name(name, place)

    def _check_data_sets(self) -> None:
        """A name stands for one data set, in tables, pictures and keys."""
        for name in self.data_sets:
            try:
                plain_name(name, "data_sets: the name")
            except UserError as error:
                raise ValueError(str(error)) from error
            if len(name) > _LONGEST_KEY:
                raise ValueError(f"data_sets: the name {shown(name)} is longer than {_LONGEST_KEY} letters")
            taken = name in families() or running_text_family(name) is not None
            if taken or name.startswith((WORLD_PREFIX, PACKAGE_PREFIX)):
                raise ValueError(f"data_sets: the name {name!r} is taken by another data set; choose a name of its own")

    def _refuse_the_same_twice(self) -> None:
        """Two equal comparisons would look like more than there is."""
        first: dict[object, int] = {}
        for index, entry in enumerate(self.comparison_saes):
            if entry.named in first:
                raise ValueError(
                    f"comparison_saes[{index}] names the same SAEs as comparison_saes[{first[entry.named]}]; remove one"
                )
            first[entry.named] = index

    def _refuse_controls_from_measured_text(self) -> None:
        """A raw activation that is measured later would be reconstructed exactly by its own atom."""
        core, controls = self.settings.get("core"), self.controls
        if core is None or controls is None or controls.first_text > 0:
            return
        if (core.dataset, core.split) == (controls.dataset, controls.split):
            raise ValueError(
                f"controls reads the text that core_eval measures ({core.dataset}, split {core.split!r}); name another "
                "split or data set in controls, or pass over the texts that core_eval reads (controls.first_text)"
            )

    def _refuse_the_worlds_data(self) -> None:
        """The embedded world's SAEs and texts are made for its own model."""
        named = [("baseline_sae.repo_id", self.baseline_sae.repo_id or "")]
        named += [("comparison_saes", entry.repo_id or "") for entry in self.comparison_saes]
        named += self._data_sets()
        for place in dict.fromkeys(place for place, _ in named):
            inside = [name for where, name in named if where == place and name.startswith(WORLD_PREFIX)]
            if inside:
                raise ValueError(
                    f"{place} names {', '.join(inside)}, which belongs to the embedded model, but model.name is "
                    f"{self.model.name}; name what belongs to that model, or write a profile "
                    "(`python -m sae_research profile NAME`)"
                )


def _refuse_unknown(place: str, values: Mapping[str, Any], valid: Sequence[str]) -> None:
    unknown = next((name for name in values if name not in valid), None)
    if unknown is not None:
        raise ValueError(f"{place}: unknown key {shown(unknown)}; valid: {', '.join(valid)}")


def read_params(values: object, *, where: str) -> Params:
    """The validated parameters in the mapping `values`, which come from the file `where`."""
    if not isinstance(values, Mapping):
        return read_record(Params, values, where=where)
    try:
        refuse_keys(values)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None
    sections = {evaluated.section: evaluated for evaluated in all_evals()}
    valid = [*(f.name for f in fields(Params) if f.name != "settings"), *sections]
    for key in values:
        if key not in valid:
            raise UserError(f"{where}: unknown key {shown(key)}; valid: {', '.join(valid)}")
    settings = {
        evaluated.name: read_record(evaluated.settings, values[section], where=f"{where}.{section}")
        for section, evaluated in sections.items()
        if section in values
    }
    plain = {key: value for key, value in values.items() if key not in sections}
    return read_record(Params, {**plain, "settings": settings}, where=where)


def load_params(path: Path) -> Params:
    """The validated parameters in `path`."""
    return read_params(read_yaml(path), where=path.name)


def shared_texts(evaluated: Eval, params: Params) -> str | None:
    """Which data sets of the eval label the same texts, in a sentence; None where none do."""
    by_texts: dict[str, list[str]] = {}
    for data_set in evaluated.data(params.settings_of(evaluated)):
        described = params.data_sets.get(data_set.name)
        texts = data_set.texts if described is None else described.repo
        if texts is not None:
            by_texts.setdefault(texts, []).append(data_set.name)
    several = [" and ".join(names) for names in by_texts.values() if len(names) > 1]
    if not several:
        return None
    return (
        f"{evaluated.name}: {'; '.join(several)} label texts of the same source, and may share some; intervals of the "
        "mean over data sets take them for independent"
    )
