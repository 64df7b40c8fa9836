"""TransformerLens' short names of models, which SAE configs and SAEBench use, as ids of the hub."""

from __future__ import annotations

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
"""By the start of the name."""


def full_model_id(name: str) -> str:
    """The hub id of a model that is named as TransformerLens names it: `pythia-70m-deduped`, `gpt2-small`."""
    if "/" in name:
        return name
    organisation = next((org for start, org in _ORGANISATIONS.items() if name.startswith(start)), None)
    return f"{organisation}/{name.removesuffix('-small')}" if organisation else name
