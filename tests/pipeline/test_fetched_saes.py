"""The SAEs that params.yaml names, from folders, worlds and registries."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support.small_saes import BASELINE, MODEL, small_baseline, small_hub, small_sae
from transformers import Gemma2Config

from sae_research.errors import UserError
from sae_research.formats import expressions, pretrained
from sae_research.formats.readers.saelens import save_sae
from sae_research.formats.registry import short_name_of
from sae_research.lm.load import ModelShape, model_shape
from sae_research.lm.site import Site
from sae_research.pipeline.fetched_saes import check_baseline, check_comparison, fetch_baseline, fetch_comparison
from sae_research.pipeline.names import slug
from sae_research.pipeline.saes_folder import write_saes
from sae_research.pipeline.sections import BaselineSae, ComparisonSae
from sae_research.pipeline.variants import derive_variants
from sae_research.records import read_record
from sae_research.sources.hub import Hub


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    return small_hub(tmp_path)


def test_the_baseline_is_named_after_its_folder_and_records_its_source(hub: Hub) -> None:
    sae = small_baseline(hub)
    assert sae.card.name == "relu_trainer_0"
    assert sae.card.source["repo_id"] == "embedded/sae-relu"
    assert sae.card.source["format"] == "dictionary_learning"
    assert sae.card.source["revision"].startswith("sha256:")
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones(16))


def test_a_baseline_of_another_layer_is_refused(hub: Hub) -> None:
    with pytest.raises(UserError, match=r"hook_layer is 4, but embedded/sae-relu/.*ae\.pt was trained on layer 3"):
        small_baseline(hub, hook_layer=4)


def test_a_baseline_trained_on_another_model_causes_a_warning(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        small_baseline(hub, model_name="/data/lm/")
        assert not caplog.records
        small_baseline(hub, model_name="gpt2")
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


def test_comparisons_from_folders(hub: Hub) -> None:
    saes = [
        *fetch_comparison(hub, ComparisonSae("embedded/sae-topk", "k4")),
        *fetch_comparison(hub, ComparisonSae("embedded/sae-other", "topk_k4")),
    ]
    assert [sae.card.name for sae in saes] == ["topk_k4", "topk_k4"]
    assert saes[0].card.digest == small_sae("a", "topk", k=4).card.digest
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
        save_sae(small_sae(path, "topk", seed=seed, k=4), folder / path)

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
        small_baseline(hub)


def _shape(tmp_path: Path, *, hidden_size: int = 6, n_layers: int = 4, head_dim: int = 4) -> ModelShape:
    """That of a Gemma 2 model with three heads, which has no weights yet."""
    folder = tmp_path / f"{hidden_size}_{n_layers}_{head_dim}"
    Gemma2Config(
        vocab_size=8, hidden_size=hidden_size, num_hidden_layers=n_layers, num_attention_heads=3, num_key_value_heads=1,
        head_dim=head_dim, intermediate_size=8,
    ).save_pretrained(folder)  # fmt: skip
    return model_shape(folder)


def test_an_sae_must_fit_the_model(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    card = small_sae("mine").card
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
    attention = replace(small_sae("mine").card, site=Site(3, "attn_z"))
    for check in (check_baseline, check_comparison):
        check(attention, _shape(tmp_path, hidden_size=12, head_dim=2))
        with pytest.raises(UserError, match=r"'mine' has d_in = 6, but .* at blocks.3.attn.hook_z have 12 dimensions"):
            check(attention, _shape(tmp_path))
    check_comparison(attention, _shape(tmp_path, n_layers=3))


class Lens:
    """What `SAE.from_pretrained_with_cfg_and_sparsity` gives, as far as it is used."""

    def __init__(self, architecture: str) -> None:
        self.cfg = SimpleNamespace(to_dict=lambda: self.config)
        self.config = {
            "architecture": architecture, "d_in": 6, "d_sae": 16, "apply_b_dec_to_input": True,
            "metadata": {"model_name": "gpt2", "hook_name": "blocks.3.hook_resid_post"},
        }  # fmt: skip

    def state_dict(self) -> dict[str, torch.Tensor]:
        sae = small_sae("x")
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
