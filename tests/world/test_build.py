"""A tiny world, built once: complete, read back by the pipeline's and by SAELens' own loaders, refused when damaged."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sae_research.formats.registry import read_sae
from sae_research.lm.load import load_language_model
from sae_research.progress import Progress
from sae_research.sources.hub import Hub
from sae_research.world.build import build_world, world_is_valid
from sae_research.world.manifest import read_manifest
from sae_research.world.sae_plan import HOOK_NAME, PLANS, SaePlan
from sae_research.world.settings import WorldSettings

TINY = WorldSettings(seed=3, size="tiny")
SAELENS = [plan for plan in PLANS if plan.architecture != "relu"]
RELU = [plan for plan in PLANS if plan.architecture == "relu"]


def _name(plan: SaePlan) -> str:
    return plan.folder


def test_the_finished_world_is_valid_for_its_settings_only(tiny_world: Path) -> None:
    assert world_is_valid(tiny_world, TINY)
    assert not world_is_valid(tiny_world, dataclasses.replace(TINY, seed=4))
    assert not world_is_valid(tiny_world, WorldSettings(seed=3))
    assert not world_is_valid(tiny_world / "models", TINY)
    assert not world_is_valid(tiny_world / "nowhere", TINY)


def test_the_manifest_names_every_file_with_its_digest(tiny_world: Path) -> None:
    manifest = read_manifest(tiny_world)
    assert manifest is not None
    present = {p.relative_to(tiny_world).as_posix() for p in tiny_world.rglob("*") if p.is_file()}
    assert set(manifest["files"]) == present - {"manifest.json"}
    assert manifest["key"] == TINY.key
    assert manifest["seed"] == 3
    assert manifest["training"]["lm"]["tokens"] == 60 * 4 * 128


@pytest.mark.parametrize("damage", ["changed", "missing", "added", "manifest"])
def test_a_damaged_world_is_refused(tiny_world: Path, tmp_path: Path, damage: str) -> None:
    copy = tmp_path / "world"
    shutil.copytree(tiny_world, copy)
    victim = copy / "models" / "sae-topk" / "k16" / "sae_weights.safetensors"
    if damage == "changed":
        content = bytearray(victim.read_bytes())
        content[-1] ^= 1
        victim.write_bytes(content)
    elif damage == "missing":
        victim.unlink()
    elif damage == "added":
        (victim.parent / "more.json").write_text("{}")
    else:
        (copy / "manifest.json").write_text("{")
    assert not world_is_valid(copy, TINY)


def test_a_build_that_fails_leaves_what_was_there(
    tiny_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "world"
    folder.mkdir()
    (folder / "old").write_text("old")

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no power")

    monkeypatch.setattr("sae_research.world.datasets.write_data_set", fail)
    with Progress("world", shown=False) as progress, pytest.raises(RuntimeError, match="no power"):
        build_world(folder, TINY, progress)
    assert [p.name for p in tmp_path.rglob("*")] == ["world", "old"]


def test_the_model_loads_as_the_hubs_do_and_its_tokenizer_puts_bos_first(tiny_world: Path) -> None:
    lm = load_language_model(Hub(tiny_world), "embedded/lm", device="cpu")
    tokenizer = lm.tokenizer
    assert len(lm.special_ids) == 3
    assert lm.special_ids == set(tokenizer.all_special_ids)
    encoded = tokenizer("The city of")["input_ids"]
    assert encoded[0] == tokenizer.bos_token_id
    assert tokenizer.decode(encoded[1:]) == "The city of"
    assert tokenizer.padding_side == "right"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # raised while transformer_lens is imported
@pytest.mark.parametrize("plan", SAELENS, ids=_name)
def test_saelens_reads_its_folders_and_finds_the_same_codes(tiny_world: Path, plan: SaePlan) -> None:
    from sae_lens import SAE

    folder = tiny_world / "models" / plan.folder
    theirs = SAE.load_from_disk(folder)
    ours = read_sae(folder, name="x", source={})
    x = torch.randn(32, ours.card.d_in, generator=torch.Generator().manual_seed(0)) * 0.2
    codes = ours.encode(x)
    assert bool((codes != 0).any())
    torch.testing.assert_close(theirs.encode(x), codes)
    torch.testing.assert_close(theirs.decode(codes), ours.decode(codes))
    metadata = theirs.cfg.metadata
    assert metadata.hook_name == HOOK_NAME
    assert metadata.model_name == "embedded/lm"
    assert metadata.context_size == 128
    assert metadata.prepend_bos is True
    assert metadata.training_architecture == plan.architecture
    assert metadata.training_tokens == 40 * 256


@pytest.mark.parametrize("k", [8, 32])
def test_batchtopk_is_saved_as_saelens_saves_it_and_known_for_what_it_is(tiny_world: Path, k: int) -> None:
    folder = tiny_world / "models" / f"sae-batchtopk/k{k}"
    assert json.loads((folder / "cfg.json").read_text())["architecture"] == "jumprelu"
    sae = read_sae(folder, name="x", source={})
    assert sae.card.architecture == "batchtopk"
    assert sae.card.hyperparameters["k"] == k
    threshold = sae.get_buffer("threshold")
    assert bool((threshold == threshold[0]).all())
    assert float(threshold[0]) > 0


@pytest.mark.parametrize("plan", RELU, ids=_name)
def test_the_baseline_is_a_dictionary_learning_checkpoint_with_atoms_of_norm_one(
    tiny_world: Path, plan: SaePlan
) -> None:
    folder = tiny_world / "models" / plan.folder
    state = torch.load(folder / "ae.pt", weights_only=True)
    assert sorted(state) == ["bias", "decoder.weight", "encoder.bias", "encoder.weight"]
    torch.testing.assert_close(state["decoder.weight"].norm(dim=0), torch.ones(128))
    sae = read_sae(folder / "ae.pt", name="x", source={})
    assert sae.card.architecture == "relu"
    x = torch.randn(8, sae.card.d_in, generator=torch.Generator().manual_seed(0))
    expected = torch.relu((x - state["bias"]) @ state["encoder.weight"].T + state["encoder.bias"])
    torch.testing.assert_close(sae.encode(x), expected)


@pytest.mark.parametrize("folder", [plan.folder for plan in PLANS if plan.seed])
def test_another_training_seed_gives_another_sae_of_the_same_sparsity(tiny_world: Path, folder: str) -> None:
    one, other = (
        read_sae(tiny_world / "models" / name, name="x", source={}) for name in (folder.removesuffix("_seed1"), folder)
    )
    assert one.card.hyperparameters == other.card.hyperparameters
    cosines = (one.W_dec @ other.W_dec.T).abs()
    assert float(cosines.diagonal().max()) < 0.99


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_again_on_this_machine(tiny_world: Path, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    with Progress("world", shown=False) as progress:
        again = build_world(tmp_path / "world", TINY, progress)
    assert again == read_manifest(tiny_world)
    assert torch.get_num_threads() == before


_DIGESTS = """
import json, sys
from pathlib import Path
from sae_research.world.build import _write_text
from sae_research.world.settings import WorldSettings
texts, contents = _write_text(Path(sys.argv[1]), WorldSettings(seed=3, size="tiny"))
print(json.dumps(contents))
"""


def test_text_tokenizer_and_labels_are_the_same_in_another_process(tiny_world: Path, tmp_path: Path) -> None:
    # Another process hashes strings with another seed, so that any order taken from a set would show.
    done = subprocess.run(
        [sys.executable, "-c", _DIGESTS, str(tmp_path)],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
        env={"PYTHONHASHSEED": "12345", "TOKENIZERS_PARALLELISM": "true", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    manifest = read_manifest(tiny_world)
    assert manifest is not None
    assert json.loads(done.stdout) == manifest["contents"]
    for path in sorted(tmp_path.rglob("*.parquet")):
        assert path.read_bytes() == (tiny_world / path.relative_to(tmp_path)).read_bytes()
