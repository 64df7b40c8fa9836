"""What an SAE is trained on and how, in the names of SAELens' own runner where it has one. Needs no torch."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, NamedTuple

from sae_research.errors import UserError
from sae_research.foreign import shown
from sae_research.lm.site import Site
from sae_research.records import at_least, read_record

Normalisation = Literal["none", "expected_average_only_in", "layer_norm", "covariance_whitening"]
Schedule = Literal["constant", "cosineannealing", "cosineannealingwarmrestarts"]

_SPARSITY = ("k", "l1_coefficient", "l0_coefficient", "target_l0", "residual_threshold")
"""The options that decide how sparse an SAE becomes."""
_WITHOUT_INFLUENCE = ("name", "checkpoint_every")
"""Settings that change nothing in the SAE."""


@dataclass(frozen=True)
class TrainSettings:
    """One SAE. SAEs that share the settings in `Text` are trained on the same batches, in one pass of the model."""

    architecture: str
    """SAELens' name of it: `standard`, `topk`, `batchtopk`, `jumprelu`, `gated`, ..."""
    dataset: str
    """The text: a Hub id, a local folder, or `embedded/<name>`. No eval should read the same."""
    training_tokens: int
    """Activations that the SAE sees; the last batch is a whole one, as in SAELens."""
    layer: int | None = None
    """Short for `hook_name: blocks.<layer>.hook_resid_post`."""
    hook_name: str | None = None
    """Where in the model the SAE reads."""
    d_sae: int | None = None
    """Latents."""
    expansion_factor: int | None = None
    """Latents per dimension of the activations, in place of `d_sae`."""
    split: str = "train"
    first_text: int = 0
    """How many texts of the split are passed over."""
    context_size: int = 128
    """Tokens per row, the leading BOS included."""
    prepend_bos: bool = True
    """Whether rows begin with BOS. Its activation is never trained on, nor are those of EOS and padding."""
    store_batch_size_prompts: int = 32
    """Rows that the language model reads at once."""
    n_batches_in_buffer: int = 20
    """Such batches in the buffer from which activations are drawn in random order."""
    outlier_norm: float | None = None
    """Activations whose norm is more than so many times the median are left out; null: none."""
    train_batch_size_tokens: int = 4096
    normalize_activations: Normalisation = "expected_average_only_in"
    """`expected_average_only_in` scales all activations by one factor, to a mean norm of sqrt(d_in)."""
    lr: float = 3e-4
    lr_scheduler_name: Schedule = "constant"
    lr_warm_up_steps: int = 0
    lr_decay_steps: int = 0
    """Steps at the end in which the learning rate falls to 0."""
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    dead_feature_window: int = 1000
    """Steps without firing after which a latent is dead: TopK's auxiliary loss revives those."""
    autocast: bool = False
    """Whether products are computed in bfloat16."""
    seed: int = 42
    """Seeds the SAE's initial weights and the order of activations."""
    name: str | None = None
    """What the SAE is called; default: its architecture and options."""
    checkpoint_every: int = 1000
    """Steps from one checkpoint to the next; a killed training goes on from the last. 0: none."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """SAELens' own settings of the architecture: `k`, `l1_coefficient`, `l0_coefficient`, ..."""

    def __post_init__(self) -> None:
        at_least(
            self, training_tokens=1, first_text=0, context_size=2, store_batch_size_prompts=1, n_batches_in_buffer=1,
            train_batch_size_tokens=1, lr_warm_up_steps=0, lr_decay_steps=0, dead_feature_window=1, checkpoint_every=0,
            seed=0,
        )  # fmt: skip
        for one, other in (("layer", "hook_name"), ("d_sae", "expansion_factor")):
            if (getattr(self, one) is None) == (getattr(self, other) is None):
                raise ValueError(f"give either {one} or {other}")
        for name in ("layer", "d_sae", "expansion_factor"):
            if getattr(self, name) is not None:
                at_least(self, **{name: 0 if name == "layer" else 1})
        if not 0 < self.lr < math.inf:
            raise ValueError(f"lr is {self.lr}, expected more than 0")
        if self.outlier_norm is not None and not self.outlier_norm > 1:
            raise ValueError(
                f"outlier_norm is {self.outlier_norm}, expected more than 1: it is a multiple of the median"
            )
        if self.name is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{,99}", self.name):
            raise ValueError(f"name is {shown(self.name)}, expected letters, digits, dots, dashes and underscores")
        if self.lr_warm_up_steps + self.lr_decay_steps > self.steps:
            raise ValueError(f"lr_warm_up_steps and lr_decay_steps exceed the {self.steps} steps of the training")
        _ = self.place  # refuses what names no hook

    @property
    def place(self) -> str:
        """The hook's name, the same for all that the site can be called."""
        return Site.parse(self.hook_name or f"blocks.{self.layer}.hook_resid_post").hook_name

    @property
    def steps(self) -> int:
        """Training steps, each on a whole batch."""
        return math.ceil(self.training_tokens / self.train_batch_size_tokens)

    @property
    def tokens(self) -> int:
        """Activations in all of these steps."""
        return self.steps * self.train_batch_size_tokens

    @property
    def buffer_size(self) -> int:
        """Activations in the buffer; at least two batches, of which one can be served."""
        whole = self.n_batches_in_buffer * self.store_batch_size_prompts * self.context_size
        return max(whole, 2 * self.train_batch_size_tokens)

    @property
    def title(self) -> str:
        """The SAE's name: the one given, or its architecture with what makes it sparse."""
        shown = [f"{key}{_plain(self.options[key])}" for key in _SPARSITY if key in self.options]
        return self.name or "_".join([self.architecture, *shown])

    def width(self, d_in: int) -> int:
        """Latents, for activations of `d_in` dimensions."""
        return self.d_sae if self.d_sae is not None else d_in * (self.expansion_factor or 1)

    @property
    def text(self) -> Text:
        """What decides which batches it is trained on."""
        return Text(self.place, *(getattr(self, name) for name in Text._fields[1:]))

    def influential(self, d_in: int) -> dict[str, Any]:
        """All that decides what comes out, as JSON values."""
        left_out = {*_WITHOUT_INFLUENCE, "layer", "expansion_factor"}
        values = {key: value for key, value in dataclasses.asdict(self).items() if key not in left_out}
        return {**values, "hook_name": self.place, "d_sae": self.width(d_in)}


