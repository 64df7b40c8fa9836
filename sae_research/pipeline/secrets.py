"""Keys have no place in `params.yaml`: git, DVC and result documents would carry them on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

# Repetitions are bounded: a long text must not take long.
_KEY = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    # A prefix (OpenAI, Anthropic and OpenRouter, xAI, Groq, the Hugging Face hub, GitHub), then letters and digits.
    r"(?:sk-(?:[a-z0-9]{1,20}-){0,4}|xai-|gsk_|hf_|gh[opsur]_|github_pat_)"
    r"(?=[A-Za-z_]{0,15}[0-9])(?=[0-9_]{0,15}[A-Za-z])[A-Za-z0-9_]{16}"
    r"|AIza[A-Za-z0-9_-]{30}"  # Google
    r"|AKIA[A-Z0-9]{16}"  # AWS
    r"|[Bb]earer\s{1,4}\S{8}"
    r")"
)
_USER_IN_URL = re.compile(r"://[^/\s@:]{0,200}:[^/\s@]{1,200}@")


def refuse_keys(values: object) -> None:
    """ValueError that names the place of what looks like a key or a password, and does not repeat it."""
    for place, text in _texts(values, ""):
        if _KEY.search(text) or _USER_IN_URL.search(text):
            raise ValueError(
                f"{place or 'a key'} holds what looks like a key or a password, which would go into git, DVC and "
                "results; keep it in an environment variable, name that in judging.api_key_env, and withdraw the key "
                "if the file was ever committed"
            )


def _texts(value: object, place: str) -> Iterator[tuple[str, str]]:
    """Each text in `value`, keys of mappings included, with its place."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            # The place of a key that is itself a secret must not be its name.
            yield place, str(key)
            yield from _texts(inner, f"{place}.{key}" if place else str(key))
    elif isinstance(value, Sequence):
        for i, inner in enumerate(value):
            yield from _texts(inner, f"{place}[{i}]")
