"""The first-letter task and its probes."""

from __future__ import annotations

from dataclasses import dataclass

from sae_research.probes.draws import Rules
from sae_research.records import at_least

_PLACE = "{word}"


@dataclass(frozen=True)
class AbsorptionSettings:
    """The first-letter task and the probes; the defaults are SAEBench's."""

    prompt_template: str = "{word} has the first letter:"
    """The line about a word, up to its answer."""
    prompt_token_pos: int = -6
    """The position of the word's token, counted from the end of the prompt; checked against the tokenizer."""
    n_examples: int = 10
    """Answered lines about other words that precede it."""
    max_words: int | None = None
    """How many of the tokenizer's words are drawn; None: all. The language model reads one prompt for each."""
    max_k_value: int = 10
    """The largest number of latents of a k-sparse probe."""
    f1_jump_threshold: float = 0.03
    """How much F1 must rise for another latent to count as a split of the letter's feature."""
    k_sparse_probe_l1_decay: float = 0.01
    """Weight of the L1 penalty of the probe that ranks the latents."""
    k_sparse_probe_batch_size: int = 4096
    """Words per training step of that probe. Lower it for few words: the probe needs about a thousand steps."""
    k_sparse_probe_num_epochs: int = 50
    """Passes over the words in the training of that probe."""
    min_probe_f1: float = 0.6
    """A letter counts if the probe on the model's activations detects it with an F1 above this."""
    min_feats_for_eval: int = 20
    """The score is missing with fewer such letters."""
    rules: Rules = "clean"
    """`clean`: how many latents a letter is split into is chosen on training words, and a letter that the probe on
    these latents does not detect has no score. `sae_bench`: chosen on the test words that are then scored; every letter
    of the model counts."""
    min_sae_probe_f1: float = 0.6
    """Under `clean`, a letter has a score if the probe on its latents has at least this F1 on test words."""
    min_sae_letters: int = 5
    """Under `clean`, the means over letters are missing with fewer such letters."""

    def __post_init__(self) -> None:
        if self.prompt_template.count(_PLACE) != 1 or set("{}") & set(self.prompt_template.replace(_PLACE, "")):
            raise ValueError(f"prompt_template is {self.prompt_template!r}, expected {_PLACE} once and no other braces")
        if self.prompt_token_pos >= 0:
            raise ValueError(
                f"prompt_token_pos is {self.prompt_token_pos}, expected a negative number, counted from the end"
            )
        if self.max_words is not None:
            at_least(self, max_words=1)
        at_least(self, n_examples=1, max_k_value=1, min_feats_for_eval=1, min_sae_letters=1)
        at_least(self, k_sparse_probe_batch_size=1, k_sparse_probe_num_epochs=1, k_sparse_probe_l1_decay=0)
        for name in ("min_feats_for_eval", "min_sae_letters"):
            if getattr(self, name) > 26:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at most 26 letters")
