"""RAVEL: the model runs once up to the site for all SAEs, and after it for each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from sae_research.evals.base import EvalContext, Outcome
from sae_research.evals.ravel.codes import EntityCodes, entity_codes, latents_of
from sae_research.evals.ravel.entities import EntityPrompt
from sae_research.evals.ravel.pairs import Pairs, draw_pairs
from sae_research.evals.ravel.prompts import Checker, equal_lengths, known_prompts, rows_at_once, tokenize_prompts
from sae_research.evals.ravel.report import ClassHits, ravel_output
from sae_research.evals.ravel.settings import Baseline, RavelSettings
from sae_research.evals.ravel.swaps import (
    Axes,
    Latents,
    MaskSwap,
    RotationSwap,
    Swap,
    WholeSwap,
    principal_axes,
    random_rotation,
)
from sae_research.evals.ravel.training import AttributeRun, Candidate
from sae_research.evals.shared.attempts import Attempt, do_each
from sae_research.evals.shared.batches import is_real
from sae_research.saes.base import Sae

Owner = Attempt | Baseline


def measure_ravel(
    context: EvalContext,
    saes: Sequence[Sae],
    prompts: Mapping[str, Sequence[EntityPrompt]],
    settings: RavelSettings,
) -> Iterator[Outcome]:
    """The outcome of every SAE (all at one site) on the prompts of each class of entities."""
    attempts = [Attempt(sae) for sae in saes]
    hits: dict[Owner, dict[str, ClassHits]] = {owner: {} for owner in (*attempts, *settings.baselines)}
    with torch.no_grad():
        for entity_class, items in prompts.items():
            for owner, class_hits in _EntityClass(context, attempts, entity_class, items, settings).run().items():
                hits[owner][entity_class] = class_hits
    baselines = {name: hits[name] for name in settings.baselines}
    for attempt in attempts:
        yield attempt.finish(lambda sae_hits=hits[attempt]: ravel_output(sae_hits, baselines))


class _EntityClass:
    """All SAEs and baselines on one class of entities."""

    def __init__(
        self, context: EvalContext, attempts: Sequence[Attempt], name: str, items: Sequence[EntityPrompt],
        settings: RavelSettings,
    ) -> None:  # fmt: skip
        self._context, self._attempts, self._settings = context, attempts, settings
        self._site = attempts[0].sae.card.site
        self._attributes = settings.attributes[name]
        self._key = ("ravel", context.seed, settings.dataset, name)
        asked = tokenize_prompts(context.lm, items)
        n_tokens = settings.n_generated_tokens if settings.answer == "generation" else None
        self._checker = Checker(context.lm, n_tokens)
        self._prompts = known_prompts(context, self._site, asked, self._checker, n_entities=settings.top_n_entities)
        self._n_asked = len(asked.items)

    def run(self) -> dict[Owner, ClassHits]:
        """The hits of each SAE and baseline on the test pairs of every attribute."""
        splits = {
            a: draw_pairs(self._prompts, a, [b for b in self._attributes if b != a], self._settings, self._key)
            for a in self._attributes
        }
        passes = (len(s.train) * self._settings.num_epochs + len(s.test) for s in splits.values())
        self._context.progress.expect(sum(passes))
        x, latents = self._represent(part for split in splits.values() for part in split)
        # Baselines of a class share their axes; each attribute learns anew.
        axes = self._axes(x)
        hits: dict[Owner, ClassHits] = {
            owner: ClassHits(self._prompts, self._n_asked, {}) for owner in (*latents, *self._settings.baselines)
        }
        for attribute, split in splits.items():
            candidates: list[Candidate] = [Candidate(MaskSwap(f), attempt=a) for a, f in latents.items()]
            candidates += [Candidate(self._swap(name, x, axes), name=name) for name in self._settings.baselines]
            run = AttributeRun(self._context, self._site, self._prompts, self._checker, self._settings, candidates)
            for candidate, swap_hits in run.run(split).items():
                hits[candidate.attempt or candidate.name].attributes[attribute] = swap_hits  # type: ignore[index]
        return hits

    def _represent(self, pairs: Iterable[Pairs]) -> tuple[Tensor, dict[Attempt, Latents]]:
        """Activations at the entities' last tokens, and every SAE's codes of those that occur in `pairs`."""
        lm, prompts = self._context.lm, self._prompts
        x = torch.zeros(len(prompts.items), lm.width(self._site), device=lm.device)
        is_paired = torch.zeros(len(x), dtype=torch.bool)
        for part in pairs:
            is_paired[part.base] = is_paired[part.source] = True
        codes: dict[Attempt, list[EntityCodes]] = {attempt: [] for attempt in self._attempts if attempt.error is None}
        for rows in equal_lengths(prompts.lengths, rows_at_once(self._context)):
            tokens = prompts.tokens[rows][:, : int(prompts.lengths[rows[0]])].to(lm.device)
            whole, entity = lm.capture(tokens, self._site), prompts.entity[rows].to(lm.device)
            x[rows] = whole[torch.arange(len(rows), device=lm.device), entity].float()
            paired = is_paired[rows]
            if bool(paired.any()):
                at, batch = paired.to(lm.device), rows[paired]
                real = is_real(lm, tokens)[at]
                each = do_each(lm.device, codes, entity_codes, batch, whole[at], real, entity[at])
                for attempt, some in each.items():
                    codes[attempt].append(some)
        by_sae = {attempt: attempt.do(latents_of, attempt.sae, parts, x) for attempt, parts in codes.items()}
        return x, {attempt: latents for attempt, latents in by_sae.items() if latents is not None}

    def _axes(self, x: Tensor) -> dict[str, Tensor]:
        """The fixed axes of baselines; principal ones of what may be seen in training."""
        seen = [i for i, p in enumerate(self._prompts.items) if self._settings.split == "sae_bench" or not p.held_out]
        width, device = x.shape[1], x.device
        axes = {"neurons": torch.eye(width, device=device)}
        if "pca" in self._settings.baselines:
            axes["pca"] = principal_axes(x[seen])
        if {"rotation", "das", "mdas"} & set(self._settings.baselines):
            axes["rotation"] = random_rotation(width, (*self._key, "rotation")).to(device)
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
