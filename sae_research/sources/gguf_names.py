"""Names of models that are one GGUF file: a path, or `<owner>/<repository>/<file>.gguf` on the hub."""

from __future__ import annotations

from collections.abc import Iterable

from sae_research.errors import UserError

_SUFFIX = ".gguf"


def is_gguf(name: str) -> bool:
    """Whether a file is GGUF by its name."""
    return name.endswith(_SUFFIX)


def repository_and_file(name: str) -> tuple[str, str | None]:
    """The repository on the hub and the GGUF file in it; None for a name of a repository alone, or for a path."""
    if name.startswith(("/", ".", "~")):
        return name, None
    owner, _, rest = name.partition("/")
    repository, _, filename = rest.partition("/")
    return (f"{owner}/{repository}", filename) if is_gguf(name) and filename else (name, None)


def only_gguf(name: str, present: Iterable[str]) -> str | None:
    """The GGUF file that the model `name` is; None where there are safetensors, or no GGUF file either."""
    files = sorted(present)
    candidates = [file for file in files if is_gguf(file)]
    if not candidates or any(file.endswith(".safetensors") for file in files):
        return None
    if len(candidates) > 1:
        shown = ", ".join(f"{name.rstrip('/')}/{file}" for file in candidates[:6])
        more = f", ... ({len(candidates)} in all)" if len(candidates) > 6 else ""
        raise UserError(f"model {name!r} has several GGUF files and no safetensors; name one of them: {shown}{more}")
    return candidates[0]
