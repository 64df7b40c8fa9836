"""The SAEs of a run: fetched, derived, named and kept in one folder that is never half of anything."""

from __future__ import annotations

import json
import logging
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import Gemma2Config

from sae_research.errors import UserError
from sae_research.formats import expressions, pretrained
from sae_research.formats.readers.saelens import load_sae, save_sae
from sae_research.formats.registry import short_name_of
from sae_research.lm.load import ModelShape, model_shape
from sae_research.lm.site import Site
from sae_research.pipeline import run_saes
from sae_research.pipeline.manifest import read_manifest
from sae_research.pipeline.names import slug
from sae_research.pipeline.run_saes import (
    check_baseline,
    check_comparison,
    derive_variants,
    fetch_baseline,
    fetch_comparison,
    write_saes,
)
from sae_research.pipeline.sections import BaselineSae, ComparisonSae
from sae_research.records import read_record
from sae_research.saes.base import Sae, SaeCard
from sae_research.saes.build import build_sae
from sae_research.sources.hub import Hub

MODEL = {"name": "embedded/lm", "revision": "sha256:1"}


def _sae(name: str, architecture: str = "relu", *, seed: int = 0, d_sae: int = 16, **options: Any) -> Sae:
    generator = torch.Generator().manual_seed(seed)
    shapes = {"W_enc": (6, d_sae), "b_enc": (d_sae,), "W_dec": (d_sae, 6), "b_dec": (6,)}
    tensors = {key: torch.randn(shape, generator=generator) for key, shape in shapes.items()}
    card = SaeCard(name, architecture, Site(3, "resid_post"), 6, d_sae, "gpt2", options)
    return build_sae(card, tensors)


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    """A world with a dictionary_learning baseline and two SAELens folders."""
    models = tmp_path / "world" / "models"
    trainer = models / "sae-relu" / "resid_post_layer_3" / "trainer_0"
    trainer.mkdir(parents=True)
    generator = torch.Generator().manual_seed(1)
    state = {
        "encoder.weight": torch.randn(16, 6, generator=generator), "encoder.bias": torch.zeros(16),
        "decoder.weight": torch.randn(6, 16, generator=generator), "bias": torch.ones(6),
    }  # fmt: skip
    torch.save(state, trainer / "ae.pt")
    config = {"trainer_class": "StandardTrainer", "dict_class": "AutoEncoder", "layer": 3, "lm_name": "embedded/lm"}
    (trainer / "config.json").write_text(json.dumps({"trainer": config}))
    save_sae(_sae("a", "topk", k=4), models / "sae-topk" / "k4")
    save_sae(_sae("b", "topk", seed=1, k=4), models / "sae-other" / "topk_k4")
    return Hub(tmp_path / "world")


BASELINE = BaselineSae("embedded/sae-relu", "resid_post_layer_3/trainer_0/ae.pt", hook_layer=3)


def _baseline(hub: Hub, *, hook_layer: int = 3, model_name: str = "embedded/lm") -> Sae:
    return fetch_baseline(hub, replace(BASELINE, hook_layer=hook_layer), model_name=model_name)


def test_the_baseline_is_named_after_its_folder_and_records_its_source(hub: Hub) -> None:
    sae = _baseline(hub)
    assert sae.card.name == "relu_trainer_0"
    assert sae.card.source["repo_id"] == "embedded/sae-relu"
    assert sae.card.source["format"] == "dictionary_learning"
    assert sae.card.source["revision"].startswith("sha256:")
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones(16))


def test_a_baseline_of_another_layer_is_refused(hub: Hub) -> None:
    with pytest.raises(UserError, match=r"hook_layer is 4, but embedded/sae-relu/.*ae\.pt was trained on layer 3"):
        _baseline(hub, hook_layer=4)


