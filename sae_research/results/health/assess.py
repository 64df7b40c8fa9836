"""From the results of a run to the health of each of its SAEs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sae_research.measurements import Measurement
from sae_research.results.health import answers
from sae_research.results.health.advice import Measured, advice
from sae_research.results.health.answers import VERDICTS, Answer, Question, Verdict
from sae_research.results.health.settings import HealthSettings
from sae_research.results.health.training import Training
from sae_research.results.merge import Entry
from sae_research.results.rows import card_label, interpolation


@dataclass(frozen=True)
class Health:
    """One SAE's answers and what they add up to."""

    sae: str
    label: str
    """What tables call its architecture."""
    control: bool
    d_sae: int | None
    answers: Mapping[Question, Answer]
    training: Training | None
    """None: nobody wrote down how it was trained."""
    advice: tuple[str, ...]
    """What to do about each question that is not healthy; empty for controls."""

    @property
    def verdicts(self) -> list[Verdict]:
        """Of the questions that have one."""
        return [answer.verdict for answer in self.answers.values() if answer.verdict is not None]

    @property
    def verdict(self) -> Verdict | None:
        """The worst of them; None for controls, which were never meant to be healthy, and without any."""
        return None if self.control or not self.verdicts else max(self.verdicts, key=VERDICTS.index)

    @property
    def n_healthy(self) -> int:
        return self.verdicts.count("healthy")


def assess(
    entries: Sequence[Entry],
    settings: HealthSettings,
    training: Mapping[str, Training] | None = None,
    saes: Sequence[Mapping[str, Any]] = (),
    *,
    dataset: str | None = None,
) -> list[Health]:
    """The health of every SAE that was measured here, in the order of the entries.

    `training` is by SAE. `saes` are the manifest's entries, for SAEs of which every cell failed. `dataset` is the text
    that core read, where its settings do not name it.
    """
    cards = {card["name"]: card for card in saes}
    of_sae: dict[str, dict[str, Entry]] = {}
    for entry in entries:
        if entry.source == "computed":
            of_sae.setdefault(entry.sae_name, {})[entry.eval_name] = entry
            if entry.result is not None:
                cards[entry.sae_name] = entry.result.sae
    records = training or {}
    return [
        _assess({"name": name, **cards.get(name, {})}, evals, settings, records.get(name), dataset)
        for name, evals in of_sae.items()
    ]


def _assess(
    card: Mapping[str, Any],
    evals: Mapping[str, Entry],
    settings: HealthSettings,
    training: Training | None,
    dataset: str | None,
) -> Health:
    control = bool(card.get("control", False))
    answered: dict[Question, Answer] = {
        question: _where_it_applies(question, answer, card, evals)
        for question, answer in _answers(evals, settings).items()
    }
    core = evals.get("core")
    text = core.result.settings if core is not None and core.result is not None else {}
    measured = Measured(card, answered, dataset or text.get("dataset"), text.get("context_size"))
    return Health(
        sae=card["name"],
        label=card_label(card),
        control=control,
        d_sae=card.get("d_sae"),
        answers=answered,
        training=training,
        advice=() if control else tuple(advice(measured, settings, training)),
    )


def _answers(evals: Mapping[str, Entry], settings: HealthSettings) -> Mapping[Question, Answer]:
    core, on_words = _numbers(evals, "core"), _numbers(evals, "absorption")
    latents = evals["core"].latents if "core" in evals else None
    absorption = Answer(reason=on_words) if isinstance(on_words, str) else answers.absorption(on_words, settings)
    if isinstance(core, str):
        nothing = Answer(reason=core)
        of_core: Mapping[Question, Answer] = dict.fromkeys(answers.OF_CORE, nothing)
        return {**of_core, "absorption": absorption}
    return {
        "loss_recovered": answers.loss_recovered(core, settings),
        "l0": answers.l0(core, settings),
        "dead": answers.dead(core, latents, settings),
        "redundant": answers.redundant(core, latents, settings),
        "absorption": absorption,
    }


def _numbers(evals: Mapping[str, Entry], name: str) -> Mapping[str, Measurement] | str:
    """The eval's measurements at its only place, or the reason why there are none."""
    entry = evals.get(name)
    if entry is None:
        return f"{name} was not measured"
    if entry.result is None:
        return f"{name} failed: {entry.reason}"
    return {m.metric: m for m in entry.result.output.measurements if not m.at}


def _where_it_applies(
    question: Question, answer: Answer, card: Mapping[str, Any], evals: Mapping[str, Entry]
) -> Answer:
    """The answer without its verdict, and with the reason, where the question makes no sense for this SAE."""
    reason = _why_not(question, card, evals) if answer.value is not None else None
    return answer if reason is None else replace(answer, verdict=None, reason=reason)


def _why_not(question: Question, card: Mapping[str, Any], evals: Mapping[str, Entry]) -> str | None:
    baseline = (card.get("source") or {}).get("baseline")
    if question in ("dead", "redundant") and card.get("control"):
        return "a control: nothing trained it, so training is not what leaves latents silent or alike"
    if question == "redundant" and baseline:
        return f"its atoms are those of `{baseline}`, where the question is answered"
    if question == "l0" and card.get("scope") == "sequence":
        return "it chooses latents for whole sequences: nearly all of them fire on every token"
    core = _numbers(evals, "core")
    interpolates = None if isinstance(core, str) else core.get("interpolates")
    share = interpolates.value if interpolates is not None else None
    if question == "loss_recovered" and interpolation(share) == "most":
        return "on most of the text its support has d_in atoms or more, which reconstruct anything exactly"
    return None
