"""The passes of absorption: prompts are read once for all SAEs; each SAE is probed, then looked at word by word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sae_research.evals.absorption.adam import Schedule, train_columns
from sae_research.evals.absorption.codes import Reading, WordCodes, read_prompts
from sae_research.evals.absorption.formulas import Absorbed, count_split, f1_scores, measure_absorbed
from sae_research.evals.absorption.nested import predict_nested
from sae_research.evals.absorption.report import LetterResult, Letters, absorption_output
from sae_research.evals.absorption.settings import AbsorptionSettings
from sae_research.evals.absorption.words import LETTERS, Split, Word, draw_prompts, draw_split, find_words
from sae_research.evals.base import EvalContext, Outcome
from sae_research.evals.shared.attempts import Attempt, do_each
from sae_research.probes.draws import keyed_generator
from sae_research.probes.lbfgs import ColumnProbes
from sae_research.saes.base import Sae
from sae_research.saes.encoding import pieces

# SAEBench's, for the probe on the model's activations.
_MODEL_PROBE = Schedule(batch_size=64, epochs=50, weight_decay=1e-4)
_LATENT_DECAY = 1e-6


class Task(NamedTuple):
    """What all SAEs of a site share."""

    split: Split
    labels: Int[Tensor, " words"]
    """Each word's letter, training words first."""
    reading: Reading
    probe: ColumnProbes
    letters: Letters
    hits: Int[Tensor, " hits"]
    """Test words (their places among all words) of usable letters that the probe finds."""
    fresh: Reading
    """Their tokens again, in other prompts."""


def measure_absorption(context: EvalContext, saes: Sequence[Sae], settings: AbsorptionSettings) -> Iterator[Outcome]:
    """The outcome of every SAE (all at one site)."""
    attempts = [Attempt(sae) for sae in saes]
    with torch.no_grad():
        task = _prepare(context, attempts, settings)
        found = do_each(context.lm.device, attempts, _measure, context, task, settings)
    for attempt in attempts:
        yield attempt.finish(lambda own=attempt: absorption_output(task.letters, found[own]))


def _prepare(context: EvalContext, attempts: Sequence[Attempt], settings: AbsorptionSettings) -> Task:
    lm, site, position = context.lm, attempts[0].sae.card.site, settings.prompt_token_pos
    vocabulary = find_words(lm.tokenizer, settings)
    split = draw_split(lm.tokenizer, vocabulary.words, settings, seed=context.seed)
    reading = read_prompts(context, attempts, split.prompts, site=site, position=position)
    labels = torch.tensor([word.letter for word in split.words], device=lm.device)
    probe = train_columns(
        reading.x[: split.n_train].__getitem__, _one_hot(labels[: split.n_train]), _MODEL_PROBE,
        width=lm.width(site), generator=_generator(context, "model"),
    )  # fmt: skip
    found = reading.x[split.n_train :] @ probe.weights + probe.biases > 0
    actual = _one_hot(labels[split.n_train :])
    letters = Letters(f1_scores(found, actual).tolist(), settings, vocabulary.n_left_out)
    usable = torch.tensor(letters.usable, dtype=torch.long, device=lm.device)
    own = (found & actual)[:, usable].any(dim=1).nonzero().squeeze(1) + split.n_train
    hits = own if letters.are_enough else own[:0]
    fresh = _read_again(context, attempts, [split.words[i] for i in hits.tolist()], vocabulary.words, settings)
    return Task(split, labels, reading, probe, letters, hits, fresh)


def _read_again(
    context: EvalContext,
    attempts: Sequence[Attempt],
    words: Sequence[Word],
    vocabulary: Sequence[Word],
    settings: AbsorptionSettings,
) -> Reading:
    """Words in new prompts, whose examples are of the whole vocabulary, as SAEBench measures absorption."""
    key = ("absorption", context.seed, "fresh")
    prompts = draw_prompts(context.lm.tokenizer, words, vocabulary, settings, key=key)
    site, position = attempts[0].sae.card.site, settings.prompt_token_pos
    return read_prompts(context, attempts, prompts, site=site, position=position)


def _measure(
    attempt: Attempt, context: EvalContext, task: Task, settings: AbsorptionSettings
) -> list[LetterResult] | None:
    """What came of each usable letter; None where there are too few."""
    if not task.letters.are_enough:
        return None
    ranked, f1 = _probe_latents(context, task.reading.codes(attempt), task, settings)
    n_split = count_split(f1, settings.f1_jump_threshold)
    fresh = task.fresh.codes(attempt)
    found = []
    for i, letter in enumerate(task.letters.usable):
        split = ranked[i, : int(n_split[i])]
        absorbed = _look(attempt.sae, fresh, task, letter, split)
        found.append(
            LetterResult(
                letter=LETTERS[letter],
                fractions=tuple(absorbed.fraction.double().tolist()),
                is_full=tuple(absorbed.is_full.tolist()),
                split=tuple(split.tolist()),
                f1_by_k=tuple(f1[:, i].tolist()),
            )
        )
    return found


def _probe_latents(
    context: EvalContext, codes: WordCodes, task: Task, settings: AbsorptionSettings
) -> tuple[Int[Tensor, "letters k"], Float[Tensor, "k letters"]]:
    """Of each usable letter: the latents ranked by an L1 probe, and the test F1 of probes on the first k of them."""
    n, usable = task.split.n_train, task.letters.usable
    schedule = Schedule(
        batch_size=settings.k_sparse_probe_batch_size,
        epochs=settings.k_sparse_probe_num_epochs,
        weight_decay=_LATENT_DECAY,
        l1=settings.k_sparse_probe_l1_decay,
    )
    probe = train_columns(
        codes.rows, _one_hot(task.labels[:n]), schedule, width=codes.d_sae, generator=_generator(context, "latents")
    )
    # Signed: only latents that speak for the letter.
    k = min(settings.max_k_value, codes.d_sae)
    ranked = probe.weights[:, usable].T.sort(dim=1, descending=True, stable=True).indices[:, :k]
    distinct, slots = ranked.unique(return_inverse=True)
    own = codes.columns(distinct)[:, slots].movedim(0, 1)
    actual = _one_hot(task.labels)[:, usable]
    found = predict_nested(own[:, :n], actual[:n].T, own[:, n:])
    return ranked, f1_scores(found.mT, actual[n:])


def _look(sae: Sae, codes: WordCodes, task: Task, letter: int, split: Int[Tensor, " split"]) -> Absorbed:
    """Absorption on the words of one letter that the probe finds."""
    direction = task.probe.weights[:, letter] / task.probe.weights[:, letter].norm()
    cosines = torch.nn.functional.cosine_similarity(direction, sae.W_dec.float(), dim=-1)
    words = (task.labels[task.hits] == letter).nonzero().squeeze(1)
    projections = task.fresh.x[words] @ direction
    parts = [
        measure_absorbed(codes.rows(words[part]), cosines, projections[part], split) for part in pieces(sae, len(words))
    ]
    return Absorbed(*(torch.cat(values) for values in zip(*parts, strict=True)))


def _one_hot(labels: Int[Tensor, " words"]) -> Bool[Tensor, "words letters"]:
    return labels[:, None] == torch.arange(len(LETTERS), device=labels.device)


def _generator(context: EvalContext, name: str) -> torch.Generator:
    seed = keyed_generator("absorption", context.seed, "probe", name).integers(2**62)
    return torch.Generator().manual_seed(int(seed))
