"""RAVEL: one run of the model represents the entities for all SAEs at all sites; masks are trained site by site."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial

import torch
from torch import Tensor

from sae_research.evals.base import EvalContext, Outcome
from sae_research.evals.ravel.candidates import Candidate
from sae_research.evals.ravel.entities import EntityPrompt
from sae_research.evals.ravel.pairs import PairSplit, draw_pairs
from sae_research.evals.ravel.prompts import Checker, Prompts, known_prompts, tokenize_prompts
from sae_research.evals.ravel.report import ClassHits, ravel_output
from sae_research.evals.ravel.represented import Represented, represent
from sae_research.evals.ravel.settings import Baseline, RavelSettings
from sae_research.evals.ravel.shared_runs import SharedRuns
from sae_research.evals.ravel.swaps import (
    Axes,
    MaskSwap,
    RotationSwap,
    Swap,
    WholeSwap,
    principal_axes,
    random_rotation,
)
from sae_research.evals.ravel.training import AttributeRun
from sae_research.evals.shared.attempts import Attempt
from sae_research.lm.site import Site
from sae_research.saes.base import Sae

Owner = Attempt | Baseline


def measure_ravel(
    context: EvalContext,
    saes: Sequence[Sae],
    prompts: Mapping[str, Sequence[EntityPrompt]],
    settings: RavelSettings,
) -> Iterator[Outcome]:
    """The outcome of every SAE on the prompts of each class of entities, those of one site after those of another."""
    by_site: dict[Site, list[Attempt]] = defaultdict(list)
    for sae in saes:
        by_site[sae.card.site].append(Attempt(sae))
    classes = {name: _EntityClass(context, by_site, name, items, settings) for name, items in prompts.items()}
    for site, attempts in by_site.items():
        hits: dict[Owner, dict[str, ClassHits]] = {owner: {} for owner in (*attempts, *settings.baselines)}
        with torch.no_grad():
            for name, entity_class in classes.items():
                for owner, class_hits in entity_class.run(site).items():
                    hits[owner][name] = class_hits
        baselines = {name: hits[name] for name in settings.baselines}
        for attempt in attempts:
            yield attempt.finish(partial(ravel_output, hits[attempt], baselines))


class _EntityClass:
    """All SAEs and baselines on one class of entities."""

    def __init__(
        self, context: EvalContext, attempts: Mapping[Site, Sequence[Attempt]], name: str,
        items: Sequence[EntityPrompt], settings: RavelSettings,
    ) -> None:  # fmt: skip
        self._context, self._attempts, self._settings = context, attempts, settings
        self._attributes = settings.attributes[name]
        self._keys = {seed: ("ravel", seed, settings.dataset, name) for seed in (context.seed, *settings.seeds)}
        self._asked = tokenize_prompts(context.lm, items, prepend_bos=settings.prepend_bos)
        self._runs = SharedRuns.of(context)
        self._checker = Checker(context.lm, settings.n_generated_tokens if settings.answer == "generation" else None)

    @cached_property
    def _prompts(self) -> Prompts:
        """Those that the model answers correctly, whichever site its run is resumed from."""
        site = next(iter(self._attempts))
        return known_prompts(self._context, site, self._asked, self._checker, n_entities=self._settings.top_n_entities)

    @cached_property
    def _splits(self) -> dict[int, dict[str, PairSplit]]:
        """By seed, the pairs of every attribute."""
        return {
            seed: {
                a: draw_pairs(self._prompts, a, [b for b in self._attributes if b != a], self._settings, key)
                for a in self._attributes
            }
            for seed, key in self._keys.items()
        }

    @cached_property
    def _represented(self) -> dict[Site, Represented]:
        """By site that is still to be run, the prompts as every SAE represents them."""
        splits = [split for by_attribute in self._splits.values() for split in by_attribute.values()]
        steps = sum(len(split.train) * self._settings.num_epochs + len(split.test) for split in splits)
        self._context.progress.expect(steps * len(self._attempts))
        return represent(self._context, self._prompts, self._attempts, [pairs for split in splits for pairs in split])

    def run(self, site: Site) -> dict[Owner, ClassHits]:
        """The hits of each SAE and baseline at `site` on the test pairs of every attribute; once for each site."""
        x, latents = self._represented.pop(site)
        hits: dict[Owner, ClassHits] = {
            owner: ClassHits(self._prompts, len(self._asked.items), {seed: {} for seed in self._splits})
            for owner in (*latents, *self._settings.baselines)
        }
        for seed, splits in self._splits.items():
            # Baselines of a class share their axes; each attribute learns anew.
            axes = self._axes(x, self._keys[seed])
            for attribute, split in splits.items():
                candidates: list[Candidate] = [Candidate(MaskSwap(f), attempt=a) for a, f in latents.items()]
                candidates += [Candidate(self._swap(name, x, axes), name=name) for name in self._settings.baselines]
                run = AttributeRun(
                    self._context, site, self._prompts, self._checker, self._settings, candidates, runs=self._runs
                )
                for candidate, swap_hits in run.run(split).items():
                    owner: Owner = candidate.attempt or candidate.name  # type: ignore[assignment]
                    hits[owner].draws[seed][attribute] = swap_hits
        return hits

    def _axes(self, x: Tensor, key: tuple[str | int, ...]) -> dict[str, Tensor]:
        """The fixed axes of baselines; principal ones of what may be seen in training."""
        is_seen = [self._settings.split != "entity" or not prompt.held_out for prompt in self._prompts.items]
        width, device = x.shape[1], x.device
        axes = {"neurons": torch.eye(width, device=device)}
        if "pca" in self._settings.baselines:
            axes["pca"] = principal_axes(x[torch.tensor(is_seen, dtype=torch.bool, device=device)])
        if {"rotation", "das", "mdas"} & set(self._settings.baselines):
            axes["rotation"] = random_rotation(width, (*key, "rotation")).to(device)
        return axes

    def _swap(self, name: Baseline, x: Tensor, axes: Mapping[str, Tensor]) -> Swap:
        match name:
            case "noop" | "full_swap":
                return WholeSwap(x, of_source=name == "full_swap")
            case "das" | "mdas":
                dimension = min(self._settings.das_dimension, x.shape[1]) if name == "das" else None
                return RotationSwap(x, axes["rotation"], dimension)
            case _:
                return MaskSwap(Axes(x, axes[name]))
