"""Hostile, broken and contradictory `params.yaml`: one short line that says where, before anything is computed."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from support.project import ROOT, merge

from sae_research.errors import UserError
from sae_research.evals.registry import find_eval
from sae_research.pipeline.params import load_params, shared_texts


def params_with(folder: Path, changes: Mapping[str, Any]) -> Path:
    """The repository's `params.yaml` with other values."""
    yaml = YAML(typ="safe", pure=True)
    values = yaml.load((ROOT / "params.yaml").read_text())
    merge(values, changes)
    path = folder / "params.yaml"
    with path.open("w") as file:
        yaml.dump(values, file)
    return path


def refused(path: Path, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_params(path)
    said = str(caught.value)
    assert said.isprintable() and "CANARY" not in said
    assert len(said) < 700
    assert said.startswith("params.yaml")


TEXT = (ROOT / "params.yaml").read_text()
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (TEXT.encode("utf-16"), "is not UTF-8"),
        (TEXT.replace("embedded/lm", "embedded/lmü").encode("latin-1"), "is not UTF-8"),
        ("a: " + "[" * 3000 + "]" * 3000, "nested too deeply"),
        ("a: " + "[" * 200 + "]" * 200, "nested more than 50 deep"),
        ("a: &a [*a]\n", "nested more than 50 deep"),
        (BOMB + TEXT, "more than 100,000 values once its anchors are filled in"),
        (TEXT.replace("random_seed: 42", f"random_seed: {'9' * 5000}"), "params.yaml"),
        ("random_seed: 2001-99-99\n", "params.yaml"),
        ("\x00", "not valid YAML"),
    ],
    ids=["utf-16", "latin-1", "3000 deep", "200 deep", "recursive", "bomb", "5000 digits", "date", "NUL"],
)  # fmt: skip
def test_a_text_that_is_no_params_file_is_one_line(content: bytes | str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(path, message)


NAN, INF = float("nan"), float("inf")
VALUES: list[tuple[Mapping[str, Any], str]] = [
    # Numbers without bounds
    ({"random_seed": -(2**70)}, "random_seed: got -11.*, expected int of 64 bits"),
    ({"world": {"seed": 2**70}}, "world.seed: got 11.*, expected int of 64 bits"),
    ({"model": {"llm_batch_size": 10**30}}, "llm_batch_size: got 10.*, expected int of 64 bits"),
    ({"model": {"llm_batch_size": 2**62}}, "llm_batch_size is 46.*, expected at most 1000000000"),
    ({"core_eval": {"n_sparsity_batches": 2**62}}, "n_sparsity_batches is 46.*, expected at most"),
    ({"sparse_probing": {"k_values": [2**62]}}, "k_values holds 46.*, expected at most 1000000000"),
    # Keys
    *(({"judging": {"base_url": text}}, "judging.base_url holds what looks like a key or a password, .*environment")
      for text in ("https://host/sk-proj-a1b2c3d4e5f6g7h8i9/v1", "https://me:CANARY@host/v1")),
    ({"judging": {"api_key": "hf_aBcD3fGhIjKlMnOp1234CANARY"}}, "judging.api_key holds what looks like a key"),
    ({"judging": {"api_key_env": "sk-CANARY"}}, "a key itself must not stand in params.yaml"),
    ({"judging": {"sk-a1b2c3d4e5f6g7h8i9": 1}}, "judging holds what looks like a key"),
    ({"activation_caching": {"max_gigabytes": NAN}}, "max_gigabytes: got nan .*, expected float that is finite"),
    ({"activation_caching": {"max_gigabytes": INF}}, "max_gigabytes: got inf .*, expected float that is finite"),
    *(({"absorption": {name: NAN}}, f"absorption.{name}: got nan")
      for name in ("f1_jump_threshold", "k_sparse_probe_l1_decay", "min_probe_f1")),
    *(({"ravel": {name: NAN}}, f"ravel.{name}: got nan")
      for name in ("learning_rate", "rotation_learning_rate", "train_share")),
    ({"unlearning": {"retain_thresholds": [0.1, NAN]}}, r"unlearning.retain_thresholds\[1\]: got nan"),
    ({"unlearning": {"side_effect_floor": -INF}}, "unlearning.side_effect_floor: got -inf"),
    ({"visualization": {"font_size": NAN}}, "visualization.font_size: got nan"),
    # Names
    ({"model": {"name": "~nobodyatall/x"}}, "model.name is '~nobodyatall/x', but there is no such user"),
    ({"core_eval": {"dataset": "~nobodyatall/x"}}, "core_eval.dataset is '~nobodyatall/x', but there is no"),
    ({"model": {"name": "x" * 5000}}, "model.name is 'xxx.*, 5000 letters long, expected at most"),
    ({"baseline_sae": {"filename": "x" * 5000}}, "baseline_sae.filename is 'xxx.*, 5000 letters long"),
    ({"baseline_sae": {"filename": "x" * 300}}, "baseline_sae.filename .* longer than 255 bytes"),
    ({"model": {"name": "a\x1b[31m"}}, r"model.name is 'a\\x1b\[31m', expected .*printed"),
    ({"model": {"name": ""}}, "model.name is empty"),
    ({"comparison_saes": [{"repo_id": "a/b", "filename": "c", "label": "x" * 5000}]}, "label is 'xxx.*"),
    ({"baseline_sae": {"filename": "../other/ae.pt"}}, "baseline_sae.filename is '../other/ae.pt', .* outside"),
    ({"baseline_sae": {"filename": "/etc/passwd"}}, "baseline_sae.filename is '/etc/passwd', .* outside"),
    ({"comparison_saes": [{"repo_id": "a/b", "filename": "c/../../d"}]}, r"\[0\].filename is .* outside"),
    ({"baseline_sae": {"repo_id": "embedded/../.."}}, "baseline_sae.repo_id is 'embedded/../..', .* outside"),
    ({"model": {"name": "embedded/../x"}}, "model.name is 'embedded/../x', .* outside the world"),
    ({"core_eval": {"dataset": "embedded/../../x"}}, "core_eval.dataset is 'embedded/../../x', .* outside"),
    # Templates and devices
    ({"absorption": {"prompt_template": "{word} has {0.__class__}"}}, "prompt_template is .*, expected {word} once"),
    ({"absorption": {"prompt_template": "{word} has {word!r:>99}"}}, "prompt_template is .*, expected {word} once"),
    ({"absorption": {"prompt_template": "{word} {"}}, "prompt_template is .*, expected {word} once"),
    ({"unlearning": {"prompt_format": "{question:>99999999999} {listed}"}}, "prompt_format is"),
    ({"model": {"device": "cuda:²"}}, "device is 'cuda:²'; valid"),
    # The same twice
    ({"comparison_saes": [{"repo_id": "a/b", "filename": "c"}] * 2}, r"comparison_saes\[1\] names the same"),
    ({"comparison_saes": [{"repo_id": "a/b", "filename": "c", "label": x} for x in "de"]}, r"\[1\] names"),
    ({"comparison_saes": [{"repo_id": "a/b", "files": "c"}] * 2}, r"comparison_saes\[1\] names the same"),
    ({"comparison_saes": [{"repo_id": "~nobodyatall/x", "files": "c"}]}, r"\[0\].repo_id is .*no such user"),
    ({"comparison_saes": [{"release": "a", "sae_id": "c"}] * 2}, r"comparison_saes\[1\] names the same"),
    ({"sparse_probing": {"seeds": [1, 42]}}, "sparse_probing.seeds holds 42, which is random_seed itself"),
    # Long values are shown short
    ({"model": {"device": ["x" * 1000] * 1000}}, r"model.device: got \['xxx"),
    ({"eval_types": {"x" * 10**6: True}}, "eval_types: unknown key 'xxx"),
    ({"x" * 10**6: True}, "unknown key 'xxx"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), VALUES, ids=lambda value: str(value)[:50])
def test_a_wrong_value_is_one_short_line_that_says_where(
    changes: Mapping[str, Any], message: str, tmp_path: Path
) -> None:
    embedded = {"baseline_sae": {"repo_id": "embedded/sae-relu"}, "model": {"name": "embedded/lm"}}
    path = params_with(tmp_path, embedded)
    shutil.copy(path, tmp_path / "sound.yaml")
    load_params(tmp_path / "sound.yaml")
    refused(params_with(tmp_path, changes), message)


@pytest.mark.parametrize("seed", [-1, 0, 2**63 - 1, -(2**63)])
def test_a_seed_is_any_whole_number_of_64_bits(seed: int, tmp_path: Path) -> None:
    assert load_params(params_with(tmp_path, {"random_seed": seed})).random_seed == seed


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["embedded/bios", "embedded/reviews", "embedded/news"], False),
        ([f"LabHC/bias_in_bios_class_set{i}" for i in (1, 2, 3)], False),  # other professions are other people
        (["embedded/bios", "embedded/bios_gender"], True),
        (["topic", "tone"], True),
        (["canrager/amazon_reviews_mcauley_1and5", "canrager/amazon_reviews_mcauley_1and5_sentiment"], True),
    ],
)
def test_data_sets_that_label_the_same_texts_are_told(names: list[str], told: bool, tmp_path: Path) -> None:
    described = {"topic": {"repo": "lab/news", "label": "topic"}, "tone": {"repo": "lab/news", "label": "tone"}}
    changes = {"sparse_probing": {"dataset_names": names}, "data_sets": described}
    said = shared_texts(find_eval("sparse_probing"), load_params(params_with(tmp_path, changes)))
    assert (said is not None) is told
    assert said is None or f"sparse_probing: {' and '.join(names)} label texts of the same source" in said
