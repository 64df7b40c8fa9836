from __future__ import annotations

import shutil
from functools import reduce
from pathlib import Path

import pytest
import yaml

from sae_research.errors import UserError
from sae_research.evals.registry import find_eval
from sae_research.pipeline.params import load_params, read_params
from sae_research.pipeline.paths import Paths, find_paths
from sae_research.pipeline.profiles import profile_names, read_profile, replace_values, write_profile
from sae_research.yaml_text import read_yaml

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


def test_edits_of_other_keys_and_comments_survive(paths: Paths) -> None:
    text = paths.params.read_text()
    for old, new in [
        ("random_seed: 42", "random_seed: 7"),
        ("  revision: null", "  revision: null  # pinned later"),
        ("  context_size: 128\n  batch_size: 16", "  context_size: 64\n  # as in the paper\n\n  batch_size: 16"),
        ("  name: embedded/lm", "  name: embedded/lm  # my model"),
    ]:
        assert old in text
        text = text.replace(old, new, 1)
    paths.params.write_text(text)
    write_profile("pythia-70m", paths)
    params = load_params(paths.params)
    assert (params.random_seed, params.settings_of(find_eval("core")).context_size) == (7, 64)
    assert "  name: pythia-70m-deduped  # my model\n" in paths.params.read_text()
    write_profile("embedded", paths)
    assert paths.params.read_text() == text


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("      - 1\n      - 2\n", "      - 3\n", "sae_variants.ihtp"),
        ("    filename: k8\n", "    filename: k9\n", "comparison_saes"),
        ("      - 1\n      - 2\n", "      - 1\n      # as in the paper\n      - 2\n", "sae_variants.ihtp"),
        ("  llm_batch_size: 32", "  llm_batch_size: 7", "model.llm_batch_size"),
    ],
    ids=["variant", "comparison", "comment", "speed"],
)
def test_what_the_user_wrote_is_never_overwritten_without_a_word(paths: Paths, old: str, new: str, key: str) -> None:
    text = paths.params.read_text()
    assert old in text
    own = text.replace(old, new, 1)
    paths.params.write_text(own)
    with pytest.raises(UserError, match=rf"params.yaml holds values of your own in {key}, .* --force"):
        write_profile("pythia-70m", paths)
    assert paths.params.read_text() == own
    assert "params.yaml.bak" in write_profile("pythia-70m", paths, force=True)
    assert (paths.root / "params.yaml.bak").read_text() == own
    assert load_params(paths.params).model.name == "pythia-70m-deduped"
    paths.params.write_text(own + "# again\n")
    write_profile("pythia-70m", paths, force=True)
    assert (paths.root / "params.yaml.bak").read_text() == own
    assert (paths.root / "params.yaml.bak2").read_text() == own + "# again\n"


def test_a_value_that_the_profile_has_too_is_no_edit(paths: Paths) -> None:
    text = paths.params.read_text()
    paths.params.write_text(text.replace("  llm_batch_size: 32", "  llm_batch_size: 512  # more"))
    write_profile("pythia-70m", paths)
    assert "  llm_batch_size: 512  # more\n" in paths.params.read_text()
    assert not list(paths.root.glob("*.bak*"))


def test_unknown_profile_lists_the_valid_ones(paths: Paths) -> None:
    with pytest.raises(UserError, match="'llama' does not exist; valid: embedded, gemma-2-2b, gpt2-ravel, pythia-70m"):
        write_profile("llama", paths)


def test_every_profile_sets_the_same_keys_and_embedded_holds_the_default_values(paths: Paths) -> None:
    profiles = {name: read_profile(paths.profiles / f"{name}.yaml") for name in profile_names(paths)}
    assert len(profiles) > 2
    for values in profiles.values():
        assert values.keys() == profiles["embedded"].keys()
    params = read_yaml(ROOT / "params.yaml")
    for place, value in profiles["embedded"].items():
        assert reduce(lambda section, key: section[key], place, params) == value


def test_profiles_hold_values_alone(paths: Paths) -> None:
    for name in profile_names(paths):
        assert "#" not in (paths.profiles / f"{name}.yaml").read_text()


TEXT = """\
a:  # first
  x: 1  # one
  y:
    - 1
    - 2

  # about z
  z: |
    two
    lines

  # about w
  w: {p: 1}   # flow
  e:
  l: []
b: {k: 1, m: 2}
c:  # a list
  - 1
# the end
"""


