"""What to do about an SAE that is not healthy: from its training record where there is one, else in general."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from sae_research.results.health.answers import Answer, Question
from sae_research.results.health.settings import HealthSettings
from sae_research.results.health.training import Training
from sae_research.results.numbers import shown

_TIMES_AS_MANY = 10
"""Tokens that are asked for where silence may be rarity, to those that were read."""


class Measured(NamedTuple):
    """What advice follows from, beside thresholds and training."""

    card: Mapping[str, Any]
    answers: Mapping[Question, Answer]
    dataset: str | None
    """The text that core read."""
    context_size: int | None
    """The length of its rows."""

    @property
    def baseline(self) -> str | None:
        """The SAE whose atoms this one's encoder was given; None where it was trained with its own."""
        return (self.card.get("source") or {}).get("baseline")

    def is_unhealthy(self, *questions: Question) -> bool:
        """Whether one of these has a verdict other than healthy."""
        return any(self.answers[q].verdict in ("borderline", "bad") for q in questions)


def advice(measured: Measured, settings: HealthSettings, training: Training | None) -> Iterator[str]:
    """A sentence or two per reason; nothing where all is healthy."""
    if not measured.is_unhealthy(*measured.answers):
        return
    yield from _text(measured, training)
    yield from _amount(measured, settings, training)
    yield from _scale(measured, training)
    yield from _sparsity(measured, settings)
    yield from _dead(measured, training)
    yield from _redundant(measured)
    yield from _absorption(measured)


def _text(measured: Measured, training: Training | None) -> Iterator[str]:
    """What was read here is not what it was trained on."""
    if training is None:
        return
    if training.dataset and measured.dataset and training.dataset != measured.dataset:
        yield (
            f"It was trained on {training.dataset} and measured on {measured.dataset}: a part of this may be the "
            "text's. Measure it on text of its training."
        )
    if training.context_size and measured.context_size and measured.context_size > training.context_size:
        yield (
            f"It was trained on rows of {training.context_size:,} tokens and measured on rows of "
            f"{measured.context_size:,}: it never saw the later positions."
        )


def _amount(measured: Measured, settings: HealthSettings, training: Training | None) -> Iterator[str]:
    """Too little training, which shows in loss, dead latents, and copies."""
    if measured.baseline is not None or not measured.is_unhealthy("loss_recovered", "dead", "redundant"):
        return
    tokens = training.tokens if training is not None else measured.card.get("training_tokens")
    d_sae = measured.card.get("d_sae")
    if not tokens or not d_sae:
        yield (
            f"How many tokens it was trained on is not recorded. With fewer than {settings.tokens_per_latent:g} "
            "per latent, train for longer or make it narrower."
        )
    elif tokens / d_sae < settings.tokens_per_latent:
        wanted, width = d_sae * settings.tokens_per_latent, int(tokens / settings.tokens_per_latent)
        yield (
            f"It was trained on {tokens:,} tokens, {shown(tokens / d_sae, 3)} per latent. Train on "
            f"{wanted:,.0f} or more ({settings.tokens_per_latent:g} per latent), or give it about "
            f"{max(width, 1):,} latents."
        )


def _scale(measured: Measured, training: Training | None) -> Iterator[str]:
    if training is None or not measured.is_unhealthy("loss_recovered", "l0", "dead"):
        return
    if training.normalize_activations == "none":
        yield (
            "It was trained on activations as they are (normalize_activations: none), so what learning rate and "
            "sparsity penalty do depends on their size. Train with expected_average_only_in."
        )


def _sparsity(measured: Measured, settings: HealthSettings) -> Iterator[str]:
    """Too many latents fire, or too few to reconstruct."""
    l0, (low, high) = measured.answers["l0"], settings.l0.healthy
    aim = "{:g} to {:g}".format(*settings.l0.sweet_spot)
    knob = _knob(measured.card)
    if l0.value is not None and l0.verdict in ("borderline", "bad"):
        if l0.value > (low + high) / 2:
            yield f"L0 is {shown(l0.value)}: {knob.fewer}, to come to {aim}."
        else:
            yield f"L0 is {shown(l0.value)}: {knob.more}, to come to {aim}."
    elif measured.is_unhealthy("loss_recovered") and l0.value is not None and l0.value < settings.l0.sweet_spot[0]:
        yield f"At an L0 of {shown(l0.value)} little can be reconstructed: {knob.more}."


class _Knob(NamedTuple):
    """What sets L0."""

    fewer: str
    more: str


def _knob(card: Mapping[str, Any]) -> _Knob:
    hyperparameters = card.get("hyperparameters") or {}
    for name in ("k", "s"):
        if name in hyperparameters:
            return _Knob(f"take a smaller {name} than {hyperparameters[name]}", f"take a larger {name}")
    return _Knob("train with a larger sparsity coefficient", "train with a smaller sparsity coefficient")


def _dead(measured: Measured, training: Training | None) -> Iterator[str]:
    answer = measured.answers["dead"]
    if answer.value is None or answer.verdict not in ("borderline", "bad"):
        return
    tokens, rare = answer.evidence.get("tokens"), answer.evidence.get("silent_but_rare", 0)
    if tokens and rare:
        yield (
            f"Of {answer.evidence['silent_latents']:,} silent latents at least {rare:,} are rare and not dead: "
            f"{tokens:,} tokens are too few for them. Read {_TIMES_AS_MANY} times as many."
        )
    if measured.baseline is not None:
        yield f"Its encoder never chooses these atoms of `{measured.baseline}`: {_knob(measured.card).more}."
        return
    if training is not None and training.dead_share is not None and training.dead_share < answer.value / 2:
        yield (
            f"At the end of training {100 * training.dead_share:.3g} % of the latents were dead, here "
            f"{100 * answer.value:.3g} % are silent: they may fire on text that this is not."
        )
        return
    rate = f" than {training.learning_rate:g}" if training is not None and training.learning_rate else ""
    yield (
        "Against dead latents: an auxiliary loss (TopK, BatchTopK, JumpReLU), a slower warm-up of the sparsity penalty "
        f"(L1), a lower learning rate{rate}."
    )


def _redundant(measured: Measured) -> Iterator[str]:
    if measured.is_unhealthy("redundant"):
        answer = measured.answers["redundant"]
        yield (
            f"{100 * (answer.value or 0):.3g} % of the latents have a near copy (decoder cosine of "
            f"{answer.evidence['cosine']:g} or more): it has more latents than it found directions for. "
            "Make it narrower."
        )


def _absorption(measured: Measured) -> Iterator[str]:
    if measured.is_unhealthy("absorption"):
        yield (
            "Absorption rises with width and sparsity (https://arxiv.org/abs/2409.14507): try fewer latents, a larger "
            "L0, or a Matryoshka SAE (https://arxiv.org/abs/2503.17547)."
        )
