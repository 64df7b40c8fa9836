from __future__ import annotations

import dataclasses
import importlib
import warnings
from collections.abc import Callable

import pytest
from sae_research.results.sae_bench_config import _ALIASES, _ALWAYS, sae_bench_config

from sae_research.evals.core.settings import CoreSettings
from sae_research.evals.scr.settings import ScrSettings
from sae_research.evals.sparse_probing.settings import SparseProbingSettings
from sae_research.evals.tpp.settings import TppSettings
from sae_research.measurements import Result

SETTINGS = {"core": CoreSettings, "sparse_probing": SparseProbingSettings, "scr": ScrSettings, "tpp": TppSettings}
CLASSES = {
    "core": ("core", "CoreEvalConfig"),
    "sparse_probing": ("sparse_probing", "SparseProbingEvalConfig"),
    "scr": ("scr_and_tpp", "ScrAndTppEvalConfig"),
    "tpp": ("scr_and_tpp", "ScrAndTppEvalConfig"),
}


@pytest.mark.parametrize("eval_name", list(SETTINGS))
def test_every_alias_names_a_setting_of_ours_and_one_of_sae_benchs(eval_name: str) -> None:
    pytest.importorskip("sae_bench")
    with warnings.catch_warnings():
        # SAEBench 0.6.0 declares its validators in a way that pydantic 2.12 deprecates.
        warnings.simplefilter("ignore", DeprecationWarning)
        folder, class_name = CLASSES[eval_name]
        module = importlib.import_module(f"sae_bench.evals.{folder}.eval_config")
    theirs = set(getattr(module, class_name).__pydantic_fields__)
    ours = {field.name for field in dataclasses.fields(SETTINGS[eval_name])}
    assert set(_ALIASES[eval_name]) <= ours
    assert set(_ALIASES[eval_name].values()) | set(_ALWAYS.get(eval_name, {})) <= theirs


def test_settings_stand_under_both_names(core_result: Callable[..., Result]) -> None:
    config = sae_bench_config(core_result())
    assert config["n_reconstruction_batches"] == config["n_eval_reconstruction_batches"] == 10
    assert config["compute_kl"] is True


def test_what_the_key_does_not_say_is_left_out(core_result: Callable[..., Result]) -> None:
    config = sae_bench_config(dataclasses.replace(core_result(), key_parts={}))
    assert not {"model_name", "llm_dtype", "random_seed"} & set(config)
