"""Absorption: how often a latent that should say a word's first letter is silent while a narrower one says it instead.

Lower is better for all of its scores. Chanin et al., "A is for Absorption" (2024), in SAEBench's form.

Sign policy: a code counts as it is. A split latent with a negative code is silent, since it does not say the letter;
what a latent contributes is code x cosine with the probe, and only latents with a positive cosine can absorb.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from sae_research.evals.base import Eval, EvalContext, Outcome
from sae_research.hub import Hub
from sae_research.results.record import MetricSpec

if TYPE_CHECKING:
    from sae_research.saes.base import Sae

_PLACE = "{word}"


@dataclass(frozen=True)
class AbsorptionSettings:
    """The first-letter task and the probes; the defaults are SAEBench's."""

    prompt_template: str = "{word} has the first letter:"
    """The line about a word up to its answer."""
    prompt_token_pos: int = -6
    """Where the word's token stands, counted from the prompt's end; checked against the tokenizer."""
    n_examples: int = 10
    """Answered lines about other words before it."""
    max_k_value: int = 10
    """The most latents of a k-sparse probe."""
    f1_jump_threshold: float = 0.03
    """By how much F1 must rise for one latent more to count as a split of the letter's feature."""
    k_sparse_probe_l1_decay: float = 0.01
    """Weight of the L1 penalty of the probe that ranks the latents."""
    k_sparse_probe_batch_size: int = 4096
    """Words per step of that probe's training. With few words give less: it needs about a thousand steps."""
    k_sparse_probe_num_epochs: int = 50
    """Passes over the words of that probe's training."""
    min_probe_f1: float = 0.6
    """A letter counts if the probe on the model's activations finds it with more than this F1."""
    min_feats_for_eval: int = 20
    """With fewer such letters there is no score."""

    def __post_init__(self) -> None:
        if self.prompt_template.count(_PLACE) != 1:
            raise ValueError(f"prompt_template is {self.prompt_template!r}, expected {_PLACE} once in it")
        if self.prompt_token_pos >= 0:
            raise ValueError(f"prompt_token_pos is {self.prompt_token_pos}, expected a negative number, from the end")
        names = (
            "n_examples", "max_k_value", "k_sparse_probe_batch_size", "k_sparse_probe_num_epochs", "min_feats_for_eval",
        )  # fmt: skip
        for name in names:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        if self.min_feats_for_eval > 26:
            raise ValueError(f"min_feats_for_eval is {self.min_feats_for_eval}, expected at most 26 letters")
        if self.k_sparse_probe_l1_decay < 0:
            raise ValueError(f"k_sparse_probe_l1_decay is {self.k_sparse_probe_l1_decay}, expected at least 0")


@final
class Absorption(Eval):
    """One pass of the language model over a prompt per word, one over fresh prompts, both shared by all SAEs."""

    name = "absorption"
    section = "absorption"
    specs = (
        MetricSpec("mean_absorption_fraction_score", "mean", "", "lower", "Absorption fraction (lower is better)",
                   "mean_absorption_fraction_score", headline=True),
        MetricSpec("mean_full_absorption_score", "mean", "", "lower", "Full absorption (lower is better)",
                   "mean_full_absorption_score", headline=True),
        MetricSpec("mean_num_split_features", "mean", "latents", "lower", "Split latents per letter (lower is better)",
                   "mean_num_split_features", headline=True),
        MetricSpec("std_dev_absorption_fraction_score", "mean", "", "neither",
                   "Absorption fraction, deviation over letters", "std_dev_absorption_fraction_score"),
        MetricSpec("std_dev_full_absorption_score", "mean", "", "neither",
                   "Full absorption, deviation over letters", "std_dev_full_absorption_score"),
        MetricSpec("std_dev_num_split_features", "mean", "latents", "neither",
                   "Split latents, deviation over letters", "std_dev_num_split_features"),
        MetricSpec("absorption_fraction_score", "letters", "", "lower", "Absorption fraction (lower is better)"),
        MetricSpec("full_absorption_score", "letters", "", "lower", "Full absorption (lower is better)"),
        MetricSpec("num_split_features", "letters", "latents", "lower", "Split latents (lower is better)"),
    )  # fmt: skip

    @classmethod
    def data_revisions(cls, settings: AbsorptionSettings, hub: Hub) -> Mapping[str, str]:
        return {}

    @classmethod
    def modules_by_name(cls, settings: AbsorptionSettings) -> tuple[str, ...]:
        return ()

    @classmethod
    def run(cls, context: EvalContext, saes: Sequence[Sae], settings: AbsorptionSettings) -> Iterator[Outcome]:
        if not saes:
            return
        from sae_research.evals.parts.absorption_pass import measure_absorption

        yield from measure_absorption(context, saes, settings)
