"""Judges by name: `rules`, or `<provider>:<model>`; each module of `judges/providers/` is a provider."""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

from sae_research.foreign import shown
from sae_research.judges import providers
from sae_research.plugins import plugin_names


class JudgeName(NamedTuple):
    """The two halves of a judge's name."""

    provider: str
    model: str
    """Empty where the provider has but one."""

    @property
    def original(self) -> JudgeName:
        """The judge whose answers these are: `openai:m` of `replay:openai:m`."""
        return read_name(self.model) if self.provider == "replay" else self

    def __str__(self) -> str:
        return f"{self.provider}:{self.model}" if self.model else self.provider


def read_name(name: str) -> JudgeName:
    """`name` taken apart; ValueError where no provider is called so, or a model is missing or too much."""
    provider, _, model = name.partition(":")
    valid = plugin_names(providers)
    if provider not in valid:
        raise ValueError(f"judge is {shown(name)}; valid: {', '.join(valid)}, those with a model as <provider>:<model>")
    named = JudgeName(provider, model)
    needs_model = find_provider(named).NEEDS_MODEL
    if needs_model != bool(model):
        form = f"{provider}:<model>" if needs_model else provider
        raise ValueError(f"judge is {shown(name)}, expected {form}")
    if provider == "replay":
        original = named.original
        if original.provider == "replay" or not original.model:
            raise ValueError(f"judge is {shown(name)}: only a model's answers are stored, as replay:openai:<model>")
    return named


def provider_module(name: JudgeName) -> str:
    """The module that answers for this judge."""
    return f"{providers.__name__}.{name.provider}"


def find_provider(name: JudgeName) -> Any:
    """That module, which has `NEEDS_MODEL` and `make(wanted, access)`."""
    return importlib.import_module(provider_module(name))
