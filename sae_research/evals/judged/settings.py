"""Settings that all evals with a judge have: the text, the latents, who judges, and how fit that judge must be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Literal

from sae_research.errors import UserError
from sae_research.evals.base import DataSet
from sae_research.evals.shared.text_data import text_data
from sae_research.evals.windows.size import BUFFER
from sae_research.judges.names import JudgeName, provider_module, read_name
from sae_research.records import at_least
from sae_research.sources.hub import Hub

Negatives = Literal["silent", "sae_bench"]


@dataclass(frozen=True, kw_only=True)
class ExampleSettings:
    """Where examples are looked for, and of which latents."""

    dataset: str
    """The text: a Hub id, a local folder, or `embedded/<name>`."""
    split: str = "test"
    """Its split; corpora on the Hub without a test split have only `train`."""
    n_rows: int = 2000
    """Rows of `context_size` tokens in which latents fire or do not; SAEBench reads 2 M tokens, 15,625 rows of 128."""
    context_size: int = 128
    """Tokens per row, the leading BOS included."""
    n_latents: int = 200
    """Latents of each SAE: the first of a drawn order that have examples. A latent without is passed over, with its
    reason. An SAE's mean sensitivity is known to about ± .035 with 200, ± .07 with 50."""
    min_firings: int = 15
    """A latent needs more firings than that, as in SAEBench; otherwise it counts as dead."""
    negatives: Negatives = "silent"
    """`silent`: windows without examples are such in which the latent is silent, and a latent that has none of them is
    passed over. `sae_bench`: any windows, as SAEBench has them; many of a dense latent's do fire."""


def check_examples(settings: ExampleSettings) -> None:
    """ValueError unless there can be windows in the text, and something to look for."""
    at_least(settings, n_rows=1, context_size=2 * BUFFER + 1, n_latents=1, min_firings=0)


@dataclass(frozen=True)
class JudgeReading:
    """The text that the rule judge has read, which must not be what the eval reads."""

    dataset: str
    split: str = "train"
    first_text: int = 0
    """How many of its texts are passed over."""
    n_texts: int = 6000
    """At most."""

    def __post_init__(self) -> None:
        at_least(self, first_text=0, n_texts=1)


@dataclass(frozen=True, kw_only=True)
class JudgedSettings:
    """The part of an eval's section that is about its judge."""

    judge: str = "rules"
    """`rules`, or `<provider>:<model>`: `openai:gpt-4o-mini`, `transformers:<model>`, `replay:openai:gpt-4o-mini`."""
    judge_revision: str | None = None
    """Of a model that runs in this process: a branch, tag or commit on the Hub."""
    reading: JudgeReading | None = None
    """What the judge `rules` has read; other judges do not need it."""
    min_judge_gold: float = 0.9
    """A judge whose score on latents that are one word each is below this is not fit: there are no scores."""
    max_unanswered: float = 0.1
    """Nor is one that leaves more than this share of latents without an answer that can be read."""

    def __post_init__(self) -> None:
        named = read_name(self.judge)
        if named.provider == "rules" and self.reading is None:
            raise ValueError(
                "judge 'rules' must have read some text: name it in reading, e.g. {dataset: embedded/text, split: "
                "train} in the embedded world, or other text than this eval reads"
            )
        if self.judge_revision is not None and named.original.provider != "transformers":
            raise ValueError(f"judge_revision is of a model in this process (transformers:<model>), not of {named}")
        for name in ("min_judge_gold", "max_unanswered"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 to 1")

    @property
    def judge_name(self) -> JudgeName:
        """`judge`, taken apart."""
        return read_name(self.judge)

    def refuse_reading_of(self, dataset: str, split: str) -> None:
        """ValueError where the rule judge would have read what the eval reads."""
        reading = self.reading
        if self.judge_name.provider != "rules" or reading is None or reading.first_text > 0:
            return
        if (reading.dataset, reading.split) == (dataset, split):
            raise ValueError(
                f"the judge must not have read what is measured ({dataset}, split {split!r}); name another split or "
                "data set in reading, or pass over the texts that the eval reads (reading.first_text)"
            )


def judge_data(settings: JudgedSettings) -> list[DataSet]:
    """What determines the judge's answers beside its code: the rule judge's reading, or a model in this process."""
    named, reading = settings.judge_name.original, settings.reading
    if named.provider == "rules" and reading is not None:
        return [text_data("reading.dataset", reading.dataset)]
    if named.provider == "transformers":
        revision = settings.judge_revision
        return [DataSet("judge", named.model, lambda hub: hub.model_revision(named.model, revision=revision))]
    return []


def judge_modules(settings: JudgedSettings) -> Sequence[str]:
    """The judge's code, which is found by its name."""
    return [provider_module(settings.judge_name)]


def read_documents(hub: Hub, reading: JudgeReading) -> list[str]:
    """The texts that the rule judge has read."""
    from sae_research.data.text import load_texts

    texts = load_texts(hub, reading.dataset, reading.split)
    documents = list(islice(texts, reading.first_text, reading.first_text + reading.n_texts))
    if not documents:
        raise UserError(
            f"reading: {reading.dataset}, split {reading.split!r}, has no text after the first {reading.first_text}"
        )
    return documents


def reading_parts(reading: JudgeReading | None) -> dict[str, object]:
    """What determines them."""
    return {} if reading is None else asdict(reading)
