"""Dashboards: what a latent does on text, for people to look at; it measures nothing.

Of each SAE the latents that other evals single out, and a sample drawn by density: how often each fires, how its codes
are spread, where they are largest and where not, which output tokens its atom promotes, which atoms are like it.

Sign policy: codes keep their sign; the largest are those of the largest magnitude.

Such views of latents: Cunningham et al. 2023, https://arxiv.org/abs/2309.08600
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from sae_research.evals.base import INTERPOLATES_HERE, DataSet, Eval, EvalContext, Outcome
from sae_research.evals.dashboards.settings import DashboardsSettings
from sae_research.evals.shared.text_data import text_data

if TYPE_CHECKING:
    from sae_research.saes.base import Sae


def data(settings: DashboardsSettings) -> list[DataSet]:
    """The running text."""
    return [text_data("dataset", settings.dataset)]


def run(context: EvalContext, saes: Sequence[Sae], settings: DashboardsSettings) -> Iterator[Outcome]:
    """One pass of the language model for all SAEs, which share a site."""
    from sae_research.evals.dashboards.measure import measure_dashboards

    yield from measure_dashboards(context, saes, settings)


def leaves_out(settings: DashboardsSettings, sae: str) -> bool:
    """Whether the SAE of that name is to have no dashboards."""
    return any(fnmatchcase(sae, pattern) for pattern in settings.leave_out)


DASHBOARDS = Eval(
    name="dashboards",
    section="dashboards",
    settings=DashboardsSettings,
    specs=(INTERPOLATES_HERE,),
    data=data,
    run=run,
    looks_closer=True,
    leaves_out=leaves_out,
    chooses_saes=frozenset({"leave_out"}),
    has_own_stage=True,
    takes={"texts": "dataset"},
)
