"""A judge without a language model: a pure function of the prompt and of text that it has read elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sae_research.code_version import code_version
from sae_research.digests import digest_of
from sae_research.judges import prompts
from sae_research.judges.access import JudgeAccess, Wanted
from sae_research.judges.one_by_one import OneByOne
from sae_research.judges.records import Answer, Message, Request
from sae_research.judges.rules.hypotheses import Hypothesis, explain
from sae_research.judges.rules.properties import read_phrases
from sae_research.judges.rules.reading import Reading
from sae_research.judges.rules.words import marked_words, words_of

NEEDS_MODEL = False
_BEFORE, _AFTER = 8, 6
"""Words of the reading around the place that a written text is about."""
_TRIES = 20
_CHARACTERS_PER_TOKEN = 4


class RulesJudge(OneByOne):
    """Explains by rules over words, detects where its own rules hold, writes what it has read."""

    keeps_answers = False
    host = None

    def __init__(self, documents: Sequence[str]) -> None:
        self._reading = Reading(documents)
        self.identity: Mapping[str, Any] = {
            "provider": "rules",
            "reading": digest_of(list(documents)),
            "code": code_version("sae_research.judges.providers.rules"),
        }

    def answer_one(self, request: Request) -> Answer:
        """What the rules say; `none` to a prompt that they do not know."""
        system, asked = request.messages[0].text, request.messages[1].text
        match system:
            case prompts.EXPLAIN:
                said = self._explain(asked)
            case prompts.DETECT:
                said = _detect(asked)
            case prompts.WRITE:
                said = self._write(asked, request.messages)
            case _:
                said = "none"
        cut = said[: request.max_tokens * _CHARACTERS_PER_TOKEN]
        return Answer(cut, "stop" if cut == said else "length", 0, 0, "rules")

    def _explain(self, asked: str) -> str:
        rules = [hypothesis.rule.phrase for hypothesis in self._hypotheses(asked)]
        return f"This unit activates on {'; '.join(rules) or 'nothing that these rules can name'}"

    def _hypotheses(self, asked: str) -> list[Hypothesis]:
        markers = prompts.markers_of(asked)
        return explain([marked_words(text, markers) for text in prompts.numbered_texts(asked)], self._reading)

    def _write(self, asked: str, messages: Sequence[Message]) -> str:
        hypotheses = self._hypotheses(asked)
        rng = np.random.default_rng(list(hashlib.sha256("\0".join(m.text for m in messages).encode()).digest()))
        n = int(asked.split("exactly ", 1)[1].split(" ", 1)[0])
        shown = {" ".join(marked_words(t, prompts.markers_of(asked)).words) for t in prompts.numbered_texts(asked)}
        texts: dict[str, None] = {}
        for _ in range(_TRIES * n):
            if len(texts) == n:
                break
            text = self._passage(hypotheses, rng)
            if " ".join(words_of(text).words) not in shown:
                texts[text] = None
        return f"\n{prompts.SEPARATOR}\n".join(texts)

    def _passage(self, hypotheses: Sequence[Hypothesis], rng: np.random.Generator) -> str:
        """A passage of the reading where one of the rules holds, each drawn by the examples that it covers first."""
        in_reading = [h for h in hypotheses if h.n_first and len(self._reading.places(h.rule))]
        if in_reading:
            weights = np.array([hypothesis.n_first for hypothesis in in_reading])
            rule = in_reading[int(rng.choice(len(in_reading), p=weights / weights.sum()))].rule
            places = self._reading.places(rule)
        else:
            places = self._reading.anywhere()
        return self._reading.around(int(rng.choice(places)), before=_BEFORE, after=_AFTER)


def _detect(asked: str) -> str:
    explanation = asked.split("\n", 1)[0].partition("activate on: ")[2]
    rules = read_phrases(explanation)
    windows = [words_of(text).words for text in prompts.numbered_texts(asked)]
    active = [
        number
        for number, words in enumerate(windows, start=1)
        if any(rule.holds(words, place) for rule in rules for place in range(len(words)))
    ]
    return ", ".join(map(str, active)) or "none"


def make(wanted: Wanted, access: JudgeAccess) -> RulesJudge:
    """The judge `rules`, who has read."""
    return RulesJudge(wanted.reading())
