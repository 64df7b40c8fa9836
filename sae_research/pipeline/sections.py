"""The sections of `params.yaml` that no eval owns, each a frozen record: model, SAEs, controls, kept activations."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from sae_research.errors import UserError
from sae_research.foreign import plain_name, shown
from sae_research.formats.aliases import published_sae
from sae_research.lm.site import Site
from sae_research.records import at_least, distinct
from sae_research.training.settings import TrainSettings, read_settings

Dtype = Literal["float32", "bfloat16", "float16"]
Atoms = Literal["random", "raw", "pca"]
FILES_KEY = "comparison_saes: files"
"""Where an expression over the files of a repository stands, for messages."""


@dataclass(frozen=True)
class ModelParams:
    """The language model."""

    name: str
    """A Hub id, a local folder, or `embedded/lm`."""
    torch_dtype: Dtype = "float32"
    revision: str | None = None
    """A branch, tag or commit on the Hub; null: the default branch, resolved once by `setup`."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:N`; does not change what is computed."""
    llm_batch_size: int = 32
    """Sequences per language-model batch; does not change what is computed."""
    tf32: bool = False
    """Whether GPUs multiply float32 matrices, those of SAEs among them, in TF32: faster, with a mantissa of 10 bits."""

    def __post_init__(self) -> None:
        at_least(self, llm_batch_size=1)
        kind, _, index = self.device.partition(":")
        if kind not in {"auto", "cpu", "cuda"} or (index and not (kind == "cuda" and re.fullmatch("[0-9]+", index))):
            raise ValueError(f"device is {shown(self.device)}; valid: auto, cpu, cuda, cuda:N")


@dataclass(frozen=True)
class BaselineSae:
    """The SAE that the variants are derived from: a checkpoint, or one that `setup` trains."""

    repo_id: str | None = None
    """A Hub id, a local folder, or `embedded/<name>`."""
    filename: str | None = None
    """The checkpoint in it: a file (`.../ae.pt`) or a folder in SAELens layout."""
    hook_layer: int = field(kw_only=True)
    revision: str | None = None
    hook_name: str | None = None
    """Where it reads, such as `blocks.4.hook_resid_post`, if its files do not say so; it may not contradict them."""
    model_name: str | None = None
    """The model that it was trained on, if its files do not say so."""
    k: int | None = None
    """How many of its latents fire at a time, if its files do not say so or offer several k."""
    train: Mapping[str, Any] | None = None
    """Settings of a training, see `training.settings`."""

    def __post_init__(self) -> None:
        at_least(self, hook_layer=0)
        _check_stated(self)
        is_checkpoint = self.repo_id is not None and self.filename is not None
        if is_checkpoint == (self.train is not None):
            raise ValueError("give either repo_id and filename, or train")
        if self.train is not None and stated(self):
            raise ValueError(f"{', '.join(stated(self))}: train says so itself; remove it")
        if len(self.trainings) > 1:
            raise ValueError(f"train describes {len(self.trainings)} SAEs, expected one: it is the only baseline")

    @property
    def trainings(self) -> tuple[TrainSettings, ...]:
        """The SAE that is to be trained, if it is."""
        return () if self.train is None else read_settings(self.train, where="train")

    @property
    def shown(self) -> str:
        """What it is called in messages."""
        return f"{self.repo_id}/{self.filename}" if self.train is None else f"trained {self.trainings[0].title}"


