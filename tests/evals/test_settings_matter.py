"""Every field of every eval's settings changes a result, a draw or an error, or stands in INERT with its reason."""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.small_evals import SETTINGS, letters_model, letters_sae, words_model

from sae_research.errors import UserError
from sae_research.evals.base import Eval, EvalContext
from sae_research.evals.registry import all_evals, find_eval
from sae_research.evals.run import run_eval
from sae_research.lm.model import LanguageModel
from sae_research.progress import Progress
from sae_research.saes.base import Sae
from sae_research.sources.hub import Hub


class Change(NamedTuple):
    """Another value of a field, and what it leads to."""

    value: Any
    under: Mapping[str, Any] = {}
    """Other fields' values, in both runs."""
    error: str | None = None
    """What the error says, where no other value is valid."""


INERT: Mapping[str, str] = {
    "dashboards.leave_out": "it chooses SAEs before any is measured",
    **{
        f"{kind}.{name}": "goes to a judge's server, as test_openai.py holds; rules draw nothing"
        for kind in ("autointerp.explaining", "autointerp.scoring", "sensitivity.writing")
        for name in ("temperature", "top_p")
    },
}
"""By `eval.field`: why it changes nothing on purpose."""

WEAK_LATENTS = {"k_sparse_probe_l1_decay": 1.0}
"""Probes on the latents of letters are then wrong about some words."""

JUDGED: Mapping[str, Change] = {
    "dataset": Change("embedded/other_words"),
    "split": Change("train", error="must not have read what is measured"),
    "n_rows": Change(140),
    "context_size": Change(40),
    "n_latents": Change(4),
    "min_firings": Change(400),
    "negatives": Change("sae_bench"),
    "judge": Change("caller", error="sae_research.evaluate"),
    "judge_revision": Change("main", error="judge_revision is of a model"),
    "reading.dataset": Change("embedded/other_words"),
    "reading.split": Change("test", error="must not have read what is measured"),
    "reading.first_text": Change(385),
    "reading.n_texts": Change(20),
}
"""Of both evals that ask a judge."""

PUBLISHED: Mapping[str, Any] = {
    "published_files": {"topk": "results.json"}, "published": "embedded/published", "examples": "published"
}  # fmt: skip

