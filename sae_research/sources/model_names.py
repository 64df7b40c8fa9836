"""Names of language models: TransformerLens' short ones, and GGUF files, `<owner>/<repository>/<file>.gguf`."""

from __future__ import annotations

from collections.abc import Iterable

from sae_research.errors import UserError

# TransformerLens' short names, which SAE configs and SAEBench use, by the start of the name.
_ORGANISATIONS = {
    "pythia-": "EleutherAI",
    "gpt-neo": "EleutherAI",
    "gpt-j-": "EleutherAI",
    "gemma-": "google",
    "gpt2": "openai-community",
    "opt-": "facebook",
    "Llama-": "meta-llama",
    "Meta-Llama-": "meta-llama",
    "Mistral-": "mistralai",
    "Qwen": "Qwen",
}
_GGUF = ".gguf"


def full_model_id(name: str) -> str:
    """The hub id of a model that is named as TransformerLens names it: `pythia-70m-deduped`, `gpt2-small`."""
    if "/" in name:
        return name
    organisation = next((org for start, org in _ORGANISATIONS.items() if name.startswith(start)), None)
    return f"{organisation}/{name.removesuffix('-small')}" if organisation else name


def is_gguf(name: str) -> bool:
    """Whether a file is GGUF by its name."""
    return name.endswith(_GGUF)


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
