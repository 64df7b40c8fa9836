"""Checkpoints are found by the names of a repository's files, and chosen by an expression over their paths."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sae_research.errors import UserError
from sae_research.formats import expressions
from sae_research.formats.checkpoints import checkpoints_among, matching_checkpoints
from sae_research.formats.registry import path_name_of

NAMES = [
    "README.md", "layer_4/trainer_1/config.json", "layer_4/trainer_1/ae.pt", "layer_4/trainer_0/ae.pt",
    "layer_4/trainer_0/config.json", "layer_4/trainer_0/checkpoints/ae_500.pt", "lens/k8/cfg.json",
    "lens/k8/sae_weights.safetensors", "lens/k8/sparsity.safetensors", "layer_5/width_16k/average_l0_71/params.npz",
]  # fmt: skip


def test_a_folder_with_a_cfg_is_one_checkpoint_and_else_each_file_of_weights() -> None:
    assert checkpoints_among(NAMES) == [
        "layer_4/trainer_0/ae.pt", "layer_4/trainer_0/checkpoints/ae_500.pt", "layer_4/trainer_1/ae.pt",
        "layer_5/width_16k/average_l0_71/params.npz", "lens/k8",
    ]  # fmt: skip
    assert checkpoints_among(["cfg.json", "sae.safetensors"]) == ["."]


def _matching(expression: str, names: list[str] = NAMES) -> list[str]:
    return matching_checkpoints(names, expression, repo_id="lab/saes", key="comparison_saes: files")


def test_the_expression_matches_the_whole_path() -> None:
    assert _matching(r"layer_4/trainer_\d/ae\.pt") == ["layer_4/trainer_0/ae.pt", "layer_4/trainer_1/ae.pt"]
    assert _matching("lens/.*") == ["lens/k8"]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        (r"layer_4/trainer_\d", r"none of the 5 checkpoints of 'lab/saes' matches .* in full; .*layer_4/trainer_"),
        ("layer_4/trainer_(", "is not a valid regular expression"),
        ("x" * 1001, "has 1001 letters, expected at most 1000"),
    ],
)
def test_what_matches_nothing_is_told(expression: str, message: str) -> None:
    with pytest.raises(UserError, match=f"comparison_saes: files.*{message}"):
        _matching(expression)


def test_a_repository_without_weights_is_told() -> None:
    with pytest.raises(UserError, match=r"'lab/saes' has no file of weights \(\.safetensors, "):
        _matching(".*", ["README.md"])


def test_a_slow_expression_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expressions, "_SECONDS", 0.1)
    slow = r"(.*?)(.*?)(.*?)(.*?)(.*?)(.*?)(.*?)(.*?)\8\7\6\5\4\3\2\1\d\d\d\d\d"
    with pytest.raises(UserError, match=r"takes more than 0.1 s to match the files of 'lab/saes'; write it without"):
        _matching(slow, [f"{'pythia70m_sweep_standard_ctx128_0712' * 2}/ae.pt"])


@pytest.mark.parametrize(
    ("filename", "name"),
    [
        ("s/resid_post_layer_4/trainer_8/ae.pt", "s_resid_post_layer_4_trainer_8"),
        ("t/trainer_8/checkpoints/ae_500.pt", "t_trainer_8_ae_500"),
        ("lens/k8", "lens_k8"), ("k8", "k8"), ("ae.pt", ""), (".", ""),
    ],
)  # fmt: skip
def test_the_name_is_the_whole_path(filename: str, name: str) -> None:
    assert path_name_of(filename) == name


def test_torch_is_not_needed() -> None:
    code = "import sys, sae_research.formats.checkpoints; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
