"""`health.json`: the health of every SAE, with everything that it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sae_research.results.health.answers import Answer
from sae_research.results.health.assess import Health
from sae_research.results.health.settings import HealthSettings

HEALTH_FILE = "health.json"
"""The name in `eval_results/merged/`."""


def health_document(healths: Sequence[Health], settings: HealthSettings) -> dict[str, Any]:
    """The thresholds, and an entry per SAE; a missing verdict is null, with the reason."""
    return {"thresholds": asdict(settings), "saes": [_entry(health) for health in healths]}


def _entry(health: Health) -> dict[str, Any]:
    return {
        "name": health.sae,
        "label": health.label,
        "control": health.control,
        "d_sae": health.d_sae,
        "verdict": health.verdict,
        "healthy": health.n_healthy,
        "asked": len(health.verdicts),
        "answers": {question: _answer(answer) for question, answer in health.answers.items()},
        "training": asdict(health.training) if health.training is not None else None,
        "advice": list(health.advice),
    }


def _answer(answer: Answer) -> dict[str, Any]:
    return {
        "value": answer.value,
        "ci_low": answer.low,
        "ci_high": answer.high,
        "verdict": answer.verdict,
        "reason": answer.reason,
        **answer.evidence,
    }