@dataclass(frozen=True)
class ComparisonSae:
    """SAEs to compare with: one checkpoint (`repo_id` and `filename`), all checkpoints of a repository or folder whose
    path a regular expression matches in full (`repo_id` and `files`), a published SAE by its short name (`alias`), all
    SAEs of SAELens' registry that two match in full (`release` and `sae_id`), or SAEs that `setup` trains (`train`)."""

    repo_id: str | None = None
    filename: str | None = None
    files: str | None = None
    """The path that it matches is what `filename` would be: that of a file, or of a folder with `cfg.json`."""
    revision: str | None = None
    alias: str | None = None
    """One of the names in `formats/aliases.py`: `py_4k_btopk_s0`, `gscope_16k_l0_44`. The SAE is then called so."""
    release: str | None = None
    sae_id: str | None = None
    train: Mapping[str, Any] | None = None
    """Settings of a training, see `training.settings`; with a list `saes` in it, of several on the same text."""
    label: str | None = None
    """What tables and plots call its architecture (default: the architecture's name), and how its own name starts.
    Changing it re-runs no eval."""
    control: bool = False
    """Whether these SAEs learned nothing that a metric should reward (random atoms, PCA): the audit asks of every
    metric that they fall below all others. Re-runs no eval."""
    hook_name: str | None = None
    """As in `BaselineSae`; of a checkpoint that holds several SAEs it picks one."""
    model_name: str | None = None
    """As in `BaselineSae`."""
    k: int | None = None
    """As in `BaselineSae`; null: every k that the checkpoint offers, one SAE each."""

    def __post_init__(self) -> None:
        if self.label is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{,99}", self.label):
            raise ValueError(
                f"label is {shown(self.label)}, expected letters, digits, dots, dashes and underscores, at most 100"
            )
        checkpoints = self.repo_id is not None and (self.filename is None) != (self.files is None)
        registry = self.release is not None and self.sae_id is not None
        named = [(self.repo_id, self.filename, self.files), (self.alias,), (self.release, self.sae_id), (self.train,)]
        kinds = sum(any(part is not None for part in parts) for parts in named)
        if kinds != 1 or not (checkpoints or registry or self.alias is not None or self.trainings):
            raise ValueError(
                "give either repo_id and filename, or repo_id and files, or release and sae_id, or alias, or train"
            )
        if self.revision is not None and self.repo_id is None and self.alias is None:
            raise ValueError("revision is that of a repository; it goes with repo_id or alias")
        if self.alias is not None:
            published_sae(self.alias)
        if not checkpoints and stated(self):
            raise ValueError(f"{', '.join(stated(self))}: only a checkpoint's files may lack it; remove it")
        _check_stated(self)

    @property
    def named(self) -> tuple[str | int | None, ...]:
        """What determines which SAEs these are."""
        if self.alias is not None:
            return self.written_out.named
        trained = None if self.train is None else repr(self.trainings)
        checkpoint = (self.repo_id, self.filename, self.files, self.revision, self.hook_name, self.k)
        return *checkpoint, self.release, self.sae_id, trained

    @property
    def written_out(self) -> ComparisonSae:
        """The same entry with repository and file in place of a short name."""
        if self.alias is None:
            return self
        published = published_sae(self.alias)
        return replace(self, alias=None, repo_id=published.repo_id, filename=published.filename)

    @property
    def trainings(self) -> tuple[TrainSettings, ...]:
        """The SAEs that are to be trained."""
        return () if self.train is None else read_settings(self.train, where="train")


def stated(entry: BaselineSae | ComparisonSae) -> dict[str, str | int]:
    """What the entry states of its SAE beside where it lies."""
    values = {"hook_name": entry.hook_name, "model_name": entry.model_name, "k": entry.k}
    return {key: value for key, value in values.items() if value is not None}


def _check_stated(entry: BaselineSae | ComparisonSae) -> None:
    """ValueError where what the entry states can be of no SAE."""
    if entry.k is not None:
        at_least(entry, k=1)
    try:
        if entry.hook_name is not None:
            Site.parse(entry.hook_name)
        if entry.model_name is not None:
            plain_name(entry.model_name.lstrip("/.~"), "model_name")
    except UserError as error:
        raise ValueError(str(error)) from error


@dataclass(frozen=True)
class ControlParams:
    """The controls that `setup` makes: encoders on atoms that learned nothing.

    `random`: unit vectors. `raw`: activations of a text, seen from the baseline's `b_dec`. `pca`: their principal
    directions.
    """

    dataset: str
    """The text of `raw` and `pca`: a hub id, a local folder, or `embedded/<name>`. No eval should read the same."""
    split: str = "train"
    first_text: int = 0
    """How many of its texts are passed over."""
    context_size: int = 128
    """Tokens per sequence, the leading BOS included."""
    n_sequences: int = 256
    """Sequences that the language model reads, as many as hold at least one token for each latent of the baseline."""
    variant_atoms: tuple[Atoms, ...] = ("random", "raw")
    """The atoms that the encoder of each variant is combined with."""
    topk_atoms: tuple[Atoms, ...] = ("random", "raw", "pca")
    """The atoms that TopK is combined with."""
    topk_k: int = 16

    def __post_init__(self) -> None:
        at_least(self, first_text=0, context_size=2, n_sequences=1, topk_k=1)
        distinct(self, "variant_atoms", "topk_atoms", may_be_empty=True)


@dataclass(frozen=True)
class ActivationCaching:
    """Whether the language model's activations are kept on disk between runs; changes no number."""

    save_activations: bool = False
    max_gigabytes: float = 20.0
    """Size of the cache; the least recently used activations go first."""

    def __post_init__(self) -> None:
        if not self.max_gigabytes > 0:
            raise ValueError(f"max_gigabytes is {self.max_gigabytes}, expected more than 0")


@dataclass(frozen=True)
class ExecutionParams:
    """Where cells are computed, and how many SAEs share a pass of the language model."""

    executor: Literal["local", "ray"] = "local"
    """`local`: this process. `ray`: the workers of a Ray cluster, for `python -m sae_research fill` alone."""
    address: str | None = None
    """The Ray cluster's, `host:port`, or `auto` on one of its machines."""
    gpus_per_worker: float = 1.0
    """GPUs that a worker of the cluster takes; a fraction shares a card, whose memory nothing then divides."""
    group_gigabytes: float = 4.0
    """Gigabytes of SAEs that share a pass. With the SAEs it fixes who is measured together, whatever the machine."""

    def __post_init__(self) -> None:
        for name in ("gpus_per_worker", "group_gigabytes"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected more than 0")
