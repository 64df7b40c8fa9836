"""Controls, made by the setup stage: the run's own encoders on atoms that learned nothing."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.project import TINY, Project

from sae_research.data.text import load_texts, token_rows
from sae_research.errors import UserError
from sae_research.formats.readers.saelens import load_sae
from sae_research.lm.load import load_language_model
from sae_research.pipeline import controls
from sae_research.pipeline.manifest import read_manifest
from sae_research.pipeline.params import load_params
from sae_research.pipeline.paths import find_paths
from sae_research.pipeline.stages.setup import run_setup
from sae_research.saes.base import Sae
from sae_research.sources.hub import Hub

CONTROLS = {"variant_atoms": ["random", "raw", "pca"], "topk_atoms": ["random", "raw", "pca"], "topk_k": 4}


def _set_up(project: Project, changes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Runs the setup stage; the manifest's entries."""
    project.edit(changes)
    paths = find_paths(project.root)
    run_setup(load_params(paths.params), paths)
    return [dict(entry) for entry in read_manifest(paths.saes).saes]


@pytest.fixture(scope="module")
def with_controls(finished_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The tiny project set up with every kind of control; read it, or work on a copy."""
    project = finished_project.copy_to(tmp_path_factory.mktemp("controls") / "project")
    _set_up(project, {"controls": CONTROLS, "sae_variants": TINY["sae_variants"]})
    return project


@pytest.fixture(scope="module")
def x(with_controls: Project) -> torch.Tensor:
    """The activations of the controls' text, read by other means than the stage's."""
    hub = Hub(with_controls.root / "world")
    lm = load_language_model(hub, "embedded/lm", device="cpu")
    rows = token_rows(load_texts(hub, "embedded/text", "train"), lm.tokenizer, context_size=128, n_rows=256)
    states = lm.plain_model(rows, output_hidden_states=True).hidden_states[1]
    return states[~torch.isin(rows, torch.tensor(sorted(lm.special_ids)))].detach()


def _sae(project: Project, name: str) -> Sae:
    return load_sae(project.root / "downloaded_saes" / name)


def test_every_variant_and_topk_stand_beside_controls_that_say_so(with_controls: Project) -> None:
    entries = read_manifest(with_controls.root / "downloaded_saes").saes
    made = [(e["name"], e["architecture"], e["label"], e["atoms"]) for e in entries if e["control"] and e["atoms"]]
    assert made == [
        ("random_topk_k4", "topk", "topk on random atoms", "random"),
        ("raw_topk_k4", "topk", "topk on raw activations", "raw"),
        ("pca_topk_k4", "topk", "topk on PCA directions", "pca"),
        ("random_ihtp_k1", "ihtp", "ihtp on random atoms", "random"),
        ("random_mpsae_s4", "mpsae", "mpsae on random atoms", "random"),
        ("raw_ihtp_k1", "ihtp", "ihtp on raw activations", "raw"),
        ("raw_mpsae_s4", "mpsae", "mpsae on raw activations", "raw"),
        ("pca_ihtp_k1", "ihtp", "ihtp on PCA directions", "pca"),
        ("pca_mpsae_s4", "mpsae", "mpsae on PCA directions", "pca"),
    ]
    by_name = {e["name"]: e for e in entries}
    for name in ("ihtp_k1", "mpsae_s4"):
        variant, control = by_name[f"relu_trainer_0_{name}"], by_name[f"raw_{name}"]
        assert {k: variant[k] for k in ("hyperparameters", "scope", "hook_name", "d_sae")} == {
            k: control[k] for k in ("hyperparameters", "scope", "hook_name", "d_sae")
        }
        assert control["control_for"] == variant["name"]
        assert variant["control_for"] is None
        assert "baseline" not in control["source"]
        assert control["training_tokens"] == 0


def test_random_atoms_are_unit_vectors_that_all_encoders_share(with_controls: Project) -> None:
    topk, mpsae = (_sae(with_controls, f"random_{name}") for name in ("topk_k4", "mpsae_s4"))
    torch.testing.assert_close(mpsae.W_dec.norm(dim=1), torch.ones(128))
    assert torch.equal(topk.W_dec, mpsae.W_dec)
    assert abs(float(mpsae.W_dec.mean())) < 0.01
    assert torch.equal(mpsae.b_dec, _sae(with_controls, "relu_trainer_0").b_dec)


def test_raw_atoms_are_directions_of_different_activations_of_the_text(with_controls: Project, x: torch.Tensor) -> None:
    raw = _sae(with_controls, "raw_mpsae_s4")
    directions = torch.nn.functional.normalize(x - raw.b_dec, dim=1)
    cosines, owners = (raw.W_dec @ directions.T).max(dim=1)
    torch.testing.assert_close(cosines, torch.ones(128), atol=1e-4, rtol=0)
    assert len(owners.unique()) > 100


def test_pca_atoms_explain_the_largest_variance_and_topk_has_them_in_both_directions(
    with_controls: Project, x: torch.Tensor
) -> None:
    topk, mpsae = _sae(with_controls, "pca_topk_k4"), _sae(with_controls, "pca_mpsae_s4")
    d = x.shape[1]
    assert (len(topk.W_dec), len(mpsae.W_dec)) == (2 * d, d)
    torch.testing.assert_close(topk.W_dec[:d], -topk.W_dec[d:])
    torch.testing.assert_close(mpsae.b_dec, x.mean(dim=0), atol=1e-4, rtol=1e-3)
    variances = ((x - x.mean(dim=0)) @ mpsae.W_dec.T).var(dim=0)
    expected = torch.linalg.eigvalsh(torch.cov(x.T)).flip(0)
    torch.testing.assert_close(variances, expected, rtol=1e-2, atol=1e-4)
    # On orthonormal atoms matching pursuit and TopK are the same: the components of largest magnitude.
    sample = x[:50]
    torch.testing.assert_close(
        mpsae.decode(mpsae.encode(sample)), topk.decode(topk.encode(sample)), atol=1e-2, rtol=1e-2
    )


@pytest.mark.parametrize("atoms", ["random", "raw"])
def test_no_other_gain_of_topk_reconstructs_better(with_controls: Project, x: torch.Tensor, atoms: str) -> None:
    sae, sample = _sae(with_controls, f"{atoms}_topk_k4"), x[:8192]
    part = sae.decode(sae.encode(sample)) - sae.b_dec
    errors = [float((sample - sae.b_dec - factor * part).square().sum()) for factor in (0.98, 1.0, 1.02)]
    assert errors[1] == min(errors)


def _copy(project: Project, tmp_path: Path) -> Project:
    return project.copy_to(tmp_path / "project")


def test_a_second_run_reads_no_text_and_touches_nothing(
    with_controls: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = _copy(with_controls, tmp_path)
    folder = project.root / "downloaded_saes"
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the text was read again")

    monkeypatch.setattr(controls, "load_language_model", refuse)
    _set_up(project, {})
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()} == before
    monkeypatch.setenv("SAE_NO_REUSE", "1")
    with pytest.raises(AssertionError, match="read again"):
        _set_up(project, {})


def test_a_control_that_is_not_what_was_written_is_made_again(with_controls: Project, tmp_path: Path) -> None:
    project = _copy(with_controls, tmp_path)
    weights = project.root / "downloaded_saes" / "raw_mpsae_s4" / "sae_weights.safetensors"
    written = weights.read_bytes()
    weights.write_bytes(written[:-1] + bytes([written[-1] ^ 1]))
    _set_up(project, {})
    assert weights.read_bytes() == written
    (project.root / "downloaded_saes" / "manifest.json").write_text("{")
    shutil.rmtree(weights.parent)
    _set_up(project, {})
    assert weights.read_bytes() == written


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"random_seed": 7}, []),
        ({"controls": {"n_sequences": 200}}, ["random_topk_k4", "random_ihtp_k1", "random_mpsae_s4"]),
        ({"controls": {"split": "test", "first_text": 150, "n_sequences": 20}}, ["random_ihtp_k1", "random_mpsae_s4"]),
        ({"baseline_sae": {"filename": "resid_post_layer_0/trainer_1/ae.pt"}}, []),
    ],
)
def test_controls_are_other_ones_with_another_seed_text_or_baseline(
    with_controls: Project, tmp_path: Path, changes: dict[str, Any], same: list[str]
) -> None:
    project = _copy(with_controls, tmp_path)
    before = {e["name"]: e["digest"] for e in _set_up(project, {}) if e["atoms"]}
    after = {e["name"]: e["digest"] for e in _set_up(project, changes) if e["atoms"]}
    assert before.keys() == after.keys()
    assert [name for name in before if before[name] == after[name] and not name.startswith("pca")] == same


def test_without_controls_none_are_made(with_controls: Project, tmp_path: Path) -> None:
    project = _copy(with_controls, tmp_path)
    assert not any(e["atoms"] for e in _set_up(project, {"controls": None}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"controls": {"split": "test"}},
            r"controls reads the text that core_eval measures \(embedded/text, split 'test'\); name another split",
        ),
        (
            {"controls": {"variant_atoms": ["noise"]}},
            r"controls.variant_atoms\[0\]: got 'noise' .*; valid: random, raw",
        ),
        ({"controls": {"topk_atoms": ["raw", "raw"]}}, r"topk_atoms holds a value twice"),
        ({"controls": {"n_sequences": 1}}, r"controls: 1 sequences hold \d+ tokens, but raw activations .* need 128"),
        ({"controls": {"first_text": 10**6}}, r"controls: split 'train' of data set 'embedded/text': 0 rows of 128"),
        ({"controls": {"topk_k": 500}}, r"'random_topk_k500': k is 500, but d_sae is 128"),
    ],
)
def test_mistakes_end_in_one_message(
    with_controls: Project, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    project = _copy(with_controls, tmp_path)
    with pytest.raises(UserError, match=message):
        _set_up(project, changes)


def test_on_another_model_the_worlds_text_is_refused(with_controls: Project, tmp_path: Path) -> None:
    params = load_params(with_controls.root / "params.yaml")
    assert params.controls is not None
    elsewhere = replace(params.controls, dataset="embedded/text")
    with pytest.raises(ValueError, match=r"controls.dataset names embedded/text, which belongs to the embedded model"):
        replace(
            params,
            model=replace(params.model, name="gpt2"),
            baseline_sae=replace(params.baseline_sae, repo_id="lab/saes"),
            comparison_saes=(),
            eval_types={},
            controls=elsewhere,
        )