CHANGES: Mapping[str, Mapping[str, Change]] = {
    "core": {
        "dataset": Change("embedded/retain", {"split": "train"}),
        "split": Change("train"),
        "context_size": Change(10),
        "batch_size": Change(3),
        "n_reconstruction_batches": Change(3),
        "n_sparsity_batches": Change(4),
        "exclude_special_tokens_from_reconstruction": Change(False),
        "prepend_bos": Change(False),
    },
    "sparse_probing": {
        "dataset_names": Change(("embedded/bios",)),
        "train_size": Change(24),
        "test_size": Change(12),
        "context_size": Change(6),
        "k_values": Change((1, 3)),
        "sampling": Change("sae_bench", {"dataset_names": ("embedded/reviews",)}),
        "wide_probes": Change(False),
        "seeds": Change((7,)),
    },
    "scr": {
        "dataset_names": Change(("embedded/reviews",)),
        "train_size": Change(32),
        "test_size": Change(16),
        "context_size": Change(6),
        "n_values": Change((2, 6)),
        "n_shares": Change((12, 40)),
        "sampling": Change("sae_bench"),
        "rules": Change("sae_bench"),
        "seeds": Change((7,)),
    },
    "tpp": {
        "dataset_names": Change(("embedded/reviews",)),
        "train_size": Change(24),
        "test_size": Change(12),
        "context_size": Change(6),
        "n_values": Change((2, 40)),
        "n_shares": Change((12, 40)),
        "sampling": Change("sae_bench"),
        "rules": Change("sae_bench"),
        "seeds": Change((7,)),
    },
    "absorption": {
        "prompt_template": Change("{word} the has first letter:"),
        "prompt_token_pos": Change(-5, error="prompt_token_pos"),
        "n_examples": Change(9),
        "max_words": Change(120),
        "max_k_value": Change(1, {"f1_jump_threshold": 0.0001}),
        "f1_jump_threshold": Change(0.5),
        "k_sparse_probe_l1_decay": Change(1.0),
        "k_sparse_probe_batch_size": Change(64),
        "k_sparse_probe_num_epochs": Change(15, {"k_sparse_probe_l1_decay": 1.0}),
        "min_probe_f1": Change(0.99),
        "min_feats_for_eval": Change(26, {"min_probe_f1": 0.99}),
        "rules": Change("sae_bench", WEAK_LATENTS | {"min_sae_probe_f1": 0.999}),
        "min_sae_probe_f1": Change(0.999, WEAK_LATENTS),
        "min_sae_letters": Change(26, WEAK_LATENTS | {"min_sae_probe_f1": 0.999}),
    },
    "ravel": {
        "dataset": Change("embedded/towns"),
        "attributes": Change({"town": ("Country", "Language")}),
        "top_n_entities": Change(12),
        "num_pairs_per_attribute": Change(16),
        "train_share": Change(0.5),
        "templates": Change({"Country": ("w50 %s w52",)}),
        "prepend_bos": Change(False),
        "split": Change("sae_bench"),
        "hottest": Change(9.0),
        "coldest": Change(0.5),
        "cooling": Change("linear"),
        "train_with_error": Change(True),
        "answer": Change("generation"),
        "n_generated_tokens": Change(1, {"answer": "generation"}),
        "batch_size": Change(8),
        "num_epochs": Change(2),
        "learning_rate": Change(0.5),
        "rotation_learning_rate": Change(0.5),
        "das_dimension": Change(2),
        "baselines": Change(("das",)),
        "seeds": Change((7,)),
    },
    "unlearning": {
        **{
            f"{corpus}_corpus.{name}": change
            for corpus in ("forget", "retain")
            for name, change in {
                "dataset": Change("embedded/more"),
                "config": Change("other"),
                "split": Change("test"),
                "file": Change("lines.jsonl"),
                "column": Change("second"),
            }.items()
        },
        "forget_questions.dataset": Change("embedded/other_facts"),
        "forget_questions.subjects": Change(("gems",)),
        "harmless_questions.dataset": Change("embedded/other_facts"),
        "harmless_questions.subjects": Change(("gems",)),
        "n_rows": Change(6),
        "context_size": Change(8),
        "prompt_format": Change("w40 {question} w51{lettered} w52 {listed} w53"),
        "protocol": Change("letters"),
        "required_orders": Change(2),
        "asked_orders": Change(2, {"required_orders": 2}),
        "select_on": Change("same_questions"),
        "retain_thresholds": Change((0.01, 0.9)),
        "n_latents": Change((2, 9)),
        "multipliers": Change((2, 30)),
        "multiplier_unit": Change("scaled"),
        "side_effect_floor": Change(0.01),
    },
    "dashboards": {
        "dataset": Change("embedded/retain", {"split": "train"}),
        "split": Change("train"),
        "n_rows": Change(7),
        "context_size": Change(20),
        "n_latents": Change(7),
        "latents": Change((0, 1, 2)),
        "n_top": Change(1),
        "n_quantiles": Change(3),
        "n_per_quantile": Change(1),
        "n_tokens": Change(3),
        "n_neighbours": Change(3),
        "n_bins": Change(3),
    },
    "sensitivity": {
        **JUDGED,
        "examples": Change("published", error="published_files is empty"),
        "published": Change("embedded/other_published", PUBLISHED),
        "published_files": Change({"topk": "other.json"}, PUBLISHED),
        "n_top": Change(6),
        "n_weighted": Change(3),
        "writing.max_tokens": Change(30),
        "min_judge_gold": Change(0.0, {"writing.max_tokens": 30}),
        "max_unanswered": Change(1.0, {"writing.max_tokens": 30, "min_judge_gold": 0.0}),
    },
    "autointerp": {
        **JUDGED,
        "explaining.max_tokens": Change(2),
        "scoring.max_tokens": Change(1),
        "min_judge_gold": Change(1.0),
        "max_unanswered": Change(0.5, {"explaining.max_tokens": 16}),
    },
}
"""For each field a value beside the one in SETTINGS."""


