"""Checks HF_ENDPOINT before the Hugging Face libraries read it: with a broken one their import fails."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from sae_research.errors import UserError


def check_endpoint() -> None:
    """Raises UserError unless HF_ENDPOINT is unset or an address of the form `http[s]://host[:port]`."""
    endpoint = os.environ.get("HF_ENDPOINT")
    if endpoint is None:
        return
    try:
        address = urlsplit(endpoint)
        is_address = address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
    except ValueError:
        is_address = False
    if not is_address:
        raise UserError(
            f"HF_ENDPOINT is {endpoint!r}, expected an address such as 'https://huggingface.co'; correct or unset it"
        )