def test_a_baseline_trained_on_another_model_causes_a_warning(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        _baseline(hub, model_name="/data/lm/")
        assert not caplog.records
        _baseline(hub, model_name="gpt2")
    assert "was trained on embedded/lm but will be evaluated on gpt2" in caplog.text


@pytest.mark.parametrize(
    ("filename", "short"),
    [
        ("sweep/layer_4/trainer_8/ae.pt", "trainer_8"), ("t/trainer_8/checkpoints/ae_500.pt", "trainer_8_ae_500"),
        ("ae.pt", "sae-relu"), (".", "sae-relu"), ("l0/average_71", "average_71"), ("odd name/k=4", "k_4"),
        ("v1.5", "v1.5"), ("l/k4/", "k4"),
    ],
)  # fmt: skip
def test_short_names_tell_neighbours_apart(filename: str, short: str) -> None:
    assert slug(short_name_of(filename) or "sae-relu") == short


def test_what_an_entry_states_is_in_the_source_and_may_not_contradict_the_files(hub: Hub) -> None:
    entry = ComparisonSae("embedded/sae-topk", "k4", hook_name="blocks.3.hook_resid_post", k=4)
    [sae] = fetch_comparison(hub, entry)
    assert (sae.card.source["hook_name"], sae.card.source["k"]) == ("blocks.3.hook_resid_post", 4)
    with pytest.raises(UserError, match="k is given as 5, but its files say 4"):
        list(fetch_comparison(hub, replace(entry, k=5)))
    with pytest.raises(UserError, match=r"hook_name is given as 'blocks\.0\.hook_mlp_out', but its files say"):
        fetch_baseline(hub, replace(BASELINE, hook_name="blocks.0.hook_mlp_out"), model_name="embedded/lm")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"hook_name": "layer 4"}, "hook name 'layer 4' is not known; valid: blocks.N"),
        ({"k": 0}, "k is 0, expected at least 1"),
        ({"model_name": "<b>"}, "model_name is '<b>', expected letters"),
    ],
)
def test_what_no_sae_can_be_is_not_stated(keys: dict[str, Any], message: str) -> None:
    entry = {"repo_id": "r", "filename": "f", **keys}
    with pytest.raises(UserError, match=rf"comparison_saes\[0\]: {message}"):
        read_record(ComparisonSae, entry, where="comparison_saes[0]")
    with pytest.raises(UserError, match=f"baseline_sae: {message}"):
        read_record(BaselineSae, {**entry, "hook_layer": 0}, where="baseline_sae")


def test_nothing_is_stated_of_saes_that_are_no_checkpoint() -> None:
    entry = {"release": "r", "sae_id": "s", "hook_name": "blocks.0.hook_mlp_out"}
    with pytest.raises(UserError, match="hook_name: only a checkpoint's files may lack it; remove it"):
        read_record(ComparisonSae, entry, where="comparison_saes[0]")


def test_variants_are_pursuits_on_unit_atoms(hub: Hub) -> None:
    baseline = _baseline(hub)
    variants = list(derive_variants(baseline, {"ihtp": {"k_values": [1, 2]}, "mpsae": {"s": 3}}))
    assert [v.card.name for v in variants] == [
        "relu_trainer_0_ihtp_k1", "relu_trainer_0_ihtp_k2", "relu_trainer_0_mpsae_s3"
    ]  # fmt: skip
    assert [dict(v.card.hyperparameters) for v in variants] == [
        {"k": 1, "nonneg": False}, {"k": 2, "nonneg": False}, {"s": 3, "nonneg": False}
    ]  # fmt: skip
    assert variants[0].card.source["baseline"] == "relu_trainer_0"
    assert len({v.card.digest for v in variants}) == 3


@pytest.mark.parametrize("architecture", ["relu", "topk"])
def test_variants_of_any_baseline_pursue_its_directions(architecture: str) -> None:
    baseline = _sae("base", architecture, **({"k": 4} if architecture == "topk" else {}))
    [variant] = derive_variants(baseline, {"mpsae": {"s": 16}})
    directions = baseline.W_dec / baseline.W_dec.norm(dim=1, keepdim=True)
    torch.testing.assert_close(variant.W_dec, directions)
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(2))
    rest = (x - variant.decode(variant.encode(x))).norm(dim=1)
    assert (rest < 0.5 * (x - variant.b_dec).norm(dim=1)).all()


def test_comparisons_from_folders(hub: Hub) -> None:
    saes = [
        *fetch_comparison(hub, ComparisonSae("embedded/sae-topk", "k4")),
        *fetch_comparison(hub, ComparisonSae("embedded/sae-other", "topk_k4")),
    ]
    assert [sae.card.name for sae in saes] == ["topk_k4", "topk_k4"]
    assert saes[0].card.digest == _sae("a", "topk", k=4).card.digest
    with pytest.raises(UserError, match="has no file or folder 'k9'"):
        list(fetch_comparison(hub, ComparisonSae("embedded/sae-topk", "k9")))


