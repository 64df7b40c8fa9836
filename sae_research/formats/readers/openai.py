"""OpenAI's SAEs of GPT-2 small, v1, v4 and v5: `{location}[_v5_32k]/autoencoders/{layer}.pt`.

The k largest of relu((y - b_dec) W_enc + b_enc), or in v1 and v4 all of them. With TopK, y is the layer norm of x, and
the reconstruction is scaled back. Gao et al. 2024, https://arxiv.org/abs/2406.04093
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from torch import Tensor

from sae_research.errors import UserError
from sae_research.foreign import shown
from sae_research.formats.layout import Layout, assembled, tensors_of
from sae_research.formats.peeking import PICKLED, shapes_in
from sae_research.formats.reading import naming_file, read_pickled
from sae_research.formats.stated import UNKNOWN_MODEL, stated_site
from sae_research.lm.site import Site
from sae_research.saes.base import Sae

_LAYOUT = Layout(
    {"encoder.weight": "W_enc", "latent_bias": "b_enc", "decoder.weight": "W_dec", "pre_bias": "b_dec"},
    ignored=frozenset({"stats_last_nonzero", "latents_activation_frequency", "latents_mean_square"}),
)
_ACTIVATION, _ACTIVATION_STATE = "activation", "activation_state_dict"
_HOOK_OF_LOCATION = {
    "mlp_post_act": "mlp.hook_post",
    "resid_delta_mlp": "hook_mlp_out",
    "resid_delta_attn": "hook_attn_out",
    "resid_post_attn": "hook_resid_mid",
    "resid_post_mlp": "hook_resid_post",
}
_PATH = re.compile(rf"(({'|'.join(_HOOK_OF_LOCATION)})(?:_v\w+)?)/autoencoders/([0-9]{{1,6}})\.pt")


def recognises(path: Path) -> bool:
    """A pickled file with `pre_bias` and `latent_bias`."""
    return path.suffix in PICKLED and {"pre_bias", "latent_bias"} <= set(shapes_in(path))


def companions(_filename: str) -> tuple[str, ...]:
    """None: the file has everything."""
    return ()


def short_name(filename: str) -> str | None:
    """Location, version and layer of a published file."""
    match = _published(PurePosixPath(filename))
    return None if match is None else f"{match[1]}_layer_{match[3]}"


def read(path: Path, *, name: str, source: Mapping[str, Any]) -> Sae:
    """The SAE in the file; where the path is not a published one's, its site is stated."""
    match = _published(PurePosixPath(path.as_posix()))
    site = stated_site(source, sae=name) if match is None else _site(match, name)
    content = read_pickled(path, sae=name)
    with naming_file(path):
        activation = content.pop(_ACTIVATION, "ReLU")
        k = _k(activation, content.pop(_ACTIVATION_STATE, {}), name)
        return assembled(
            tensors_of(content, _LAYOUT, sae=name),
            name=name,
            architecture="relu" if k is None else "topk",
            site=site,
            model_name="gpt2" if match is not None else UNKNOWN_MODEL,
            hyperparameters={"subtract_b_dec": True, **({} if k is None else {"k": k})},
            # Its class takes the name of the activation for a sign that inputs are normalised.
            input_norm="none" if k is None else "layer_norm",
            source=source,
        )


def _published(path: PurePosixPath) -> re.Match[str] | None:
    return _PATH.fullmatch("/".join(path.parts[-3:]))


def _site(match: re.Match[str], name: str) -> Site:
    """Where the SAE of this location and layer reads."""
    try:
        return Site.parse(f"blocks.{match[3]}.{_HOOK_OF_LOCATION[match[2]]}")
    except UserError as error:
        raise UserError(f"SAE {name!r}: it is of {match[2]}, a place that is not measured here: {error}") from error


def _k(activation: object, state: object, name: str) -> int | None:
    """k of the activation TopK, None for ReLU."""
    if activation == "ReLU":
        return None
    if activation != "TopK" or not isinstance(state, Mapping):
        raise UserError(f"SAE {name!r}: activation is {shown(activation)}, expected 'TopK' or 'ReLU'")
    k, after = state.get("k"), state.get("postact_fn")
    k = int(k) if isinstance(k, Tensor) and k.numel() == 1 else k
    if after != "ReLU" or not isinstance(k, int) or isinstance(k, bool):
        raise UserError(
            f"SAE {name!r}: activation_state_dict has k = {shown(k)} and postact_fn = {shown(after)}, expected a whole "
            "number and 'ReLU'"
        )
    return k
