"""Absorption: prompts are read once for all SAEs; each SAE is probed, then its codes are examined word by word."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sae_research.evals.absorption.adam import Schedule, train_columns
from sae_research.evals.absorption.balanced import predict_balanced
from sae_research.evals.absorption.codes import Reading, WordCodes, read_prompts
from sae_research.evals.absorption.formulas import Absorbed, SplitLatents, count_split, f1_scores, measure_absorbed
from sae_research.evals.absorption.report import KnownLetters, absorption_output
from sae_research.evals.absorption.scores import LetterResult, SaeGate
from sae_research.evals.absorption.settings import AbsorptionSettings
from sae_research.evals.absorption.words import LETTERS, LetterPrompts, WordSplit
from sae_research.evals.base import EvalContext, Outcome
from sae_research.evals.shared.attempts import Attempt, do_each
from sae_research.lm.model import LanguageModel
from sae_research.lm.site import Site
from sae_research.probes.draws import keyed_generator
from sae_research.probes.lbfgs import ColumnProbes
from sae_research.saes.base import Sae
from sae_research.saes.encoding import pieces

log = logging.getLogger(__name__)

# SAEBench's schedule for the probe on the model's activations.
_MODEL_PROBE = Schedule(batch_size=64, epochs=50, weight_decay=1e-4)
_LATENT_DECAY = 1e-6


class ProbedWords(NamedTuple):
    """The words, with everything that all SAEs of a site share."""

    split: WordSplit
    labels: Int[Tensor, " words"]
    """Each word's letter, training words first."""
    reading: Reading
    probe: ColumnProbes
    letters: KnownLetters
    gate: SaeGate
    hits: Int[Tensor, " hits"]
    """The indices of the test words of usable letters that the probe detects."""
    fresh: Reading
    """The hits in other prompts."""

    @property
    def test_letters(self) -> np.ndarray:
        """The letter of each test word."""
        return self.labels[self.split.n_train :].cpu().numpy()


def measure_absorption(context: EvalContext, saes: Sequence[Sae], settings: AbsorptionSettings) -> Iterator[Outcome]:
    """The outcome of every SAE (all at one site)."""
    attempts = [Attempt(sae) for sae in saes]
    with torch.no_grad():
        words = _probe_model(context, attempts, settings)
        results = do_each(context.lm.device, attempts, _measure, context, words, settings)
    for attempt in attempts:
        yield attempt.finish(
            lambda attempt=attempt: absorption_output(words.letters, words.gate, words.test_letters, results[attempt])
        )


def _probe_model(context: EvalContext, attempts: Sequence[Attempt], settings: AbsorptionSettings) -> ProbedWords:
    """The words, the probe on the model's activations, and the words that it detects."""
    lm, site, position = context.lm, attempts[0].sae.card.site, settings.prompt_token_pos
    prompts = LetterPrompts(lm.tokenizer, settings.prompt_template, position, settings.n_examples)
    vocabulary = prompts.find_words()
    words = prompts.draw_words(vocabulary.words, settings.max_words, seed=context.seed)
    split = prompts.draw_split(words, seed=context.seed)
    n_train = split.n_train
    log.info("%s", _cost(context.lm, site, split, n_words=len(vocabulary.words)))
    reading = read_prompts(context, attempts, split.prompts, site=site, position=position)
    labels = torch.tensor([word.letter for word in split.words], device=lm.device)
    probe = train_columns(
        reading.x[:n_train].__getitem__, _one_hot(labels[:n_train]), _MODEL_PROBE,
        width=lm.width(site), generator=_generator(context, "model"),
    )  # fmt: skip
    predicted, actual = reading.x[n_train:] @ probe.weights + probe.biases > 0, _one_hot(labels[n_train:])
    letters = KnownLetters(
        f1_scores(predicted, actual).tolist(),
        vocabulary.n_left_out,
        min_f1=settings.min_probe_f1,
        min_letters=settings.min_feats_for_eval,
    )
    gate = SaeGate(settings.min_sae_probe_f1, settings.min_sae_letters) if settings.rules == "clean" else SaeGate(0, 1)
    usable = torch.tensor(letters.usable, dtype=torch.long, device=lm.device)
    hits = (predicted & actual)[:, usable].any(dim=1).nonzero().squeeze(1) + n_train
    if not letters.are_enough:
        hits = hits[:0]
    # As SAEBench measures absorption: in new prompts with examples from the whole vocabulary.
    fresh_prompts = prompts.draw(
        [split.words[i] for i in hits.tolist()], words, key=("absorption", context.seed, "fresh")
    )
    fresh = read_prompts(context, attempts, fresh_prompts, site=site, position=position)
    return ProbedWords(split, labels, reading, probe, letters, gate, hits, fresh)