@pytest.mark.parametrize(
    "keys",
    [
        {"repo_id": "a"}, {"release": "a"}, {"repo_id": "a", "filename": "b", "sae_id": "c"}, {"files": "b"},
        {"repo_id": "a", "filename": "b", "files": "c"}, {"files": "b", "release": "c", "sae_id": "d"},
    ],
)  # fmt: skip
def test_half_an_entry_of_comparison_saes_is_refused(keys: dict[str, str]) -> None:
    with pytest.raises(UserError, match=r"saes\[0\]: give either repo_id and filename, or repo_id and files, or rel"):
        read_record(ComparisonSae, keys, where="comparison_saes[0]")


def test_one_entry_chooses_many_checkpoints_by_their_paths(hub: Hub, tmp_path: Path) -> None:
    """Names hold the whole path, so that equal last folders differ and a new neighbour renames nothing."""
    folder = tmp_path / "saes"
    for seed, path in enumerate(("l3/k4", "l4/k4", "l4/k8")):
        save_sae(_sae(path, "topk", seed=seed, k=4), folder / path)

    def names(files: str, label: str | None = None) -> list[tuple[str, str]]:
        entry = ComparisonSae(str(folder), files=files, label=label)
        entries = write_saes(fetch_comparison(hub, entry), tmp_path / "s", model=MODEL)["saes"]
        return [(e["name"], e["label"]) for e in entries]

    assert names(r"l\d/k4") == [("topk_l3_k4", "topk"), ("topk_l4_k4", "topk")]
    assert names(r"l4/k.*", label="mine") == [("mine_l4_k4", "mine"), ("mine_l4_k8", "mine")]
    [sae] = fetch_comparison(hub, ComparisonSae(str(folder), files="l4/k8"))
    assert (sae.card.source["repo_id"], sae.card.source["filename"]) == (str(folder), "l4/k8")
    assert [s.card.name for s in fetch_comparison(hub, ComparisonSae("embedded/sae-topk", files=".*"))] == ["topk_k4"]
    with pytest.raises(UserError, match=r"comparison_saes: files: none of the 3 checkpoints .* matches 'k4' in full"):
        names("k4")


def test_a_label_renames_and_changes_nothing_that_is_computed(hub: Hub, tmp_path: Path) -> None:
    def entries(label: str | None) -> list[Any]:
        return write_saes(
            fetch_comparison(hub, ComparisonSae("embedded/sae-topk", "k4", label=label)), tmp_path / "s", model=MODEL
        )["saes"]

    [plain], [random], [pca] = entries(None), entries("random"), entries("pca")
    assert [(e["name"], e["architecture"], e["label"]) for e in (plain, random, pca)] == [
        ("topk_k4", "topk", "topk"), ("random_k4", "topk", "random"), ("pca_k4", "topk", "pca")
    ]  # fmt: skip
    assert plain["digest"] == random["digest"] == pca["digest"]


def test_the_manifest_says_which_saes_are_controls_and_a_variant_of_one_is_one_too(hub: Hub, tmp_path: Path) -> None:
    [control] = fetch_comparison(hub, ComparisonSae("embedded/sae-topk", "k4", control=True))
    [trained] = fetch_comparison(hub, ComparisonSae("embedded/sae-topk", "k4", label="trained"))
    pursuit = derive_variants(control, {"mpsae": {"s": 2}})
    entries = write_saes([control, trained, *pursuit], tmp_path / "s", model=MODEL)["saes"]
    assert [(e["name"], e["control"]) for e in entries] == [
        ("topk_k4", True), ("trained_k4", False), ("topk_k4_mpsae_s2", True)
    ]  # fmt: skip
    assert entries[0]["digest"] == entries[1]["digest"], "a control is no other SAE"


def test_a_label_that_is_no_word_is_refused() -> None:
    with pytest.raises(UserError, match=r"label is 'a \| b', expected letters"):
        read_record(ComparisonSae, {"repo_id": "r", "filename": "f", "label": "a | b"}, where="comparison_saes[0]")