class Text(NamedTuple):
    """What decides the batches of a training, and how many there are."""

    place: str
    dataset: str
    split: str
    first_text: int
    context_size: int
    prepend_bos: bool
    store_batch_size_prompts: int
    n_batches_in_buffer: int
    outlier_norm: float | None
    train_batch_size_tokens: int
    training_tokens: int
    seed: int


def _plain(value: Any) -> str:
    """The value as a part of a name."""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-")


SETTINGS = tuple(f.name for f in fields(TrainSettings) if f.name != "options")
"""The keys that are the same for all architectures."""


def read_settings(values: object, *, where: str) -> tuple[TrainSettings, ...]:
    """The SAEs that a mapping describes: one, or with a list `saes`, of which each adds to the rest, several.

    A key that is no setting of ours is an option of the architecture, which SAELens checks when the SAE is built.
    """
    if not isinstance(values, Mapping):
        raise UserError(f"{where}: got {shown(values)}, expected a mapping with {', '.join(SETTINGS)}, saes")
    shared = {key: value for key, value in values.items() if key != "saes"}
    if "saes" not in values:
        return (_read_one(shared, where=where),)
    each = values["saes"]
    if isinstance(each, str) or not isinstance(each, list | tuple) or not each:
        raise UserError(f"{where}.saes: got {shown(each)}, expected a list of mappings")
    read = []
    for index, more in enumerate(each):
        if not isinstance(more, Mapping):
            raise UserError(f"{where}.saes[{index}]: got {shown(more)}, expected a mapping")
        read.append(_read_one({**shared, **more}, where=f"{where}.saes[{index}]"))
    return tuple(read)


def _read_one(values: Mapping[str, Any], *, where: str) -> TrainSettings:
    known = {key: value for key, value in values.items() if key in SETTINGS}
    options = {str(key): value for key, value in values.items() if key not in SETTINGS}
    return read_record(TrainSettings, {**known, "options": options}, where=where)