class Runner:
    """Runs evals on the tiny world; what was run once is remembered."""

    def __init__(self, world: Path, lm: LanguageModel, sae: Sae) -> None:
        self._hub, self._lm, self._sae = Hub(world), lm, sae
        self.run = cache(self._run)

    def _run(self, name: str, changes: str) -> str:
        """Every number and reason of that eval, or the error."""
        evaluated = find_eval(name)
        lm, sae = (letters_model(), letters_sae()) if name == "absorption" else (self._lm, self._sae)
        lm = words_model() if name in ("sensitivity", "autointerp") else lm
        context = EvalContext(lm=lm, hub=self._hub, seed=0, batch_size=16, progress=Progress("test", shown=False))
        try:
            settings = _changed(SETTINGS[name], json.loads(changes))
            [measured] = run_eval(context, evaluated, settings, [sae], parts=lambda _: {})
        except (UserError, ValueError) as error:
            return f"error: {error}"
        if measured.result is None:
            return f"error: {measured.error}"
        output = measured.result.output
        if output.tables and not output.measurements:
            return "\n".join(f"{table} {content.digest()}" for table, content in output.tables.items())
        return "\n".join(f"{m.metric} {dict(m.at)} {m.value} {m.reason} {m.ci_low}" for m in output.measurements)


@pytest.fixture(scope="module")
def runner(small_world: Path, lm: LanguageModel, make_sae: Any) -> Runner:
    return Runner(small_world, lm, make_sae("topk", k=6))


def _changed(settings: Any, changes: Mapping[str, Any]) -> Any:
    """The record with these fields, `a.b` for a record in it."""
    for path, value in changes.items():
        name, _, inside = path.partition(".")
        value = _tuples(value)
        settings = dataclasses.replace(
            settings, **{name: _changed(getattr(settings, name), {inside: value}) if inside else value}
        )
    return settings


def _tuples(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    return {key: _tuples(v) for key, v in value.items()} if isinstance(value, dict) else value


def _fields(record: type, prefix: str = "") -> Iterator[str]:
    """The paths of all fields of a settings record, those of records in it included."""
    hints = typing.get_type_hints(record)
    for field in dataclasses.fields(record):
        # A record, or one that may be missing.
        hint = next(filter(dataclasses.is_dataclass, typing.get_args(hints[field.name])), hints[field.name])
        if dataclasses.is_dataclass(hint):
            yield from _fields(hint, f"{prefix}{field.name}.")  # type: ignore[arg-type]
        else:
            yield prefix + field.name


@pytest.mark.parametrize("evaluated", all_evals(), ids=lambda evaluated: evaluated.name)
def test_every_field_has_a_case(evaluated: Eval) -> None:
    fields = set(_fields(evaluated.settings))
    cases = CHANGES.get(evaluated.name, {}).keys()
    inert = {name.partition(".")[2] for name in INERT if name.partition(".")[0] == evaluated.name}
    missing = sorted(fields - cases - inert)
    assert not missing, (
        f"{evaluated.name}: no test shows that {', '.join(missing)} does anything. Add to CHANGES[{evaluated.name!r}] "
        "another value that changes a number, or to INERT the reason why none does"
    )
    assert sorted({*cases, *inert} - fields) == [], "cases of fields that there are not (any more)"


@pytest.mark.parametrize(
    ("evaluated", "field"),
    [(evaluated, field) for evaluated in all_evals() for field in CHANGES.get(evaluated.name, {})],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_another_value_changes_what_comes_out(runner: Runner, evaluated: Eval, field: str) -> None:
    change = CHANGES[evaluated.name][field]
    before = runner.run(evaluated.name, json.dumps(dict(change.under)))
    after = runner.run(evaluated.name, json.dumps({**change.under, field: change.value}))
    assert not before.startswith("error: "), before
    if change.error is None:
        assert not after.startswith("error: "), after
        assert after != before
    else:
        assert after.startswith("error: ")
        assert change.error in after
