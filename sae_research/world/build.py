"""Builds the embedded world: text, tokenizer, language model, data sets, SAEs; all of it or nothing."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sae_research.files import folder_in_the_making
from sae_research.progress import Progress
from sae_research.world.grammar import Grammar
from sae_research.world.manifest import world_is_valid, write_manifest
from sae_research.world.sae_plan import HOOK_LAYER, PLANS
from sae_research.world.settings import LM_UNITS, WorldSettings

__all__ = ["build_world", "world_is_valid"]


def build_world(folder: Path, settings: WorldSettings, progress: Progress) -> dict[str, Any]:
    """Builds the world of `settings` in `folder`, replacing its content, and returns its manifest."""
    from sae_research.workers import workers

    recipe = settings.recipe
    progress.expect(recipe.lm_steps * LM_UNITS + recipe.sae_steps * len(PLANS))
    with folder_in_the_making(folder, scratch=folder.parent) as draft, workers(recipe.n_workers) as pool:
        texts, contents = _write_text(draft, settings)
        training = _write_lm(draft, settings, texts, progress, pool)
        training |= _write_saes(draft, settings, texts, progress, pool)
        return write_manifest(draft, settings, contents=contents, training=training)


def _write_text(draft: Path, settings: WorldSettings) -> tuple[list[str], dict[str, str]]:
    """Writes tokenizer and data sets; returns the training texts, and digests that are the same on every machine."""
    from sae_research.digests import digest_file
    from sae_research.world.datasets import content_digest, make_data_sets, write_data_set
    from sae_research.world.tokenizer import save_tokenizer, spelling_words, train_tokenizer

    recipe = settings.recipe
    grammar = Grammar(settings.seed)
    tokenizer = train_tokenizer(grammar, vocab_size=recipe.vocab_size, n_documents=recipe.n_documents)
    save_tokenizer(tokenizer, draft / "models" / "lm")
    contents = {"tokenizer": digest_file(draft / "models" / "lm" / "tokenizer.json")}
    texts: list[str] = []
    for data_set in make_data_sets(grammar, recipe, spelling_words(tokenizer)):
        write_data_set(data_set, draft / "datasets" / data_set.name)
        contents[f"datasets/{data_set.name}"] = content_digest(data_set)
        if data_set.name == "text":
            texts = [row["text"] for row in data_set.rows["train"]]
    return texts, contents


def _write_lm(
    draft: Path, settings: WorldSettings, texts: list[str], progress: Progress, pool: Executor
) -> dict[str, Any]:
    from transformers import AutoTokenizer

    from sae_research.data.text import token_rows
    from sae_research.world.lm_training import answer_weights, make_model, save_lm, train_lm

    recipe, folder = settings.recipe, draft / "models" / "lm"
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    n_rows = recipe.lm_steps * recipe.lm_batch_size
    rows = token_rows(texts, tokenizer, context_size=recipe.context_size, n_rows=n_rows)
    model = make_model(tokenizer, recipe, seed=settings.seed)
    summary = train_lm(model, rows, answer_weights(rows, tokenizer), recipe, progress, pool)
    save_lm(model, folder)
    return {"lm": asdict(summary)}


def _write_saes(
    draft: Path, settings: WorldSettings, texts: list[str], progress: Progress, pool: Executor
) -> dict[str, Any]:
    from sae_research.data.text import token_rows
    from sae_research.lm.load import load_language_model, wrap_language_model
    from sae_research.lm.site import Site
    from sae_research.sources.hub import Hub
    from sae_research.world.harvest import harvest
    from sae_research.world.lm_training import make_model
    from sae_research.world.sae_files import MODEL_NAME, write_sae
    from sae_research.world.sae_training import train_saes

    recipe, site = settings.recipe, Site(HOOK_LAYER, "resid_post")
    trained = load_language_model(Hub(draft), MODEL_NAME, device="cpu")
    # The same weights that training started from.
    start = make_model(trained.tokenizer, recipe, seed=settings.seed).eval().requires_grad_(False)
    untrained = wrap_language_model(start, trained.tokenizer, name=MODEL_NAME, revision="untrained")
    # One activation for each place in the SAEs' batches; at most a tenth of the tokens are special.
    n_rows = -(-recipe.sae_steps * recipe.sae_batch_size // int(0.9 * recipe.context_size))
    rows = token_rows(texts, trained.tokenizer, context_size=recipe.context_size, n_rows=n_rows)
    activations = {
        name: harvest(lm, site, rows, seed=settings.seed)
        for name, lm in (("trained", trained), ("untrained", untrained))
    }
    for sae in train_saes(PLANS, activations, recipe, progress, pool, seed=settings.seed):
        write_sae(sae, draft / "models", recipe)
    return {"saes": {"tokens": recipe.sae_steps * recipe.sae_batch_size, "hook_layer": HOOK_LAYER}}