def _cost(lm: LanguageModel, site: Site, split: WordSplit, *, n_words: int) -> str:
    """What reading the prompts takes, in words: a multiplication and an addition for each weight and token."""
    tokens = sum(map(len, split.prompts))
    weights = sum(weight.numel() for layer in lm.layers[: site.layer + 1] for weight in layer.parameters())
    return (
        f"absorption: {len(split.words)} of {n_words} words (absorption.max_words), {tokens / 1e6:.2f} M tokens "
        f"through {site.layer + 1} of {lm.n_layers} layers: {2 * tokens * weights / 1e12:.1f} TFLOP for all SAEs at "
        f"{site.hook_name}, and up to a fifth more for the second prompts of test words"
    )


def _measure(
    attempt: Attempt, context: EvalContext, words: ProbedWords, settings: AbsorptionSettings
) -> list[LetterResult] | None:
    """The result of one SAE for each usable letter; None if these are too few."""
    if not words.letters.are_enough:
        return None
    n, codes = words.split.n_train, words.reading.codes(attempt)
    ranked, predicted = _probe_latents(context, codes, words, settings)
    actual = _one_hot(words.labels)[:, words.letters.usable]
    f1_train, f1_test = (f1_scores(predicted[..., part].mT, actual[part]) for part in (slice(n), slice(n, None)))
    n_split = count_split(f1_train if settings.rules == "clean" else f1_test, settings.f1_jump_threshold)
    # Of each hit, the place of its letter among the usable ones.
    letters = actual[words.hits].nonzero()[:, 1]
    absorbed = _absorb(attempt.sae, words.fresh.codes(attempt), words, SplitLatents(ranked, n_split), letters)
    fractions, is_full, hits = absorbed.fraction.double().cpu(), absorbed.is_full.cpu(), words.hits.cpu() - n
    letters, predicted = letters.cpu(), predicted[..., n:].cpu()
    numbers = zip(words.letters.usable, n_split.tolist(), ranked.tolist(), f1_test.T.tolist(), strict=True)
    results = []
    for i, (letter, n_latents, latents, f1_by_k) in enumerate(numbers):
        of_letter = letters == i
        results.append(
            LetterResult(
                letter=LETTERS[letter],
                words=hits[of_letter].numpy(),
                fractions=fractions[of_letter].numpy(),
                is_full=is_full[of_letter].numpy(),
                split=tuple(latents[:n_latents]),
                f1_by_k=tuple(f1_by_k),
                predicted=predicted[n_latents - 1, i].numpy(),
            )
        )
    return results


def _probe_latents(
    context: EvalContext, codes: WordCodes, words: ProbedWords, settings: AbsorptionSettings
) -> tuple[Int[Tensor, "letters k"], Bool[Tensor, "k letters words"]]:
    """For each usable letter: its latents in the order of an L1 probe, and the words that probes on the first k of them
    take for the letter's."""
    n, usable = words.split.n_train, words.letters.usable
    schedule = Schedule(
        batch_size=settings.k_sparse_probe_batch_size,
        epochs=settings.k_sparse_probe_num_epochs,
        weight_decay=_LATENT_DECAY,
        l1=settings.k_sparse_probe_l1_decay,
    )
    probe = train_columns(
        codes.rows, _one_hot(words.labels[:n]), schedule, width=codes.d_sae, generator=_generator(context, "latents")
    )
    # By signed weight: only latents that speak for the letter.
    k = min(settings.max_k_value, codes.d_sae)
    ranked = probe.weights[:, usable].T.sort(dim=1, descending=True, stable=True).indices[:, :k]
    distinct, slots = ranked.unique(return_inverse=True)
    features = codes.columns(distinct)[:, slots].movedim(0, 1)
    return ranked, predict_balanced(features[:, :n], _one_hot(words.labels[:n])[:, usable].T, features)


def _absorb(
    sae: Sae, codes: WordCodes, words: ProbedWords, split: SplitLatents, letters: Int[Tensor, " hits"]
) -> Absorbed:
    """Absorption in the hits, whose `letters` are places among the usable ones."""
    probes = words.probe.weights[:, words.letters.usable]
    directions = (probes / probes.norm(dim=0)).T
    cosines = directions @ torch.nn.functional.normalize(sae.W_dec.float()).T
    projections = (words.fresh.x * directions[letters]).sum(dim=1)
    parts = [
        measure_absorbed(
            sae.contributions(codes.rows(hits), words.fresh.x[hits]), cosines, projections[hits], split, letters[hits]
        )
        for hits in (torch.arange(part.start, part.stop, device=letters.device) for part in pieces(sae, len(letters)))
    ]
    return Absorbed(*(torch.cat(values) for values in zip(*parts, strict=True)))


def _one_hot(labels: Int[Tensor, " words"]) -> Bool[Tensor, "words letters"]:
    return labels[:, None] == torch.arange(len(LETTERS), device=labels.device)


def _generator(context: EvalContext, name: str) -> torch.Generator:
    seed = keyed_generator("absorption", context.seed, "probe", name).integers(2**62)
    return torch.Generator().manual_seed(int(seed))