def test_a_checkpoint_without_its_config_is_refused(hub: Hub) -> None:
    (hub.world / "models" / "sae-relu" / str(BASELINE.filename)).with_name("config.json").unlink()
    with pytest.raises(
        UserError, match=r"ae\.pt is not in a known format: .* dictionary_learning: ae.pt with config\.json"
    ):
        _baseline(hub)


def _shape(tmp_path: Path, *, hidden_size: int = 6, n_layers: int = 4, head_dim: int = 4) -> ModelShape:
    """That of a Gemma 2 model with three heads, which has no weights yet."""
    folder = tmp_path / f"{hidden_size}_{n_layers}_{head_dim}"
    Gemma2Config(
        vocab_size=8, hidden_size=hidden_size, num_hidden_layers=n_layers, num_attention_heads=3, num_key_value_heads=1,
        head_dim=head_dim, intermediate_size=8,
    ).save_pretrained(folder)  # fmt: skip
    return model_shape(folder)


def test_an_sae_must_fit_the_model(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    card = _sae("mine").card
    for check in (check_baseline, check_comparison):
        check(card, _shape(tmp_path))
        with pytest.raises(UserError, match=r"'mine' has d_in = 6, but the model's activations at .*post have 12"):
            check(card, _shape(tmp_path, hidden_size=12))
    with pytest.raises(UserError, match=r"'mine' is of layer 3, but the model has layers 0 to 2"):
        check_baseline(card, _shape(tmp_path, n_layers=3))
    check_comparison(card, _shape(tmp_path, n_layers=3))
    assert "'mine' is of layer 3, but the model has layers 0 to 2: its evals will fail" in caplog.text


def test_an_attention_sae_is_as_wide_as_the_heads_side_by_side(tmp_path: Path) -> None:
    """In Gemma 2 2B these are 8 x 256 = 2048 where the residual stream has 2304."""
    attention = replace(_sae("mine").card, site=Site(3, "attn_z"))
    for check in (check_baseline, check_comparison):
        check(attention, _shape(tmp_path, hidden_size=12, head_dim=2))
        with pytest.raises(UserError, match=r"'mine' has d_in = 6, but .* at blocks.3.attn.hook_z have 12 dimensions"):
            check(attention, _shape(tmp_path))
    check_comparison(attention, _shape(tmp_path, n_layers=3))


def test_the_folder_and_its_manifest(tmp_path: Path) -> None:
    folder = tmp_path / "downloaded_saes"
    saes = [_sae("a"), *derive_variants(_sae("a"), {"ihtp": {"k": 1}, "mpsae": {"s": 2}})]
    written = write_saes(saes, folder, model=MODEL)
    assert written == json.loads((folder / "manifest.json").read_text())
    manifest = read_manifest(folder)
    assert manifest.model == MODEL
    assert [entry["name"] for entry in manifest.saes] == ["a", "a_ihtp_k1", "a_mpsae_s2"]
    assert manifest.saes[1] == {
        "name": "a_ihtp_k1", "architecture": "ihtp", "label": "ihtp", "control": False, "atoms": None,
        "control_for": None, "hook_name": "blocks.3.hook_resid_post",
        "layer": 3, "scope": "sequence", "d_in": 6, "d_sae": 16, "hyperparameters": {"k": 1, "nonneg": False},
        "digest": saes[1].card.digest,
        "source": {"baseline": "a", "baseline_digest": saes[0].card.digest}, "training_tokens": None,
        "model_name": "gpt2", "prepend_bos": True, "centred": False, "input_norm": "none",
    }  # fmt: skip
    for entry in manifest.saes:
        assert load_sae(folder / entry["name"]).card.digest == entry["digest"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["downloaded_saes"]


def _state(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_what_did_not_change_is_not_touched(tmp_path: Path) -> None:
    folder = tmp_path / "downloaded_saes"
    write_saes([_sae("a"), _sae("b", seed=1)], folder, model=MODEL)
    before = _state(folder)
    write_saes([_sae("a"), _sae("b", seed=1)], folder, model=MODEL)
    assert _state(folder) == before
    (folder / "stray").mkdir()
    (folder / "stray.txt").touch()
    write_saes(iter([_sae("a"), _sae("c", seed=2)]), folder, model=MODEL)
    after = _state(folder)
    assert {name: state for name, state in after.items() if name.startswith("a/")} == {
        name: state for name, state in before.items() if name.startswith("a/")
    }
    # b was this stage's own, the strays are somebody's.
    assert sorted(path.name for path in folder.iterdir()) == ["a", "c", "manifest.json", "stray", "stray.txt"]


def test_a_damaged_folder_is_written_anew(tmp_path: Path) -> None:
    folder = tmp_path / "downloaded_saes"
    write_saes([_sae("a")], folder, model=MODEL)
    (folder / "a" / "sae_weights.safetensors").write_bytes(b"short")
    write_saes([_sae("a")], folder, model=MODEL)
    assert load_sae(folder / "a").card.digest == _sae("a").card.digest


def test_names_never_collide(tmp_path: Path) -> None:
    saes = [_sae("a"), _sae("a", seed=1), _sae("A", seed=2), _sae("a", seed=1), _sae("x/y z" + 200 * "w", seed=3)]
    digests = [sae.card.digest for sae in saes]
    manifest = write_saes(saes, tmp_path / "s", model=MODEL)
    names = [entry["name"] for entry in manifest["saes"]]
    assert names[:4] == ["a", f"a_{digests[1][:8]}", f"A_{digests[2][:8]}", f"a_{digests[1][:8]}_2"]
    assert re.fullmatch(r"x_y_zw{100,}_[0-9a-f]{8}", names[4])
    assert len(names[4]) <= 120
    assert [load_sae(tmp_path / "s" / name).card.digest for name in names] == digests


def test_a_failure_while_fetching_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "downloaded_saes"
    write_saes([_sae("a")], folder, model=MODEL)
    before = _state(folder)

    def saes() -> Iterator[Sae]:
        yield _sae("b", seed=1)
        raise UserError("the second one is unavailable")

    with pytest.raises(UserError, match="is unavailable"):
        write_saes(saes(), folder, model=MODEL)
    assert _state(folder) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["downloaded_saes"]


def test_an_interrupted_change_leaves_no_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "downloaded_saes"
    write_saes([_sae("a")], folder, model=MODEL)

    def die(_source: Path, _target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run_saes, "replace_folder", die)
    with pytest.raises(KeyboardInterrupt):
        write_saes([_sae("a", seed=1)], folder, model=MODEL)
    with pytest.raises(UserError, match=r"manifest\.json does not exist; run the setup stage first"):
        read_manifest(folder)
    monkeypatch.undo()
    write_saes([_sae("a", seed=1)], folder, model=MODEL)
    assert load_sae(folder / "a").card.digest == _sae("a", seed=1).card.digest


def test_what_a_killed_run_left_behind_does_no_harm(tmp_path: Path) -> None:
    folder = tmp_path / "downloaded_saes"
    (tmp_path / ".downloaded_saes.part" / ".tmp-dead" / "a").mkdir(parents=True)
    write_saes([_sae("a")], folder, model=MODEL)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["downloaded_saes"]


def test_bytes_do_not_depend_on_the_place(tmp_path: Path) -> None:
    for place in ("one", "two"):
        variants = derive_variants(_sae("a"), {"ihtp": {"k": 1}, "mpsae": {"s": 2}})
        write_saes([_sae("a"), *variants], tmp_path / place, model=MODEL)
    one, two = _state(tmp_path / "one"), _state(tmp_path / "two")
    assert {name: state[0] for name, state in one.items()} == {name: state[0] for name, state in two.items()}


def test_a_manifest_of_another_form_is_refused(tmp_path: Path) -> None:
    for content, message in [
        ("[]", "holds a JSON list, expected an object"),
        ('{"schema": 0}', "not in the form that this version writes"),
        ("{", "is not valid JSON"),
    ]:
        (tmp_path / "manifest.json").write_text(content)
        with pytest.raises(UserError, match=message):
            read_manifest(tmp_path)


def test_the_manifest_is_read_without_torch() -> None:
    code = "import sys, sae_research.pipeline.manifest; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


class Lens:
    """What `SAE.from_pretrained_with_cfg_and_sparsity` gives, as far as it is used."""

    def __init__(self, architecture: str) -> None:
        self.cfg = SimpleNamespace(to_dict=lambda: self.config)
        self.config = {
            "architecture": architecture, "d_in": 6, "d_sae": 16, "apply_b_dec_to_input": True,
            "metadata": {"model_name": "gpt2", "hook_name": "blocks.3.hook_resid_post"},
        }  # fmt: skip

    def state_dict(self) -> dict[str, torch.Tensor]:
        sae = _sae("x")
        return {name: sae.get_buffer(name) for name in sae.shapes}


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """A registry of two releases in place of SAELens'; the pairs that were loaded from it."""
    loaded: list[tuple[str, str]] = []

    def load(*, release: str, sae_id: str, device: str) -> tuple[Lens, dict[str, Any], None]:
        loaded.append((release, sae_id))
        if sae_id == "gone":
            raise OSError("no route to host\nmore")
        return Lens("temporal" if sae_id == "odd" else "standard"), {}, None

    directory = {
        "rel-a": SimpleNamespace(saes_map={"l3/k4": "p", "l3/k8": "q", "l4/k4": "r"}),
        "rel-b": SimpleNamespace(saes_map={"gone": "p", "odd": "q"}),
    }
    monkeypatch.setattr(pretrained, "_directory", lambda: directory)
    fake = SimpleNamespace(SAE=SimpleNamespace(from_pretrained_with_cfg_and_sparsity=load))
    monkeypatch.setitem(sys.modules, "sae_lens", fake)
    return loaded


def test_comparisons_from_the_registry(hub: Hub, registry: list[tuple[str, str]], tmp_path: Path) -> None:
    saes = list(fetch_comparison(hub, ComparisonSae(release="rel-.", sae_id=r"l3/k\d")))
    assert registry == [("rel-a", "l3/k4"), ("rel-a", "l3/k8")]
    assert saes[0].card.source == {"release": "rel-a", "sae_id": "l3/k4", "format": "sae_lens registry"}
    names = [entry["name"] for entry in write_saes(saes, tmp_path / "s", model=MODEL)["saes"]]
    assert names == ["rel-a_l3_k4", "rel-a_l3_k8"]


@pytest.mark.parametrize(
    ("release", "sae_id", "message"),
    [
        ("rel-c", ".*", r"no release in SAELens' registry matches 'rel-c' in full; similar: rel-"),
        ("rel-a", "k4", r"no SAE of rel-a matches sae_id 'k4' in full; its ids look like: l3/k4"),
        ("rel-(", ".*", r"release 'rel-\(' is not a valid regular expression"),
        ("(" * 990, ".*", r"release '\(\(\(.* is not a valid regular expression"),
        ("x" * 5000, ".*", r"release 'xxx.*' has 5000 letters, expected at most 1000"),
        ("rel-b", "gone", r"'gone' of release 'rel-b': SAELens could not load it: OSError: no route to host; check"),
        ("rel-b", "odd", r"'rel-b_odd': architecture 'temporal': .*predicted by attention"),
    ],
)
def test_registry_errors_name_the_sae(
    release: str, sae_id: str, message: str, hub: Hub, registry: list[tuple[str, str]]
) -> None:
    with pytest.raises(UserError, match=message):
        list(fetch_comparison(hub, ComparisonSae(release=release, sae_id=sae_id)))


def test_without_sae_lens_the_error_says_what_to_install(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sae_lens", None)
    monkeypatch.setitem(sys.modules, "sae_lens.loading.pretrained_saes_directory", None)
    with pytest.raises(UserError, match=r"not installed: pip install 'sae-research\[registry\]'"):
        list(fetch_comparison(hub, ComparisonSae(release="a", sae_id="b")))


def test_an_expression_that_would_never_end_is_given_up(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "_directory", lambda: {"sae_bench_pythia70m_sweep_standard_ctx128_0712": None})
    monkeypatch.setattr(expressions, "_SECONDS", 0.1)
    slow = r"(.*?)(.*?)(.*?)(.*?)(.*?)(.*?)(.*?)(.*?)\8\7\6\5\4\3\2\1\d\d\d\d\d"
    with pytest.raises(UserError, match=r"release .* takes more than 0.1 s to match .*; write it without"):
        list(fetch_comparison(hub, ComparisonSae(release=slow, sae_id=".*")))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_real_registry_is_read() -> None:
    matches = pretrained._matches(
        pretrained._directory(), r"gpt2-small-res-jb", r"blocks\.[01]\.hook_resid_pre", place="x"
    )
    assert matches == [("gpt2-small-res-jb", f"blocks.{layer}.hook_resid_pre") for layer in (0, 1)]


def test_the_same_sae_under_two_names_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_saes([_sae("a"), _sae("b", seed=1), _sae("c")], tmp_path / "s", model=MODEL)
    assert caplog.messages == ["SAEs a and c are the same one, with equal numbers"]


def test_a_hostile_value_of_a_variant_is_shown_short() -> None:
    for options in ({"k_values": "x" * 10**6}, {"x" * 10**6: 1}):
        with pytest.raises(UserError, match=r"sae_variants\.ihtp") as caught:
            list(derive_variants(_sae("a"), {"ihtp": options}))
        assert len(str(caught.value)) < 300


def test_a_renamed_sae_keeps_its_digest(tmp_path: Path) -> None:
    sae = _sae("a")
    sae.card = replace(sae.card, name="b")
    manifest = write_saes([sae], tmp_path / "s", model=MODEL)
    assert manifest["saes"][0]["digest"] == _sae("a").card.digest
    shutil.rmtree(tmp_path / "s")


def _names(grids: dict[str, dict[str, Any]]) -> list[str]:
    return [sae.card.name for sae in derive_variants(_sae("a"), grids)]


def test_a_variant_is_derived_for_each_combination_of_values() -> None:
    assert _names({"ihtp": {"k_values": [2, 3], "nonneg_values": [False, True]}}) == [
        "a_ihtp_k2", "a_ihtp_k3", "a_ihtp_k2_nonneg", "a_ihtp_k3_nonneg"
    ]  # fmt: skip
    assert _names({"ihtp_causal": {"k": 2}, "ihtp_token": {"k": 2}}) == ["a_ihtp_causal_k2", "a_ihtp_token_k2"]
    assert _names({"mpsae": {"s_values": (4,), "nonneg": True}}) == ["a_mpsae_s4_nonneg"]
    assert _names({"shtp": {"s_values": [5], "iters": 3, "mu": 0.5}}) == ["a_shtp_s5_iters3_mu0.5"]
    assert _names({"omp": {"s_values": []}}) == []


@pytest.mark.parametrize(
    ("grids", "message"),
    [
        (
            {"ihtp": {"k": 17}},
            r"sae_variants.ihtp: SAE 'a_ihtp_k17': k is 17, but d_sae is 16; k must lie between 1 and",
        ),
        ({"omp": {"s_values": [0]}}, r"sae_variants.omp: SAE 'a_omp_s0': hyperparameters: s is 0, expected at least 1"),
        ({"shtp": {"s": 2, "iters": 0}}, r"sae_variants.shtp: SAE 'a_shtp_s2_iters0': hyperparameters: iters is 0"),
        ({"mpsae": {"s_values": ["x"]}}, r"sae_variants.mpsae: SAE 'a_mpsae_sx': .*s: got 'x' \(str\), expected int"),
        ({"mpsae": {}}, r"sae_variants.mpsae: SAE 'a_mpsae': hyperparameters: missing s"),
        ({"ihtp": {"supports": ["causal"]}}, r"ihtp: unknown key 'supports'; valid: enabled, k, nonneg, k_values, non"),
        ({"ihtp": {"k_values": 5}}, r"sae_variants.ihtp.k_values: got 5, expected a list without repetition"),
        (
            {"ihtp": {"k_values": [5, 5]}},
            r"sae_variants.ihtp.k_values: got \[5, 5\], expected a list without repetition",
        ),
        ({"ihtp": {"k": 1, "k_values": [2]}}, r"sae_variants.ihtp: k and k_values are both given; remove one"),
        ({"topk": {"k": 4}}, r"sae_variants.topk: topk has trained tensors of its own \(W_enc, b_enc, W_dec, b_dec\)"),
        ({"fista": {}}, r"SAE architecture 'fista' is not known; valid: abstopk, batchtopk,"),
    ],
)
def test_unusable_options_of_variants_are_named(grids: dict[str, dict[str, Any]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        _names(grids)
