"""Settings: what is refused, what they expand to, and that each is part of the key."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from support.training import D_IN, SETTINGS, key_of

from sae_research.errors import UserError
from sae_research.training.fit import Workplace
from sae_research.training.keys import TrainedModel
from sae_research.training.lens import build_config
from sae_research.training.settings import TrainSettings, read_settings

BASE = {"architecture": "topk", "k": 4, **SETTINGS}
OTHER: dict[str, Any] = {
    "architecture": "batchtopk", "dataset": "embedded/more", "training_tokens": 840, "layer": 1,
    "hook_name": "blocks.1.hook_resid_post", "d_sae": 25, "expansion_factor": 2, "split": "test", "first_text": 1,
    "context_size": 17, "prepend_bos": False, "store_batch_size_prompts": 5, "n_batches_in_buffer": 4,
    "outlier_norm": 9.0, "train_batch_size_tokens": 41, "normalize_activations": "none", "lr": 2e-3,
    "lr_scheduler_name": "cosineannealing", "lr_warm_up_steps": 1, "lr_decay_steps": 1, "adam_beta1": 0.8,
    "adam_beta2": 0.99, "dead_feature_window": 7, "autocast": True, "seed": 1, "options": {"k": 5},
}  # fmt: skip
UNLIKE = {"hook_name": "layer", "expansion_factor": "d_sae"}
"""What must be left out beside them."""


def _one(values: dict[str, Any]) -> TrainSettings:
    (settings,) = read_settings(values, where="train")
    return settings


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(TrainSettings)])
def test_every_setting_is_part_of_the_key_but_for_name_and_checkpoints(field: str, place: Workplace) -> None:
    base = _one(BASE)
    if field in ("name", "checkpoint_every"):
        other = dataclasses.replace(base, **{field: "mine" if field == "name" else 0})
    else:
        left_out = {UNLIKE[field]: None} if field in UNLIKE else {}
        other = dataclasses.replace(base, **{field: OTHER[field]}, **left_out)
    revision = "abc"  # the same text, so that it counts by its name

    keys = {key_of(place, settings, dataset_revision=revision).key for settings in (base, other)}
    assert len(keys) == (1 if field in ("name", "checkpoint_every") else 2)


def test_the_same_in_other_words_has_the_same_key(place: Workplace) -> None:
    base = _one(BASE)
    for name in ("blocks.0.hook_resid_post", "model.layers.0"):
        words = dataclasses.replace(base, layer=None, hook_name=name)
        assert key_of(place, base).key == key_of(place, words).key
        assert words.text == base.text
    wide = dataclasses.replace(base, d_sae=None, expansion_factor=2)
    assert key_of(place, wide).key == key_of(place, dataclasses.replace(base, d_sae=2 * D_IN)).key


def test_model_text_and_sae_lens_are_part_of_the_key(place: Workplace) -> None:
    base = _one(BASE)
    model = place.model
    others = [
        key_of(place, base, model=TrainedModel("embedded/lm", "sha256:0", "float32")),
        key_of(place, base, model=TrainedModel("embedded/lm", model.revision, "bfloat16")),
        key_of(place, base, dataset_revision="sha256:0"),
        key_of(place, base, lens="6.55"),
    ]
    assert len({key_of(place, base).key, *(other.key for other in others)}) == 5
    # A folder counts by its content, a repository of the Hub by its name too.
    moved = TrainedModel("/elsewhere", model.revision, "float32")
    assert key_of(place, base, model=moved).key == key_of(place, base).key
    first, second = (key_of(place, base, model=TrainedModel(name, "0123", "float32")) for name in ("a/b", "a/c"))
    assert first.key != second.key


def test_saes_of_one_entry_add_to_what_they_share() -> None:
    values = {
        **SETTINGS,
        "saes": [{"architecture": "topk", "k": 8}, {"architecture": "standard", "lr": 0.1, "d_sae": 9}],
    }
    first, second = read_settings(values, where="train")
    assert (first.architecture, first.options, first.lr, first.d_sae) == ("topk", {"k": 8}, 1e-3, 24)
    assert (second.architecture, second.options, second.lr, second.d_sae) == ("standard", {}, 0.1, 9)
    assert (first.title, second.title, first.text == second.text) == ("topk_k8", "standard", True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layer": None}, "train: give either layer or hook_name"),
        ({"hook_name": "blocks.1.hook_mlp_out"}, "train: give either layer or hook_name"),
        ({"expansion_factor": 2}, "train: give either d_sae or expansion_factor"),
        ({"layer": None, "hook_name": "blocks.x"}, "hook name 'blocks.x' is not known; valid: blocks.N.hook_resid_pre"),
        ({"training_tokens": 0}, "train: training_tokens is 0, expected at least 1"),
        ({"lr": 0.0}, "train: lr is 0.0, expected more than 0"),
        ({"lr": "x"}, "train.lr: got 'x' .*, expected float"),
        ({"outlier_norm": 1}, "train: outlier_norm is 1.0, expected more than 1"),
        ({"name": "../x"}, "train: name is '../x', expected letters"),
        ({"lr_warm_up_steps": 21}, "train: lr_warm_up_steps and lr_decay_steps exceed the 20 steps"),
        (
            {"normalize_activations": "expected_average_only_out"},
            "got 'expected_average_only_out' .*valid: none, ",
        ),
        ({"saes": []}, r"train.saes: got \[\], expected a list of mappings"),
        ({"saes": [{"lr": -1}]}, r"train.saes\[0\]: lr is -1.0"),
        ({"dataset": None}, "train.dataset: got None"),
    ],
)
def test_a_mistake_is_told_with_its_place(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_settings({**BASE, **changes}, where="train")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "temporal"}, "no architecture 'temporal' to train; valid: standard, gated, topk, "),
        (
            {"trainin_tokens": 5},
            "unknown key 'trainin_tokens'; valid: architecture, dataset, .*; and for arch",
        ),
        ({"k": 2.5}, "train 'topk_k2.5': k: got 2.5 .*, expected int"),
        ({"d_in": 3}, "unknown key 'd_in'"),
        (
            {"architecture": "matryoshka_batchtopk", "matryoshka_widths": 3},
            "matryoshka_widths: got 3 .* a list",
        ),
    ],
)
def test_what_sae_lens_does_not_have_is_refused_before_anything_runs(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_config(_one({**BASE, **changes}), D_IN)


def test_without_sae_lens_the_message_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.metadata

    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(UserError, match=r"not installed: pip install 'sae-research\[training\]'"):
        build_config(_one(BASE), D_IN)
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "6.28.1")
    with pytest.raises(UserError, match=r"SAELens 6\.28\.1 is too old to train with, expected 6\.54"):
        build_config(_one(BASE), D_IN)
