"""Checks that a language model can be stopped and resumed: what is measured must be the model's own computation."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Int
from torch import Tensor

from sae_research.errors import UserError
from sae_research.lm.model import LanguageModel
from sae_research.lm.site import Site

_TOLERANCE = 1e-4
"""Of float32: how far results may differ, as a share of the largest."""
_TOLERANCE_LOW = 3e-2
"""Of bfloat16 and float16."""
_A_PRIME = 7919


def check_model(lm: LanguageModel) -> None:
    """UserError unless logits are finite, and those of a run that is resumed in the middle are a plain run's."""
    if max(lm.special_ids, default=0) >= lm.vocab_size:
        raise UserError(
            f"model {lm.name!r}: its tokenizer has a special token with id {max(lm.special_ids)}, its embedding has "
            f"{lm.vocab_size} rows; the tokenizer belongs to another model"
        )
    tokens, site = _tokens(lm, 8), Site(layer=(lm.n_layers - 1) // 2, kind="resid_post")
    with torch.no_grad():
        plain = lm.logits(tokens).float()
        resumed = lm.unembed(lm.resume(site, lm.capture_anew(tokens, site), tokens)).float()
    if not torch.isfinite(plain).all():
        raise UserError(
            f"model {lm.name!r}: its logits are not finite in {lm.dtype}; use float32, or repair the weights"
        )
    _require_equal(lm, site, plain, resumed, "logits")


def check_site(lm: LanguageModel, site: Site, *, length: int) -> None:
    """UserError unless a run of `length` tokens that is stopped and resumed at `site` ends as a plain run does.

    Rows are as long as the model's positions at most.
    """
    lm.require_site(site)
    tokens = _tokens(lm, lm.positions.at_most(length))
    with torch.no_grad():
        plain, x = lm.hidden(tokens).float(), lm.capture_anew(tokens, site)
        # What a layer may have stored for a later one must not be that of the same tokens.
        lm.capture_anew(tokens.flip(1), site)
        resumed = lm.resume(site, x, tokens).float()
        adds_residual = site.kind == "mlp_out" and torch.equal(
            x, lm.capture_anew(tokens, replace(site, kind="resid_post"))
        )
    if adds_residual:
        raise UserError(
            f"model {lm.name!r}: {site.hook_name}: its MLP adds the residual stream itself, so that what it returns is "
            f"blocks.{site.layer}.hook_resid_post; choose SAEs of another site"
        )
    _require_equal(lm, site, plain, resumed, f"hidden states of {tokens.shape[1]} tokens")


def _tokens(lm: LanguageModel, length: int) -> Int[Tensor, "1 position"]:
    """A row of tokens from all over the vocabulary."""
    return (torch.arange(1, length + 1, device=lm.device) * _A_PRIME % lm.vocab_size).unsqueeze(0)


def _require_equal(lm: LanguageModel, site: Site, plain: Tensor, resumed: Tensor, what: str) -> None:
    centred = " without its mean" if site.centred else ""
    error = float((plain - resumed).abs().max() / plain.abs().max().clamp(min=1e-6))
    tolerance = _TOLERANCE if lm.dtype == torch.float32 else _TOLERANCE_LOW
    if not error <= tolerance:
        raise UserError(
            f"model {lm.name!r}: resuming at {site.hook_name}{centred} gives other {what} than a plain run "
            f"(relative difference {error:.1e}, at most {tolerance:.0e} expected); its architecture is not supported "
            "there"
        )
