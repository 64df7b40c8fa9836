"""An eval for drills: its number is the SAE's width, if nothing happens to whoever measures it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sae_research.evals.drill.settings import DrillSettings  # pyright: ignore[reportMissingImports]

from sae_research.evals.base import DataSet, Eval, EvalContext, Outcome
from sae_research.measurements import EvalOutput, Measurement, MetricSpec

if TYPE_CHECKING:
    from sae_research.saes.base import Sae


def data(settings: DrillSettings) -> list[DataSet]:
    """None."""
    return []


def run(context: EvalContext, saes: Sequence[Sae], settings: DrillSettings) -> Iterator[Outcome]:
    """The width of every SAE, one after the other."""
    import torch

    if len(saes) > settings.most:
        raise torch.OutOfMemoryError(f"{len(saes)} SAEs")
    for sae in saes:
        time.sleep(settings.seconds)
        if sae.card.name == settings.poison:
            os.kill(os.getpid(), signal.SIGKILL)
        if sae.card.name == settings.needs:
            yield Outcome(sae, None, torch.OutOfMemoryError("this one"))
        else:
            yield Outcome(sae, EvalOutput((Measurement("width", float(sae.card.d_sae)),)), None)


DRILL = Eval(
    name="drill",
    section="drill",
    settings=DrillSettings,
    specs=(MetricSpec("width", "width", "", "neither", "Width", headline=True),),
    data=data,
    run=run,
)
