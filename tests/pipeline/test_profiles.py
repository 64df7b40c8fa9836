from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from sae_research.errors import UserError
from sae_research.pipeline.params import load_params, read_yaml
from sae_research.pipeline.paths import Paths, find_paths
from sae_research.pipeline.profiles import profile_names, split_sections, write_profile

ROOT = Path(__file__).parents[2]


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(ROOT / "profiles", tmp_path / "profiles")
    return find_paths(tmp_path)


def test_going_to_a_profile_and_back_leaves_the_file_byte_for_byte(paths: Paths) -> None:
    before = paths.params.read_bytes()
    for name in profile_names(paths):
        write_profile(name, paths)
        load_params(paths.params)
        assert (paths.params.read_bytes() == before) is (name == "embedded")
    write_profile("embedded", paths)
    assert paths.params.read_bytes() == before


def test_an_edit_outside_the_profiles_sections_survives(paths: Paths) -> None:
    text = paths.params.read_text().replace("random_seed: 42", "random_seed: 7")
    paths.params.write_text(text)
    write_profile("pythia-70m", paths)
    assert load_params(paths.params).random_seed == 7


def test_unknown_profile_lists_the_valid_ones(paths: Paths) -> None:
    with pytest.raises(UserError, match="'llama' does not exist; valid: embedded, gemma-2-2b, pythia-70m"):
        write_profile("llama", paths)


def test_every_profile_has_the_same_sections(paths: Paths) -> None:
    sections = [set(split_sections(path.read_text())) - {""} for path in sorted(paths.profiles.glob("*.yaml"))]
    assert sections[0] == sections[1] == sections[2]


def test_pythia_profile_is_seed_001_to_the_letter(paths: Paths) -> None:
    write_profile("pythia-70m", paths)
    params = read_yaml(paths.params)
    model = {key: params["model"][key] for key in ("name", "llm_batch_size", "torch_dtype", "device")}
    assert model == {
        "name": "pythia-70m-deduped", "llm_batch_size": 512, "torch_dtype": "float32", "device": "cuda",
    }  # fmt: skip
    assert params["sae_variants"] == {
        "ihtp": {"enabled": True, "k_values": [5, 10]},
        "mpsae": {"enabled": True, "s_values": [50, 100]},
    }
    baseline = {key: params["baseline_sae"][key] for key in ("repo_id", "filename", "hook_layer")}
    assert baseline == {
        "repo_id": "canrager/lm_sae",
        "filename": "pythia70m_sweep_standard_ctx128_0712/resid_post_layer_4/trainer_8/ae.pt",
        "hook_layer": 4,
    }


def test_params_read_the_same_under_yaml_1_1_and_1_2_and_are_in_block_style(paths: Paths) -> None:
    for name in ["params.yaml", *(f"profiles/{p}.yaml" for p in profile_names(paths))]:
        text = (paths.root / name).read_text()
        assert yaml.safe_load(text) == read_yaml(paths.root / name)
        values = [line.split("#")[0].split(": ")[-1].lstrip() for line in text.splitlines()]
        # An empty list has no other style.
        assert [value for value in values if value.startswith(("[", "{")) and value != "[]"] == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("random_seed: 42", "random_sede: 42", "params.yaml: unknown key 'random_sede'; valid: random_seed, model,"),
        ("dtype: float32", "dtype: float23", "params.yaml.model.torch_dtype: got 'float23' (str); valid: float32"),
        ("  ihtp:", "  ihtq:", "params.yaml.sae_variants: unknown key 'ihtq'; valid: ihtp, mpsae"),
        ("  core: true", "  core: maybe", "params.yaml.eval_types.core: got 'maybe' (str), expected bool"),
        ("  core: true", "  kore: true", "params.yaml.eval_types: unknown key 'kore'; valid: core, sparse_probing"),
        ("embedded/news", "embedded/gnus", "'embedded/gnus'"),
    ],
)
def test_mistakes_fail_in_one_line_that_lists_what_is_valid(paths: Paths, old: str, new: str, said: str) -> None:
    text = paths.params.read_text()
    assert old in text
    paths.params.write_text(text.replace(old, new, 1))
    with pytest.raises(UserError) as caught:
        load_params(paths.params)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
