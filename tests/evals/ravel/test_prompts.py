"""RAVEL's prompts as tokens, and which of them the model knows."""

from __future__ import annotations

import torch
from transformers import PreTrainedTokenizerFast

from sae_research.evals.base import EvalContext
from sae_research.evals.ravel.entities import EntityPrompt
from sae_research.evals.ravel.prompts import Checker, Prompts, known_prompts, tokenize_prompts
from sae_research.lm.model import LanguageModel
from sae_research.lm.site import Site


def test_prompts_as_tokens(lm: LanguageModel, tokenizer: PreTrainedTokenizerFast) -> None:
    several = EntityPrompt("w1 w2 w3", "Country", "w50 %s w51", "w9", held_out=False)
    alone = EntityPrompt("w4", "Country", "%s", "w9", held_out=False)
    prompts = tokenize_prompts(lm, [several, alone])
    assert tokenizer.convert_ids_to_tokens(prompts.tokens[0].tolist()) == ["<bos>", "w50", "w1", "w2", "w3", "w51"]
    assert tokenizer.convert_ids_to_tokens(prompts.tokens[1].tolist()) == ["<bos>", "w4", *["<pad>"] * 4]
    assert (prompts.entity.tolist(), prompts.lengths.tolist()) == ([4, 1], [6, 2])


def test_only_what_the_model_knows_is_kept(
    context: EvalContext, site: Site, items: list[EntityPrompt], prompts: Prompts, checker: Checker
) -> None:
    assert prompts.items == items
    wrong = [item._replace(label="w0" if item.label != "w0" else "w1") for item in items[:3]]
    asked = tokenize_prompts(context.lm, [*wrong, *items[3:]])
    known = known_prompts(context, site, asked, checker, n_entities=3)
    # The first city has one right answer, the others four each: the first three of these are kept.
    assert known.items == items[4:16]
    assert known.first.tolist() == prompts.first[4:16].tolist()


def test_generated_answers_are_judged_as_text(context: EvalContext, site: Site, items: list[EntityPrompt]) -> None:
    """With two tokens the label may be a phrase; the second token is read after the first."""
    lm = context.lm
    ids = [2, *lm.tokenizer(items[0].text)["input_ids"]]  # type: ignore[misc]
    for _ in range(2):
        ids.append(int(lm.logits(torch.tensor([ids]))[0, -1].argmax()))
    phrase = str(lm.tokenizer.decode(ids[-2:]))
    asked = [items[0]._replace(label=phrase), items[0]._replace(label=f"{phrase}x"), items[0]._replace(label="no")]
    known = known_prompts(context, site, tokenize_prompts(lm, asked), Checker(lm, 2), n_entities=500)
    assert [item.label for item in known.items] == [phrase, f"{phrase}x"]  # As much of the label as fits counts.
