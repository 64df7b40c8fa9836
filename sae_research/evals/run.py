"""The one way to run an eval: groups SAEs by site and turns outcomes into results."""

from __future__ import annotations

import platform
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any, NamedTuple

import torch

from sae_research.errors import UserError
from sae_research.evals.base import Eval, EvalContext, Run
from sae_research.evals.keys import key_of, plain
from sae_research.lm.checks import check_site
from sae_research.lm.site import Site
from sae_research.measurements import Result
from sae_research.saes.base import Sae
from sae_research.saes.kernels import pursuit, screening

_PROMPT = 64
"""Tokens on which a site is checked for evals whose settings name no length: those that read prompts."""
_LIBRARIES = ("torch", "transformers", "numpy", "scikit-learn", "sae-lens", "sae-bench")


class Measured(NamedTuple):
    """One SAE's result, or the error that stopped it while the other SAEs went on."""

    sae: Sae
    result: Result | None
    error: Exception | None


def run_eval(
    context: EvalContext,
    evaluated: Eval,
    settings: Any,
    saes: Sequence[Sae],
    *,
    parts: Callable[[Sae], Mapping[str, Any]],
    run: Run | None = None,
) -> Iterator[Measured]:
    """One result per SAE; the language model runs once for all SAEs of a site, or of all sites where the eval says so.

    `parts` returns the parts of the key of an SAE's result. `run` replaces the eval's own function; SAEBench's
    implementation is run that way.
    """
    try:
        evaluated.check(settings, context.seed)
    except ValueError as error:
        raise UserError(str(error)) from error
    by_site: dict[Site, list[Sae]] = defaultdict(list)
    for sae in saes:
        by_site[sae.card.site].append(sae)
    versions = library_versions() | kernels_in_use(context.lm.device)
    together = evaluated.sites_together and run is None
    for sites in [list(by_site)] if together else [[site] for site in by_site]:
        group: list[Sae] = []
        for site in sites:
            try:
                check_site(context.lm, site, length=getattr(settings, "context_size", _PROMPT))
            except UserError as error:
                yield from (Measured(sae, None, error) for sae in by_site[site])
            else:
                group += by_site[site]
        for sae, output, error in (run or evaluated.run)(context, group, settings) if group else ():
            if output is None:
                yield Measured(sae, None, error)
                continue
            key_parts = parts(sae)
            result = Result(
                key=key_of(key_parts),
                eval_name=evaluated.name,
                sae=sae.describe(),
                settings=plain(settings),
                key_parts=key_parts,
                output=output,
                versions=versions,
            )
            yield Measured(sae, result, None)


def kernels_in_use(device: torch.device) -> dict[str, str]:
    """By C++ kernel whether it works on `device`, or plain PyTorch, whose last digits differ, takes its place."""
    compiled = {"pursuit": pursuit.library, "screening": screening.library}
    return {
        f"kernel {name}": "compiled" if device.type == "cpu" and library() is not None else "plain"
        for name, library in compiled.items()
    }


def library_versions() -> dict[str, str]:
    """The versions of the installed libraries that numbers depend on."""
    versions = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
