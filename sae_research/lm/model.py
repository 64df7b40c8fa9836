"""A language model that can run up to a site, from a site on, and from hidden states to logits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext, suppress
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from sae_research.errors import UserError
from sae_research.lm.cache import ActivationCache
from sae_research.lm.hooks import replaced_forward
from sae_research.lm.positions import Positions, run_inputs
from sae_research.lm.site import Site
from sae_research.lm.structure import BackboneOutput, Decoder
from sae_research.lm.tokens import special_ids

Arguments = ParamSpec("Arguments")
Value = TypeVar("Value")


def _in_turn(
    run: Callable[Concatenate[LanguageModel, Arguments], Value],
) -> Callable[Concatenate[LanguageModel, Arguments], Value]:
    """`run`, one thread at a time where all threads have to share the modules."""

    @wraps(run)
    def waiting(lm: LanguageModel, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Value:
        with lm._turn:  # pyright: ignore[reportPrivateUsage]
            return run(lm, *args, **kwargs)

    return waiting


class LanguageModel:
    """A frozen decoder of the Hugging Face library; sites have their TransformerLens names.

    Layers that a run does not need are bypassed in place, so the backbone itself still builds masks, positions and
    rotary embeddings. `attention_mask` is True at real tokens; without it, attention is causal over all tokens.
    """

    def __init__(
        self,
        decoder: Decoder,
        tokenizer: PreTrainedTokenizerBase,
        *,
        name: str,
        revision: str,
        cache: ActivationCache | None = None,
    ) -> None:
        config: Any = decoder.model.config
        head: Any = decoder.model.get_output_embeddings()  # type: ignore[operator]
        parameter = next(decoder.model.parameters())
        self.name = name
        self.revision = revision
        self.tokenizer = tokenizer
        self.dtype: torch.dtype = parameter.dtype
        self.device: torch.device = decoder.device
        self.n_layers: int = len(decoder.layers)
        self.d_model: int = config.get_text_config().hidden_size
        self.vocab_size: int = head.weight.shape[0]
        self.special_ids: frozenset[int] = special_ids(tokenizer)
        self.tokens_read = 0
        """Tokens captured so far, padding included; used to report tokens/s."""
        self._shared = decoder
        self._per_thread = threading.local()
        # A forward that is set on a module (accelerate, quantisers) goes on calling that module in a copy of it.
        self._can_copy = not any("forward" in vars(module) for module in decoder.model.modules())
        self._turn = nullcontext() if self._can_copy else threading.RLock()
        self._cache = cache
        self._layer_arity = decoder.layer_arity()
        self.positions = Positions(decoder.model, name)

    @property
    def _decoder(self) -> Decoder:
        """This thread's own modules, because runs change them temporarily; all threads share the tensors."""
        if not self._can_copy or threading.current_thread() is threading.main_thread():
            return self._shared
        decoder: Decoder | None = getattr(self._per_thread, "decoder", None)
        if decoder is None:
            decoder = self._per_thread.decoder = self._shared.with_modules_of_its_own()
        return decoder

    @property
    def plain_model(self) -> nn.Module:
        """The whole Hugging Face model, for code that runs it in another way (SAEBench)."""
        return self._decoder.model

    @property
    def layers(self) -> nn.ModuleList:
        """Its decoder layers."""
        return self._decoder.layers

    def require_site(self, site: Site, d_in: int | None = None) -> None:
        """Raise, listing what is valid, unless this model has `site`, with activations of width `d_in` if given."""
        if not 0 <= site.layer < self.n_layers:
            raise UserError(
                f"{site.hook_name}: model {self.name!r} has {self.n_layers} layers; "
                f"valid layers: 0 to {self.n_layers - 1}"
            )
        if d_in is not None and d_in != self.width(site):
            raise UserError(
                f"{site.hook_name}: model {self.name!r} has width {self.width(site)} there, the SAE has d_in={d_in}; "
                "the SAE belongs to another model"
            )

    def width(self, site: Site) -> int:
        """The number of dimensions of the activation at `site`."""
        return self._decoder.width(site)

    def canonical(self, site: Site) -> Site:
        """`site` under the one name that all names of it have here."""
        return self._decoder.canonical(site)

    def has_mlp(self, layer: int) -> bool:
        """Whether the MLP of `layer` is a module, so that what it returns can be read."""
        return self._decoder.has_mlp(layer)

    def capture(
        self,
        tokens: Int[Tensor, "batch position"],
        site: Site,
        attention_mask: Bool[Tensor, "batch position"] | None = None,
    ) -> Float[Tensor, "batch position d"]:
        """The activation at `site`; layers after the site are not run."""
        return self.capture_each(tokens, [site], attention_mask)[site]

    def capture_each(
        self,
        tokens: Int[Tensor, "batch position"],
        sites: Sequence[Site],
        attention_mask: Bool[Tensor, "batch position"] | None = None,
    ) -> dict[Site, Float[Tensor, "batch position d"]]:
        """The activations at all of `sites`, from one run that ends at the last of them."""
        for site in sites:
            self.require_site(site)
        self.positions.require(tokens.shape[1])
        self.tokens_read += tokens.numel()
        mask = None if attention_mask is None else attention_mask.tolist()
        captured: dict[Site, Tensor] = {}

        def compute(site: Site) -> Tensor:
            if not captured:
                captured.update(self._run_to(tokens, sites, attention_mask))
            return captured[site]

        return {site: self._cached([mask], tokens, site, partial(compute, site)) for site in sites}

    def _cached(self, parts: list[Any], tokens: Tensor, site: Site, compute: Callable[[], Tensor]) -> Tensor:
        """What `compute` gives, from the cache of activations if there is one."""
        if self._cache is None:
            return compute()
        place = [self.revision, str(self.dtype), str(self.device), site.hook_name, site.centred]
        if self.device.type == "cuda" and torch.backends.cuda.matmul.allow_tf32:
            place.append("tf32")
        return self._cache.get_or_compute([*place, *parts], tokens, compute)

    def capture_real(self, tokens: Int[Tensor, "batch position"], site: Site) -> Float[Tensor, "token d"]:
        """The activations at `site` of the tokens that are not BOS, EOS or padding, one after the other."""
        special = torch.tensor(sorted(self.special_ids), device=tokens.device)
        return self.capture(tokens, site)[~torch.isin(tokens, special)]

    def capture_anew(
        self,
        tokens: Int[Tensor, "batch position"],
        site: Site,
        attention_mask: Bool[Tensor, "batch position"] | None = None,
    ) -> Float[Tensor, "batch position d"]:
        """What `capture` returns, computed whatever the cache holds, and not counted."""
        return self._run_to(tokens, [site], attention_mask)[site]

    @_in_turn
    def _run_to(self, tokens: Tensor, sites: Sequence[Site], attention_mask: Tensor | None) -> dict[Site, Tensor]:
        wanted = dict.fromkeys(sites)
        reached: dict[Site, Tensor] = {}

        def keep(site: Site, activation: Tensor) -> Tensor:
            x = _centred(activation) if site.centred else activation
            reached[site] = x
            if len(reached) == len(wanted):
                raise _AllReached
            # Later layers may work in place.
            reached[site] = x.clone()
            return activation

        with suppress(_AllReached), ExitStack() as stack:
            for site in wanted:
                stack.enter_context(self._decoder.changed_at(site, partial(keep, site)))
            self._run(tokens, attention_mask)
        missing = [site.hook_name for site in wanted if site not in reached]
        assert not missing, f"{', '.join(missing)}: never reached"
        return {site: reached[site] for site in wanted}

    @_in_turn
    def resume(
        self,
        site: Site,
        x: Float[Tensor, "batch position d"],
        tokens: Int[Tensor, "batch position"],
        attention_mask: Bool[Tensor, "batch position"] | None = None,
    ) -> Float[Tensor, "batch position d_model"]:
        """The final hidden states of `tokens`, after the last norm, with `x` as the activation at `site`.

        Gradients flow to `x`. For residual sites, no earlier layer is run again.
        """
        self.require_site(site)
        self.positions.require(tokens.shape[1])
        skipped = {"resid_pre": site.layer, "resid_post": site.layer + 1}.get(site.kind, 0)
        output = x if self._layer_arity is None else (x, *[None] * (self._layer_arity - 1))
        with ExitStack() as stack:
            for layer in self._decoder.layers[:skipped]:
                stack.enter_context(replaced_forward(layer, lambda *_, **__: output))
            if skipped == 0:
                # A copy, because some layers add to what a module returned in place.
                stack.enter_context(self._decoder.changed_at(site, lambda _: x.clone()))
            return self._run(tokens, attention_mask)

    def resume_unchanged(
        self, site: Site, x: Float[Tensor, "batch position d"], tokens: Int[Tensor, "batch position"]
    ) -> Float[Tensor, "batch position d_model"]:
        """What `resume` returns for the `x` that `capture` returned; kept where activations are."""
        return self._cached(["final"], tokens, site, lambda: self.resume(site, x, tokens))

    @property
    def unembedding(self) -> Float[Tensor, "vocab d_model"]:
        """The head's weights, a row per token."""
        head: Any = self._shared.model.get_output_embeddings()  # type: ignore[operator]
        return head.weight

    @_in_turn
    def unembed(self, hidden: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch vocab"]:
        """Logits of final hidden states by the model's own head, with its bias, soft cap and scale."""
        flat = hidden.reshape(1, -1, hidden.shape[-1])
        output = BackboneOutput(last_hidden_state=flat)  # type: ignore[arg-type]
        unused = torch.zeros(flat.shape[:2], dtype=torch.long, device=flat.device)
        with replaced_forward(self._decoder.backbone, lambda *_, **__: output):
            logits = self._decoder.model(input_ids=unused, use_cache=False).logits
        return logits.reshape(*hidden.shape[:-1], -1)

    @_in_turn
    @torch.no_grad()
    def generate(
        self,
        tokens: Int[Tensor, "batch position"],
        n: int,
        *,
        site: Site,
        x: Float[Tensor, "batch position d"],
    ) -> Int[Tensor, "batch n"]:
        """Greedy continuation by `n` tokens of rows without padding, with `x` as the activation at `site`.

        The activation is replaced in the given tokens only, not in those that are generated.
        """
        self.positions.require(tokens.shape[1] + n - 1)
        if n == 1:
            return self.unembed(self.resume(site, x, tokens)[:, -1]).argmax(dim=-1, keepdim=True)
        run: Any = self._decoder.backbone
        with self._decoder.changed_at(site, lambda _: x.clone()):
            output = run(input_ids=tokens, use_cache=True)
        generated = [self.unembed(output.last_hidden_state[:, -1]).argmax(dim=-1, keepdim=True)]
        while len(generated) < n:
            output = run(input_ids=generated[-1], past_key_values=output.past_key_values, use_cache=True)
            generated.append(self.unembed(output.last_hidden_state[:, -1]).argmax(dim=-1, keepdim=True))
        return torch.cat(generated, dim=1)

    @_in_turn
    def logits(
        self, tokens: Int[Tensor, "batch position"], attention_mask: Bool[Tensor, "batch position"] | None = None
    ) -> Float[Tensor, "batch position vocab"]:
        """Logits of a plain, complete run."""
        self.positions.require(tokens.shape[1])
        return self._decoder.model(**run_inputs(tokens, attention_mask)).logits

    @_in_turn
    def hidden(self, tokens: Int[Tensor, "batch position"]) -> Float[Tensor, "batch position d_model"]:
        """The final hidden states of a plain, complete run, after the last norm."""
        self.positions.require(tokens.shape[1])
        return self._run(tokens, None)

    def _run(self, tokens: Tensor, attention_mask: Tensor | None) -> Tensor:
        return self._decoder.backbone(**run_inputs(tokens, attention_mask)).last_hidden_state


class _AllReached(Exception):
    """Ends a forward run at the last of its sites."""


def _centred(x: Tensor) -> Tensor:
    exact = x.float()
    return (exact - exact.mean(dim=-1, keepdim=True)).to(x.dtype)
