"""`find-saes` over a hub repository, a folder and SAELens' real registry: what it says, and what it fetches."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from support.hub_server import Repo, run_against, running_hub

from sae_research.cli import main
from sae_research.formats.outlines import Outline, outlined

TRAINER = {
    "trainer_class": "TopKTrainer", "dict_class": "AutoEncoderTopK", "activation_dim": 512, "dict_size": 4096, "k": 40,
    "layer": 3, "lm_name": "EleutherAI/pythia-70m-deduped", "submodule_name": "resid_post_layer_3",
}  # fmt: skip
LENS = {
    "architecture": "jumprelu", "d_in": 768, "d_sae": 24576,
    "metadata": {"hook_name": "blocks.5.hook_mlp_out", "model_name": "gpt2-small"},
}  # fmt: skip
FILES = {
    "sweep/resid_post_layer_3/trainer_2/ae.pt": b"weights", "lens/cfg.json": json.dumps(LENS).encode(),
    "sweep/resid_post_layer_3/trainer_2/config.json": json.dumps({"trainer": TRAINER}).encode(),
    "lens/sae_weights.safetensors": b"weights", "layer_7/width_16k/average_l0_71/params.npz": b"weights",
    "README.md": b"",
}  # fmt: skip
NOTHING = dict.fromkeys(("release", "model", "architecture", "d_in", "d_sae", "width", "hook_name", "layer", "l0"))
SCOPE = {"path": "layer_7/width_16k/average_l0_71/params.npz", "width": "16k", "layer": 7, "l0": 71.0}
JUMPRELU = {
    "path": "lens", "model": "gpt2-small", "architecture": "jumprelu", "d_in": 768, "d_sae": 24576,
    "hook_name": "blocks.5.hook_mlp_out", "layer": 5,
}  # fmt: skip
TOPK = {
    "path": "sweep/resid_post_layer_3/trainer_2/ae.pt", "model": "EleutherAI/pythia-70m-deduped",
    "architecture": "topk", "d_in": 512, "d_sae": 4096, "hook_name": "blocks.3.hook_resid_post", "layer": 3, "l0": 40.0,
}  # fmt: skip


def _expected(repo_id: str, *outlines: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**NOTHING, "repo_id": repo_id, **outline} for outline in outlines]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


def _found(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main(["find-saes", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saes = str(folder)
    assert _found(capsys, "--repo-id", saes) == _expected(saes, SCOPE, JUMPRELU, TOPK)
    assert _found(capsys, "--repo-id", saes, "--files", r"sweep/.*ae\.pt") == _expected(saes, TOPK)
    assert _found(capsys, "--repo_id", saes, "--model_name", "pythia-70m.*") == _expected(saes, TOPK)
    assert main(["find-saes", "--repo-id", saes, "--files", "sweep/.*"]) == 0
    table = capsys.readouterr().out
    assert re.search(r"SAE +model +architecture +d_in +d_sae +site +L0\nsweep\S+ +Eleu\S+ +topk +512 +4096 ", table)
    assert f"1 SAEs. In params.yaml:\ncomparison_saes:\n  - repo_id: '{saes}'\n    files: 'sweep/.*'\n" in table


def test_a_repository_of_the_hub_of_which_configurations_alone_are_fetched(tmp_path: Path) -> None:
    arguments = ["find-saes", "--repo-id", "lab/saes", "--json"]
    script = f"import sys; from sae_research.cli import main; sys.exit(main({arguments}))"
    with running_hub({"lab/saes": Repo({"main": FILES})}) as hub:
        done = run_against(hub.endpoint, tmp_path, script)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == _expected("lab/saes", SCOPE, JUMPRELU, TOPK)
    assert [path.rsplit("/", 1)[-1] for path in hub.downloads()] == ["cfg.json", "config.json"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_saelens_registry(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--release", "gemma-scope-2b-pt-res(-canonical)?|gpt2-small-res-jb", "--model", "gemma-2-2b"]
    found = _found(capsys, *arguments, "--sae-id", "layer_(9|10)/width_16k/(average_l0_3.|canonical)")
    assert [outline["layer"] for outline in found] == [9, 10] * 2
    assert {outline["layer"] for outline in found} == {9, 10} and {outline["width"] for outline in found} == {"16k"}
    assert all(outline["repo_id"] == "google/gemma-scope-2b-pt-res" and outline["l0"] >= 30 for outline in found)
    [jb] = _found(capsys, "--release", "gpt2-small-res-jb", "--sae_id", r"blocks\.7\.hook_resid_pre")
    assert (jb["model"], jb["hook_name"], jb["layer"]) == ("gpt2-small", "blocks.7.hook_resid_pre", 7)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_registrys_configurations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of two registered SAEs one has its configuration in the repository, which lies beside the process here."""
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "canrager/lm_sae/pythia70m_sweep_topk_ctx128_0730/resid_post_layer_3/trainer_2"
    run.mkdir(parents=True)
    (run / "config.json").write_text(json.dumps({"trainer": TRAINER}))
    chosen = ["--release", "sae_bench_pythia70m_sweep_topk.*0730", "--sae-id", r"blocks\.3.*trainer_(2|10)"]
    first, second = _found(capsys, *chosen, "--configs")
    assert (first["path"], first["architecture"], first["d_in"], first["d_sae"], first["l0"]) == (
        "blocks.3.hook_resid_post__trainer_2", "topk", 512, 4096, 40.0
    )  # fmt: skip
    assert (second["architecture"], second["d_sae"], second["layer"]) == (None, None, 3)
    assert _found(capsys, *chosen)[0]["architecture"] is None, "nothing is fetched unless it is asked for"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--files", "x"], "--files and --revision need --repo-id"),
        (["--repo-id", "FOLDER", "--release", "x"], "--repo-id goes with --files and --revision"),
        (["--repo-id", "FOLDER", "--files", "x"], r"find-saes: files: none of the 3 checkpoints of .* in full"),
        (["--repo-id", "FOLDER", "--model", "x"], r"model 'x' matches none in full; there are: gpt2-small, Eleu"),
        (["--release", "gpt2"], r"find-saes: no release in SAELens' registry matches 'gpt2' in full; similar: gpt2-"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_cannot_be_found_is_told(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    arguments: list[str],
    message: str,
) -> None:
    assert main(["find-saes", *[argument.replace("FOLDER", str(folder)) for argument in arguments]]) == 1
    assert re.search(message, caplog.text) and not capsys.readouterr().out


@pytest.mark.parametrize(
    ("path", "facts"),
    [
        ("Llama3_1-8B-Base-L20R-8x", {"layer": 20}), ("layer18.sae.pt", {"layer": 18}),
        ("gemma-2-2b_topk_width-2pow16/resid_post_layer_19/trainer_2", {"layer": 19, "width": "2pow16"}),
        ("qwen-scope-w80k-l50/layer3", {"layer": 3, "width": "80k"}), ("layers.5.mlp", {"layer": 5}),
        ("blocks.3.hook_resid_post__trainer_10", {"layer": 3, "hook_name": "blocks.3.hook_resid_post"}),
        ("embedding/width_4k/average_l0_6.5", {"width": "4k", "l0": 6.5}), ("k8", {}), ("model_layers_v2", {}),
    ],
)  # fmt: skip
def test_what_a_path_says(path: str, facts: dict[str, Any]) -> None:
    assert outlined(Outline(path), {}) == Outline(path, **facts)


@pytest.mark.parametrize(
    ("config", "facts"),
    [
        ({"d_in": True, "d_sae": -1, "k": "8", "architecture": ["x"], "model_name": "a\x1b[31m"}, {}),
        ({"activation_fn_kwargs": {"k": 32}, "d_in": 8}, {"d_in": 8, "architecture": "topk", "l0": 32.0}),
        ({"architecture": "standard", "hook_point": "blocks.1.hook_mlp_out"},
         {"architecture": "relu", "hook_name": "blocks.1.hook_mlp_out", "layer": 1}),
        ({"trainer": {"trainer_class": "StandardTrainer"}}, {"architecture": "relu"}),
        ({"num_latents": 64, "d_in": 8, "architecture": "theirs"}, {"d_sae": 64, "d_in": 8, "architecture": "theirs"}),
    ],
)  # fmt: skip
def test_what_a_configuration_says(config: dict[str, Any], facts: dict[str, Any]) -> None:
    assert outlined(Outline("x"), config) == Outline("x", **facts)
