"""Checks that a language model can be stopped and resumed: what is measured must be the model's own computation."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from sae_research.errors import UserError
from sae_research.lm.model import LanguageModel
from sae_research.lm.module_names import Kind
from sae_research.lm.site import Site

_TOLERANCE = 1e-4
"""Of float32: how far results may differ, as a share of the largest."""
_TOLERANCE_LOW = 3e-2
"""Of bfloat16 and float16."""
_ROUNDINGS = 16
"""How many roundings of the largest value sums of a layer may differ by."""
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
    if site.kind in ("mlp_out", "attn_out") and lm.has_mlp(site.layer):
        _require_added(lm, site)
    _require_equal(lm, site, plain, resumed, f"hidden states of {tokens.shape[1]} tokens")


@torch.no_grad()
def _require_added(lm: LanguageModel, site: Site) -> None:
    """UserError unless its layer adds what attention and the MLP return to the residual stream, and nothing else.

    That is what TransformerLens' `hook_attn_out` and `hook_mlp_out` mean.
    """
    tokens = _tokens(lm, 8)
    kinds: tuple[Kind, ...] = ("resid_pre", "attn_out", "mlp_out", "resid_post")
    before, attention, mlp, after = (lm.capture_anew(tokens, Site(site.layer, kind)).double() for kind in kinds)
    largest = torch.stack([before, attention, mlp, after]).abs().amax(dim=(0, -1))
    rounding = _ROUNDINGS * torch.finfo(lm.dtype).eps * largest
    if not bool(((after - before - attention - mlp).abs().amax(dim=-1) <= rounding).all()):
        raise UserError(
            f"model {lm.name!r}: {site.hook_name}: its layers do not add what the modules of attention and MLP return "
            "to the residual stream as it is (a module may add the stream itself, or its output is scaled); choose "
            "SAEs of a residual site"
        )


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
