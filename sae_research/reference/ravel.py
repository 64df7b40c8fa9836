"""SAEBench's own RAVEL on our model, prompts and SAEs, with patches for current versions of transformers."""

from __future__ import annotations

import contextlib
import io
import random
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from jaxtyping import Float
from torch import Tensor

from sae_research.evals.ravel.pairs import Pairs, PairSplit
from sae_research.evals.ravel.prompts import Prompts
from sae_research.evals.ravel.settings import RavelSettings
from sae_research.lm.model import LanguageModel
from sae_research.reference.adapter import SaeBenchSae
from sae_research.saes.base import Sae


class SaeBenchScores(NamedTuple):
    """SAEBench's scores for one attribute."""

    cause: float
    isolation: float

    @property
    def disentanglement(self) -> float:
        return (self.cause + self.isolation) / 2


class SaeBenchMask(NamedTuple):
    """SAEBench's mask for one attribute, trained on given pairs, and its scores."""

    mask: Float[Tensor, " latent"]
    scores: SaeBenchScores


@dataclass(frozen=True)
class SaeBenchRavel:
    """SAEBench's RAVEL with one model, whose tokenizer is in `folder`."""

    lm: LanguageModel
    folder: Path
    settings: RavelSettings

    def score(self, sae: Sae, prompts: Prompts, attribute: str, others: Sequence[str], *, seed: int) -> SaeBenchScores:
        """`run_eval_single_cause_attribute` with its own pairs, split and order, on prompts that the model knows."""
        main = _modules().main
        dataset = main.RAVELFilteredDataset(self._prompts(prompts), {})
        with self._patched():
            random.seed(seed)
            torch.manual_seed(seed)
            scores = main.run_eval_single_cause_attribute(
                dataset, attribute, list(others), self._config(), SaeBenchSae(sae), self.lm.plain_model
            )
        return SaeBenchScores(scores["cause_score"], scores["isolation_score"])

    def train_and_score(self, sae: Sae, prompts: Prompts, split: PairSplit) -> SaeBenchMask:
        """`train_mdbm`, then `generate_batched_interventions`, on our pairs in our order."""
        modules = _modules()
        config, model = self._config(), self.lm.plain_model
        with self._patched():
            train, test = (
                modules.main.create_dataloader_from_pairs(_formatted(self._prompts(prompts), pairs), model, config)
                for pairs in split
            )
            trained = modules.mdbm.train_mdbm(
                model, self.lm.tokenizer, config, SaeBenchSae(sae), train_loader=train, val_loader=test
            )
            isolation, cause = modules.intervention.generate_batched_interventions(
                model, trained, self.lm.tokenizer, test, max_new_tokens=config.n_generated_tokens
            )
        return SaeBenchMask(trained.binary_mask.detach(), SaeBenchScores(cause, isolation))

    def entity_position(self, template: str) -> int:
        """Where SAEBench believes the entity ends, counted from the end of the prompt."""
        return -len(self.lm.tokenizer.encode(template.split("%s")[1]))

    def _config(self) -> Any:
        settings = self.settings
        return _modules().main.RAVELEvalConfig(
            model_name=str(self.folder), llm_dtype="float32", llm_batch_size=settings.batch_size,
            num_pairs_per_attribute=settings.num_pairs_per_attribute, train_test_split=settings.train_share,
            learning_rate=settings.learning_rate, num_epochs=settings.num_epochs,
            n_generated_tokens=settings.n_generated_tokens,
        )  # fmt: skip

    def _prompts(self, prompts: Prompts) -> list[Any]:
        """Our prompts as SAEBench's records, with the entity at our position."""
        record = _modules().intervention.Prompt
        rows = zip(prompts.items, prompts.tokens, prompts.lengths, prompts.entity, prompts.first, strict=True)
        return [
            record(
                text=item.text, template=item.template, attribute_type=item.attribute, attribute_label=item.label,
                entity_label=item.entity, context_split="train", entity_split="train",
                input_ids=tokens[:length].tolist(), final_entity_token_pos=int(entity - length),
                first_generated_token_id=int(first), is_correct=True,
            )
            for item, tokens, length, entity, first in rows
        ]  # fmt: skip

    @contextmanager
    def _patched(self) -> Iterator[None]:
        """Within the block layers pass tuples to hooks, as they did when SAEBench was written; nothing is printed."""
        collection = _modules().collection
        layers = self.lm.layers
        graded = torch.is_grad_enabled()
        with (
            patch.object(collection, "get_module", lambda _model, layer: _TupleLayer(layers[layer])),
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            torch.set_grad_enabled(True)
            try:
                yield
            finally:
                torch.set_grad_enabled(graded)


class _Modules(NamedTuple):
    main: Any
    mdbm: Any
    intervention: Any
    collection: Any


def _modules() -> _Modules:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sae_bench.evals.ravel import intervention, main, mdbm
        from sae_bench.sae_bench_utils import activation_collection
    return _Modules(main, mdbm, intervention, activation_collection)


class _TupleLayer:
    """A layer that returns a bare tensor, adapted to hooks that expect and return a tuple."""

    def __init__(self, layer: torch.nn.Module) -> None:
        self._layer = layer

    def register_forward_hook(self, hook: Any) -> Any:
        def adapted(module: Any, inputs: Any, output: Any) -> Any:
            if isinstance(output, tuple):
                return hook(module, inputs, output)
            # SAEBench's hook writes into the tensor, which autograd allows only on a copy.
            return hook(module, inputs, (output.clone(),))[0]

        return self._layer.register_forward_hook(adapted)


def _formatted(prompts: Sequence[Any], pairs: Pairs) -> list[tuple[Any, ...]]:
    """The rows of SAEBench's `create_dataloaders`; for isolation both sides have the base's token."""
    rows = []
    triples = zip(pairs.base.tolist(), pairs.source.tolist(), pairs.is_cause.tolist(), strict=True)
    for base, source, is_cause in ((prompts[b], prompts[s], c) for b, s, c in triples):
        wanted = source if is_cause else base
        rows.append(
            (
                base.input_ids, source.input_ids, base.attention_mask, source.attention_mask,
                base.final_entity_token_pos, source.final_entity_token_pos,
                base.first_generated_token_id, wanted.first_generated_token_id, base.text, wanted.attribute_label,
            )
        )  # fmt: skip
    return rows
