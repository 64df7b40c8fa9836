"""`params.yaml`, read as DVC reads it (YAML 1.2) into frozen typed records; a mistake anywhere in it fails at once."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from sae_research.data.labelled import require_name
from sae_research.data.paired import require_crossed
from sae_research.errors import UserError
from sae_research.evals.absorption import AbsorptionSettings
from sae_research.evals.core import CoreSettings
from sae_research.evals.ravel import RavelSettings
from sae_research.evals.scr import ScrSettings
from sae_research.evals.sparse_probing import SparseProbingSettings
from sae_research.evals.tpp import TppSettings
from sae_research.evals.unlearning import UnlearningSettings
from sae_research.hub import WORLD_PREFIX
from sae_research.plots.settings import VisualizationSettings
from sae_research.records import read_record
from sae_research.reference.registry import Engine, require_offered
from sae_research.world.settings import WorldSettings

Dtype = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class ModelParams:
    """The language model."""

    name: str
    """A hub id, a local folder, or `embedded/lm`."""
    torch_dtype: Dtype = "float32"
    revision: str | None = None
    """A hub branch, tag or commit; null: the hub's default branch, resolved once by `setup`."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:N`; never changes what is computed."""
    llm_batch_size: int = 32
    """Sequences per language-model batch; never changes what is computed."""

    def __post_init__(self) -> None:
        if self.llm_batch_size < 1:
            raise ValueError(f"llm_batch_size is {self.llm_batch_size}, expected at least 1")
        kind, _, index = self.device.partition(":")
        if kind not in {"auto", "cpu", "cuda"} or (index and not (kind == "cuda" and index.isdigit())):
            raise ValueError(f"device is {self.device!r}; valid: auto, cpu, cuda, cuda:N")


@dataclass(frozen=True)
class BaselineSae:
    """The SAE that the variants are derived from."""

    repo_id: str
    """A hub id, a local folder, or `embedded/<name>`."""
    filename: str
    """The checkpoint in it: a file (`.../ae.pt`) or a folder in SAELens layout."""
    hook_layer: int
    revision: str | None = None

    def __post_init__(self) -> None:
        if self.hook_layer < 0:
            raise ValueError(f"hook_layer is {self.hook_layer}, expected at least 0")


def _require_positive(name: str, values: tuple[int, ...]) -> None:
    bad = [value for value in values if value < 1]
    if bad:
        raise ValueError(f"{name} holds {bad}, expected whole numbers of at least 1")
    if len(set(values)) != len(values):
        raise ValueError(f"{name} holds a value twice: {list(values)}")


Wanted = tuple[str, dict[str, Any]]
"""A variant: its architecture and hyper-parameters."""


@dataclass(frozen=True)
class IhtpParams:
    """Instance-level hard thresholding pursuit on the baseline's dictionary; one variant for each combination."""

    enabled: bool = True
    k_values: tuple[int, ...] = ()
    """Atoms that each token adds to its support."""
    supports: tuple[Literal["sequence", "causal", "token"], ...] = ("sequence",)
    """Whose atoms a token gets: those of its whole sequence (the seed's), of the tokens up to it, its own."""
    nonneg: tuple[bool, ...] = (False,)
    """Whether codes must not be negative."""

    def __post_init__(self) -> None:
        _require_positive("k_values", self.k_values)

    def wanted(self) -> list[Wanted]:
        architectures = {"sequence": "ihtp", "causal": "ihtp_causal", "token": "ihtp_token"}
        return [
            (architectures[support], {"k": k, **_flag(nonneg)})
            for support in self.supports
            for nonneg in self.nonneg
            for k in self.k_values
        ]


@dataclass(frozen=True)
class MpsaeParams:
    """Matching pursuit on the baseline's dictionary; one variant for each combination."""

    enabled: bool = True
    s_values: tuple[int, ...] = ()
    """Greedy steps per token."""
    nonneg: tuple[bool, ...] = (False,)
    """Whether codes must not be negative."""

    def __post_init__(self) -> None:
        _require_positive("s_values", self.s_values)

    def wanted(self) -> list[Wanted]:
        return [("mpsae", {"s": s, **_flag(nonneg)}) for nonneg in self.nonneg for s in self.s_values]


@dataclass(frozen=True)
class ShtpParams:
    """Simultaneous hard thresholding pursuit, iterated; one variant for each combination."""

    enabled: bool = True
    s_values: tuple[int, ...] = ()
    """Atoms of a sequence."""
    iters: int = 10
    """Rounds of choice and fit, at most."""
    mu: float = 1.0
    """Length of the gradient step."""
    nonneg: tuple[bool, ...] = (False,)
    """Whether codes must not be negative."""

    def __post_init__(self) -> None:
        _require_positive("s_values", self.s_values)
        if self.iters < 1 or self.mu <= 0:
            raise ValueError(f"iters is {self.iters} and mu {self.mu}, expected at least 1 and more than 0")

    def wanted(self) -> list[Wanted]:
        fixed = {"iters": self.iters, "mu": self.mu}
        return [("shtp", {"s": s, **fixed, **_flag(nonneg)}) for nonneg in self.nonneg for s in self.s_values]


@dataclass(frozen=True)
class OmpParams:
    """Orthogonal matching pursuit on the baseline's dictionary."""

    enabled: bool = True
    s_values: tuple[int, ...] = ()
    """Atoms per token, at most; one variant each."""

    def __post_init__(self) -> None:
        _require_positive("s_values", self.s_values)

    def wanted(self) -> list[Wanted]:
        return [("omp", {"s": s}) for s in self.s_values]


def _flag(nonneg: bool) -> dict[str, Any]:
    return {"nonneg": True} if nonneg else {}


