"""An eval for drills: its number is the SAE's width, if nothing happens to whoever measures it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sae_research.evals.drill.settings import DrillSettings  # pyright: ignore[reportMissingImports]

from sae_research.errors import UserError
from sae_research.evals.base import DataSet, Eval, EvalContext, Outcome
from sae_research.judges.access import Wanted
from sae_research.judges.asking import ask
from sae_research.judges.estimates import Asks
from sae_research.judges.names import read_name
from sae_research.judges.records import Message, Request, Sampling, Unanswered
from sae_research.measurements import EvalOutput, Measurement, MetricSpec

if TYPE_CHECKING:
    from sae_research.saes.base import Sae

FLUSH = os.fsync


def data(settings: DrillSettings) -> list[DataSet]:
    """None."""
    return []


def asks(settings: DrillSettings) -> list[Asks]:
    """One word for each SAE."""
    return [Asks("words", Sampling(8), windows=0, per_sae=1)] if settings.judge else []


def run(context: EvalContext, saes: Sequence[Sae], settings: DrillSettings) -> Iterator[Outcome]:
    """The width of every SAE, one after the other."""
    import torch

    if len(saes) > settings.most:
        raise torch.OutOfMemoryError(f"{len(saes)} SAEs")
    slow_down_the_disk(settings.flush_seconds)
    for sae in saes:
        time.sleep(settings.seconds)
        if sae.card.name == settings.poison:
            os.kill(os.getpid(), signal.SIGKILL)
        if sae.card.name == settings.needs:
            yield Outcome(sae, None, torch.OutOfMemoryError("this one"))
            continue
        refusal = ask_about(sae, context, settings.judge) if settings.judge else None
        if refusal is not None:
            yield Outcome(sae, None, UserError(refusal))
        else:
            yield Outcome(sae, EvalOutput((Measurement("width", float(sae.card.d_sae)),)), None)


def slow_down_the_disk(seconds: float) -> None:
    """Has this process wait so long whenever it flushes a file."""
    os.fsync = lambda file: (time.sleep(seconds), FLUSH(file))[1]


def ask_about(sae: Sae, context: EvalContext, judge: str) -> str | None:
    """Why the judge gave no answer, if it did not."""
    assert context.judges is not None
    access = context.judges
    opened = access.open(
        Wanted(
            name=read_name(judge), revision=None, hub=context.hub, device="cpu", batch_size=1, reading=lambda: (),
            reading_parts={},
        )
    )  # fmt: skip
    request = Request((Message("user", f"What is {sae.card.name}?"),), 8)
    [outcome] = ask(opened, [request], access.store_of(opened), access.ledger_of(opened), context.progress).outcomes
    return outcome.reason if isinstance(outcome, Unanswered) else None


DRILL = Eval(
    name="drill",
    section="drill",
    settings=DrillSettings,
    specs=(MetricSpec("width", "width", "", "neither", "Width", headline=True),),
    data=data,
    run=run,
    asks=asks,
)
