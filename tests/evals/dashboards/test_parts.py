"""The sample by hand, texts of tokens, and what cannot be shown."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from sae_research.evals.dashboards.atoms import no_logits
from sae_research.evals.dashboards.eval import DASHBOARDS
from sae_research.evals.dashboards.sample import candidates, draw_by_density, known_latents
from sae_research.evals.dashboards.settings import DashboardsSettings
from sae_research.evals.dashboards.token_texts import TokenTexts
from sae_research.lm.model import LanguageModel
from sae_research.lm.site import Site


def test_each_power_of_ten_has_its_turn() -> None:
    #                 0  1  2   3   4  5    6  7
    fired = np.array([5, 7, 0, 40, 50, 9, 300, 0])
    # Never: 2, 7. Up to 9: 0, 1, 5. Up to 99: 3, 4. Up to 999: 6.
    assert draw_by_density(fired, 4).tolist() == [2, 0, 3, 6]
    assert draw_by_density(fired, 7).tolist() == [2, 0, 3, 6, 7, 1, 4]
    assert draw_by_density(fired, 99).tolist() == [2, 0, 3, 6, 7, 1, 4, 5]
    assert draw_by_density(fired[:0], 3).tolist() == []


def test_candidates_are_drawn_by_seed_and_width_alone() -> None:
    assert len(candidates(1000, 20, seed=0)) == 40
    assert candidates(1000, 20, seed=0).tolist() == candidates(1000, 30, seed=0)[:40].tolist()
    assert candidates(1000, 20, seed=0).tolist() != candidates(1000, 20, seed=1).tolist()
    assert sorted(candidates(8, 20, seed=0)) == list(range(8))
    assert known_latents((5, 2, 5, 9), 9).tolist() == [2, 5]


def _byte_level() -> PreTrainedTokenizerFast:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    plain = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    plain.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    return PreTrainedTokenizerFast(tokenizer_object=plain)


def _metaspace() -> PreTrainedTokenizerFast:
    vocabulary = [("<unk>", 0.0), ("\u2581", -1.0), ("a", -1.0), ("\u2581the", -1.0), ("he", -1.0)]
    plain = Tokenizer(models.Unigram(vocabulary, unk_id=0))
    plain.pre_tokenizer = pre_tokenizers.Metaspace()  # type: ignore[assignment]
    plain.decoder = decoders.Metaspace()  # type: ignore[assignment]
    return PreTrainedTokenizerFast(tokenizer_object=plain, unk_token="<unk>")


def test_tokens_are_what_they_add_in_the_middle_of_a_text() -> None:
    bytes_alone = _byte_level()
    ids = bytes_alone("x \n\u00e9", add_special_tokens=False)["input_ids"]
    assert TokenTexts(bytes_alone).of(ids) == ["x", " ", "\n", "\ufffd", "\ufffd"]
    marked = _metaspace()
    assert marked.decode([3]) == "the", "alone, the space is lost"
    texts = TokenTexts(marked)
    assert texts.of([3, 4, 3]) == [" the", "he", " the"]
    assert texts.of([]) == []


def test_atoms_of_attention_heads_promote_no_tokens(lm: LanguageModel) -> None:
    assert no_logits(lm, Site(0, "resid_post")) is None
    assert no_logits(lm, Site(0, "attn_out")) is None
    assert "of attention heads" in (no_logits(lm, Site(0, "attn_z")) or "")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_rows": 0}, "n_rows is 0, expected at least 1"),
        ({"latents": (3, -1)}, "latents holds -1, expected at least 0"),
        ({"latents": (3, 3)}, "latents holds a value twice"),
        ({"n_top": 100, "n_per_quantile": 6}, "make 130 windows a latent, expected at most 127"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DashboardsSettings("text", **changes)


def test_saes_are_left_out_by_name_or_pattern() -> None:
    settings = DashboardsSettings("text", leave_out=("random_*", "topk_k8"))
    names = ("random_topk_k16", "topk_k8", "topk_k80", "a_random_b")
    assert [DASHBOARDS.leaves_out(settings, name) for name in names] == [True, True, False, False]