@dataclass(frozen=True)
class SaeVariants:
    """Encoders put on the baseline's dictionary."""

    ihtp: IhtpParams = field(default_factory=IhtpParams)
    mpsae: MpsaeParams = field(default_factory=MpsaeParams)
    shtp: ShtpParams = field(default_factory=ShtpParams)
    omp: OmpParams = field(default_factory=OmpParams)

    def wanted(self) -> list[Wanted]:
        """All variants that are switched on."""
        kinds = (self.ihtp, self.mpsae, self.shtp, self.omp)
        return [variant for kind in kinds if kind.enabled for variant in kind.wanted()]


@dataclass(frozen=True)
class ComparisonSae:
    """SAEs to compare with: one checkpoint (`repo_id` + `filename`), or all that two regular expressions name in
    SAELens' registry (`release` + `sae_id`, both matched in full)."""

    repo_id: str | None = None
    filename: str | None = None
    revision: str | None = None
    release: str | None = None
    sae_id: str | None = None
    label: str | None = None
    """What tables and plots call its architecture; default: its own. Its name starts with it. Re-runs no eval."""

    def __post_init__(self) -> None:
        if self.label is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.label):
            raise ValueError(f"label is {self.label!r}, expected letters, digits, dots, dashes and underscores")
        checkpoint = self.repo_id is not None and self.filename is not None
        registry = self.release is not None and self.sae_id is not None
        mixed = (self.repo_id or self.filename or self.revision) and (self.release or self.sae_id)
        if mixed or checkpoint == registry:
            raise ValueError("give either repo_id and filename, or release and sae_id")


@dataclass(frozen=True)
class EvalTypes:
    """Which evals run."""

    core: bool = True
    sparse_probing: bool = True
    absorption: bool = False
    scr: bool = False
    tpp: bool = False
    ravel: bool = False
    unlearning: bool = False


@dataclass(frozen=True)
class ActivationCaching:
    """Whether the language model's activations are kept on disk between runs; never changes a number."""

    save_activations: bool = False
    max_gigabytes: float = 20.0
    """Size of the cache; the least recently used activations go first."""

    def __post_init__(self) -> None:
        if self.max_gigabytes <= 0:
            raise ValueError(f"max_gigabytes is {self.max_gigabytes}, expected more than 0")


@dataclass(frozen=True)
class Params:
    """All of `params.yaml`."""

    random_seed: int
    model: ModelParams
    baseline_sae: BaselineSae
    engine: Engine = "native"
    """Who computes the evals: this package, or the official implementation on the same model, data and SAEs."""
    sae_variants: SaeVariants = field(default_factory=SaeVariants)
    comparison_saes: tuple[ComparisonSae, ...] = ()
    eval_types: EvalTypes = field(default_factory=EvalTypes)
    core_eval: CoreSettings = field(default_factory=CoreSettings)
    sparse_probing: SparseProbingSettings = field(default_factory=SparseProbingSettings)
    scr: ScrSettings = field(default_factory=ScrSettings)
    tpp: TppSettings = field(default_factory=TppSettings)
    absorption: AbsorptionSettings = field(default_factory=AbsorptionSettings)
    ravel: RavelSettings = field(default_factory=RavelSettings)
    unlearning: UnlearningSettings = field(default_factory=UnlearningSettings)
    activation_caching: ActivationCaching = field(default_factory=ActivationCaching)
    visualization: VisualizationSettings = field(default_factory=VisualizationSettings)
    world: WorldSettings = field(default_factory=WorldSettings)

    def __post_init__(self) -> None:
        for name in (*self.sparse_probing.dataset_names, *self.tpp.dataset_names):
            require_name(name)
        for name in self.scr.dataset_names:
            require_crossed(name)
        if self.engine == "sae_bench":
            for eval_type in fields(self.eval_types):
                if getattr(self.eval_types, eval_type.name):
                    require_offered(eval_type.name)
        if not self.model.name.startswith(WORLD_PREFIX):
            self._refuse_parts_of_the_world()

    def _refuse_parts_of_the_world(self) -> None:
        """The world is there for its own model only."""
        named = {
            "baseline_sae.repo_id": [self.baseline_sae.repo_id],
            "comparison_saes": [entry.repo_id for entry in self.comparison_saes],
            "core_eval.dataset": [self.core_eval.dataset] if self.eval_types.core else [],
            "sparse_probing.dataset_names": self.sparse_probing.dataset_names if self.eval_types.sparse_probing else [],
            "scr.dataset_names": self.scr.dataset_names if self.eval_types.scr else [],
            "tpp.dataset_names": self.tpp.dataset_names if self.eval_types.tpp else [],
            "ravel.dataset": [self.ravel.dataset] if self.eval_types.ravel else [],
            "unlearning": self.unlearning.data_sets if self.eval_types.unlearning else [],
        }
        for place, ids in named.items():
            inside = [name for name in ids if name is not None and name.startswith(WORLD_PREFIX)]
            if inside:
                raise ValueError(
                    f"{place} names {', '.join(inside)}, which goes with model.name {WORLD_PREFIX}lm alone, but "
                    f"model.name is {self.model.name}; give what goes with it, or use a profile (`profile NAME`)"
                )


def read_yaml(path: Path) -> Any:
    """The content of a YAML 1.2 file as plain objects, exactly as DVC sees it."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        with path.open(encoding="utf-8") as file:
            return YAML(typ="safe", pure=True).load(file)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; run this in the project's folder") from None
    except YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None


def load_params(path: Path) -> Params:
    """The validated parameters in `path`."""
    return read_record(Params, read_yaml(path), where=path.name)
