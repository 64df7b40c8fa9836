"""LanguageModel agrees with the plain model, and with TransformerLens, on tiny random models of four families."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sae_research.errors import UserError
from sae_research.lm.checks import check_site
from sae_research.lm.load import load_language_model
from sae_research.lm.model import LanguageModel
from sae_research.lm.site import Site
from sae_research.reference.lens import load_lens
from sae_research.sources.hub import Hub

FAMILIES = ("neox", "neox_serial", "gpt2", "llm_rope", "softcapped")
KINDS = ("resid_pre", "resid_post", "mlp_out", "attn_out", "attn_z")


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def lm(family: str, model_folder: Callable[[str], Path]) -> LanguageModel:
    return load_language_model(Hub(Path("no-world")), str(model_folder(family)), device="cpu")


@pytest.fixture(scope="module")
def tokens(lm: LanguageModel) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(3, lm.vocab_size, (3, 11), generator=generator)


@pytest.fixture(scope="module")
def lens(family: str, model_folder: Callable[[str], Path]) -> Any:
    return load_lens(model_folder(family))


def every_site(lm: LanguageModel) -> list[Site]:
    return [Site(layer, kind) for layer in range(lm.n_layers) for kind in KINDS]  # type: ignore[arg-type]


def test_attributes(lm: LanguageModel) -> None:
    assert (lm.n_layers, lm.d_model) == (3, 32)
    assert lm.dtype == torch.float32
    assert lm.device == torch.device("cpu")
    assert lm.revision.startswith("sha256:")
    assert lm.special_ids == {0, 1, 2}


def test_captures_what_transformer_lens_captures(lm: LanguageModel, lens: Any, tokens: Tensor) -> None:
    with torch.no_grad():
        logits, cache = lens.run_with_cache(tokens)
    for site in every_site(lm):
        theirs = cache[site.hook_name].flatten(start_dim=2) if site.kind == "attn_z" else cache[site.hook_name]
        torch.testing.assert_close(lm.capture(tokens, site), theirs, atol=2e-4, rtol=2e-4, msg=site.hook_name)
    torch.testing.assert_close(lm.logits(tokens), logits, atol=1e-3, rtol=1e-3)


def test_transformer_lens_takes_a_folder_for_what_its_config_says(
    lm: LanguageModel, family: str, model_folder: Callable[[str], Path], tokens: Tensor, tmp_path: Path
) -> None:
    """Not for what its path says; this has happened with a random name of a temporary folder."""
    misleading = tmp_path / "robert" / "llama" / "gemma-3-1b" / "t5"
    shutil.copytree(model_folder(family), misleading)
    lens = load_lens(misleading)
    with torch.no_grad():
        torch.testing.assert_close(lm.logits(tokens), lens(tokens), atol=1e-3, rtol=1e-3)
    assert lens.tokenizer.name_or_path == str(misleading)


def test_replacing_at_a_site_gives_what_transformer_lens_gives(lm: LanguageModel, lens: Any, tokens: Tensor) -> None:
    for site in every_site(lm):
        x = lm.capture(tokens, site) * 0.5 + 0.1

        def replace(activation: Tensor, hook: Any, x: Tensor = x) -> Tensor:
            return x.reshape(activation.shape)

        with torch.no_grad():
            theirs = lens.run_with_hooks(tokens, fwd_hooks=[(site.hook_name, replace)])
        ours = lm.unembed(lm.resume(site, x, tokens))
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3, msg=site.hook_name)


def test_a_centred_site_is_that_of_centred_writing_weights(
    lm: LanguageModel, family: str, model_folder: Callable[[str], Path], tokens: Tensor
) -> None:
    """What gpt2-small-res-jb was trained on: TransformerLens with center_writing_weights, nothing else."""
    sites = [Site(layer, kind, centred=True) for layer in range(3) for kind in ("resid_pre", "resid_post", "mlp_out")]
    if family in ("llm_rope", "softcapped"):
        for site in (site for site in sites if site.kind == "resid_post"):
            with pytest.raises(UserError, match=rf"resuming at {site.hook_name} without its mean gives other hidden"):
                check_site(lm, site, length=12)
        return
    lens = load_lens(model_folder(family), center_writing_weights=True)
    with torch.no_grad():
        logits, cache = lens.run_with_cache(tokens)
        torch.testing.assert_close(lm.logits(tokens), logits, atol=1e-3, rtol=1e-3)
        for site in sites:
            check_site(lm, site, length=12)
            torch.testing.assert_close(lm.capture(tokens, site), cache[site.hook_name], atol=2e-4, rtol=2e-4)
            x = lm.capture(tokens, site) * 0.5 + 0.1
            theirs = lens.run_with_hooks(tokens, fwd_hooks=[(site.hook_name, lambda activation, hook, x=x: x)])
            ours = lm.unembed(lm.resume(site, x, tokens))
            torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3, msg=site.hook_name)


def test_resuming_unchanged_gives_the_plain_logits_exactly(lm: LanguageModel, tokens: Tensor) -> None:
    plain = lm.logits(tokens)
    for site in every_site(lm):
        assert torch.equal(lm.unembed(lm.resume(site, lm.capture(tokens, site), tokens)), plain), site.hook_name


def test_padding_on_the_right_or_left_does_not_change_real_tokens(lm: LanguageModel, tokens: Tensor) -> None:
    site = Site(1, "resid_post")
    alone = lm.capture(tokens[:, :7], site)
    pads = torch.zeros((3, 4), dtype=torch.long)
    right = torch.cat([tokens[:, :7], pads], dim=1)
    torch.testing.assert_close(lm.capture(right, site)[:, :7], alone, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(lm.capture(right, site, right != 0)[:, :7], alone, atol=1e-5, rtol=1e-5)
    left = torch.cat([pads, tokens[:, :7]], dim=1)
    mask = left != 0
    torch.testing.assert_close(lm.capture(left, site, mask)[:, 4:], alone, atol=1e-4, rtol=1e-4)
    hidden = lm.resume(site, lm.capture(left, site, mask), left, mask)[:, 4:]
    torch.testing.assert_close(hidden, lm.resume(site, alone, tokens[:, :7]), atol=1e-4, rtol=1e-4)


def test_only_the_layers_needed_are_run(lm: LanguageModel, tokens: Tensor) -> None:
    ran: list[int] = []
    norms = [next(layer.children()) for layer in lm._decoder.layers]
    handles = [norm.register_forward_hook(lambda *_, i=i: ran.append(i)) for i, norm in enumerate(norms)]
    x = lm.capture(tokens, Site(1, "resid_post"))
    assert sorted(set(ran)) == [0, 1]
    ran.clear()
    lm.resume(Site(1, "resid_post"), x, tokens)
    assert sorted(set(ran)) == [2]
    ran.clear()
    lm.resume(Site(1, "resid_pre"), x, tokens)
    assert sorted(set(ran)) == [1, 2]
    ran.clear()
    lm.capture(tokens, Site(0, "resid_pre"))
    assert ran == []
    for handle in handles:
        handle.remove()


def test_one_run_captures_several_sites_and_ends_at_the_last(lm: LanguageModel, tokens: Tensor) -> None:
    sites = [Site(1, "resid_post"), Site(0, "resid_pre"), Site(1, "mlp_out"), Site(0, "resid_post", centred=True)]
    ran: list[int] = []
    handles = [
        layer.register_forward_hook(lambda *_, i=i: ran.append(i)) for i, layer in enumerate(lm.layers)
    ]  # fmt: skip
    before = lm.tokens_read
    with torch.no_grad():
        together = lm.capture_each(tokens, sites)
    for handle in handles:
        handle.remove()
    assert ran in ([0], [0, 1]), "each layer once, and none after the last site"
    assert lm.tokens_read - before == tokens.numel()
    assert list(together) == sites
    for site, x in together.items():
        assert torch.equal(x, lm.capture(tokens, site)), site


def test_gradient_reaches_the_replacement_and_no_weight(lm: LanguageModel, tokens: Tensor) -> None:
    site = Site(1, "resid_post")
    x = lm.capture(tokens, site).clone().requires_grad_()
    lm.unembed(lm.resume(site, x, tokens)).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in lm._decoder.model.parameters())


def test_unembed_takes_any_leading_shape(lm: LanguageModel, tokens: Tensor) -> None:
    site = Site(2, "resid_post")
    hidden = lm.resume(site, lm.capture(tokens, site), tokens)
    whole = lm.unembed(hidden)
    torch.testing.assert_close(lm.unembed(hidden[1, 3]), whole[1, 3], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(lm.unembed(hidden[:, 2:4]), whole[:, 2:4], atol=1e-5, rtol=1e-5)


def test_model_is_whole_again_after_an_error(lm: LanguageModel, tokens: Tensor) -> None:
    before = lm.logits(tokens)
    with pytest.raises(RuntimeError):
        lm.resume(Site(1, "resid_post"), torch.zeros(3, 11, 5), tokens)
    assert torch.equal(lm.logits(tokens), before)


def test_layer_out_of_range_names_the_valid_ones(lm: LanguageModel, tokens: Tensor) -> None:
    with pytest.raises(UserError, match=r"blocks\.3\.hook_resid_post.*3 layers.*0 to 2"):
        lm.capture(tokens, Site(3, "resid_post"))


def test_width_of_another_model_is_refused(lm: LanguageModel) -> None:
    lm.require_site(Site(2, "resid_post"), 32)
    with pytest.raises(UserError, match=r"width 32.*d_in=512"):
        lm.require_site(Site(2, "resid_post"), 512)


def test_width_of_attention_heads(lm: LanguageModel, family: str) -> None:
    assert lm.width(Site(0, "attn_z")) == (48 if family == "softcapped" else 32)


@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_generate_is_greedy_and_replaces_the_given_tokens_alone(
    lm: LanguageModel, tokens: Tensor, kind: Any, n: int
) -> None:
    """One full run for each token, the activations of what was written being the clean ones."""
    site = Site(1, kind)
    with torch.no_grad():
        x = lm.capture(tokens, site)
        x[:, 5] = x[:, 5].flip(0) * 1.5
        whole = tokens
        for _ in range(n):
            given = torch.cat([x, lm.capture(whole, site)[:, tokens.shape[1] :]], dim=1)
            best = lm.unembed(lm.resume(site, given, whole)[:, -1]).argmax(dim=-1, keepdim=True)
            whole = torch.cat([whole, best], dim=1)
        assert torch.equal(lm.generate(tokens, n, site=site, x=x), whole[:, tokens.shape[1] :])