def test_values_of_any_form_are_replaced_whole_and_comments_stay() -> None:
    values = {
        ("a", "x"): [1, 2], ("a", "y"): "s", ("a", "z"): {"q": [3, {"r": None}]}, ("a", "w"): None, ("a", "e"): 0.5,
        ("a", "l"): [True], ("b", "m"): "{word}: x", ("c",): [],
    }  # fmt: skip
    assert (
        replace_values(TEXT, values, where="t")
        == """\
a:  # first
  x:  # one
    - 1
    - 2
  y: s

  # about z
  z:
    q:
      - 3
      - r: null

  # about w
  w: null   # flow
  e: 0.5
  l:
    - true
b: {k: 1, m: '{word}: x'}
c: []  # a list
# the end
"""
    )


def test_equal_values_are_left_as_they_are_written() -> None:
    values = {("a", "y"): [1, 2], ("a", "z"): "two\nlines\n", ("a", "w"): {"p": 1}, ("b", "k"): 1, ("c",): [1]}
    assert replace_values(TEXT, values, where="t") == TEXT


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        (TEXT, ("a", "n"), r"profiles/p.yaml sets a.n, which params.yaml does not have; correct the key, or add it"),
        (TEXT, ("d",), r"profiles/p.yaml sets d, which params.yaml does not have"),
        (
            TEXT,
            ("b", "k"),
            r"the values of profiles/p.yaml do not fit into params.yaml as it is written; put every",
        ),
        ("a: &x {k: 1}\nb: *x\n", ("b", "k"), r"do not fit into params.yaml as it is written; .* use no anchors"),
        ("- 1\n", ("a",), r"params.yaml: got list, expected sections of params.yaml with their values"),
        ("", ("a",), r"params.yaml: got NoneType, expected sections"),
        ("a: [", ("a",), r"params.yaml is not valid YAML"),
    ],
)
def test_what_does_not_fit_is_an_error(text: str, place: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace_values(text, {place: [1]}, where="profiles/p.yaml")


def test_a_profile_that_is_not_valid_changes_nothing(paths: Paths) -> None:
    before = paths.params.read_bytes()
    (paths.profiles / "mine.yaml").write_text("model:\n  torch_dtype: float8\n")
    with pytest.raises(UserError, match=r"profiles/mine.yaml.model.torch_dtype: got 'float8'"):
        write_profile("mine", paths)
    (paths.profiles / "list.yaml").write_text("- model\n")
    with pytest.raises(UserError, match=r"list.yaml: got list, expected sections of params.yaml with their values"):
        write_profile("list", paths)
    assert paths.params.read_bytes() == before


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
    for name in profile_names(paths):
        profile = paths.profiles / f"{name}.yaml"
        assert yaml.safe_load(profile.read_text()) == read_yaml(profile)
        write_profile(name, paths)
        text = paths.params.read_text()
        assert yaml.safe_load(text) == read_yaml(paths.params)
        values = [line.split("#")[0].split(": ")[-1].lstrip() for line in text.splitlines()]
        # An empty list has no other style.
        assert [value for value in values if value.startswith(("[", "{")) and value not in ("[]", "{}")] == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("random_seed: 42", "random_sede: 42", "params.yaml: unknown key 'random_sede'; valid: random_seed, model,"),
        ("dtype: float32", "dtype: float23", "params.yaml.model.torch_dtype: got 'float23' (str); valid: float32"),
        ("  ihtp:", "  ihtq:", "params.yaml: sae_variants: unknown key 'ihtq'; valid: abstopk, batchtopk,"),
        ("  core: true", "  core: maybe", "params.yaml.eval_types.core: got 'maybe' (str), expected bool"),
        ("  core: true", "  kore: true", "params.yaml: eval_types: unknown key 'kore'; valid: core, sparse_probing"),
        ("embedded/news", "embedded/gnus", "'embedded/gnus'"),
        ("\ncore_eval:", "\ncore:", "params.yaml: unknown key 'core'; valid: random_seed, model, baseline_sae,"),
        ("\ntpp:", "\nscr:", "params.yaml is not valid YAML: while constructing a mapping"),
        ("  enabled: true", "  enabled: 1", "params.yaml: sae_variants.ihtp.enabled is 1, expected a bool"),
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


def test_an_eval_that_is_on_needs_its_section(paths: Paths) -> None:
    params = read_yaml(paths.params)
    del params["tpp"]
    with pytest.raises(UserError, match=r"p: eval_types.tpp is true, but there is no section 'tpp'; add it, or set"):
        read_params(params, where="p")
    params["eval_types"]["tpp"] = False
    assert "tpp" not in read_params(params, where="p").enabled_evals
    del params["eval_types"]["tpp"]
    assert not read_params(params, where="p").is_enabled("tpp")
