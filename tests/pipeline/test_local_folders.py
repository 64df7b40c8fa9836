"""What lies in local folders and changes there: `dvc repro`, the plan and stages by hand notice it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.project import ROOT, Finished, Project

from sae_research.pipeline.local_folders import local_revisions, model_place
from sae_research.pipeline.params import read_params
from sae_research.pipeline.paths import Paths
from sae_research.sources.remembered import RememberedDigests
from sae_research.yaml_text import read_yaml

pytestmark = pytest.mark.slow

CORE_BY_HAND = ("python", "-m", "scripts.run_core_eval")


@pytest.fixture(scope="module")
def folders(finished_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A model, a baseline, a comparison SAE and a text in folders outside the project."""
    root, world = tmp_path_factory.mktemp("elsewhere"), finished_project.root / "world"
    for folder in ("models/lm", "models/sae-relu", "models/sae-topk/k8", "datasets/text"):
        shutil.copytree(world / folder, root / Path(folder).name)
    yield root
    shutil.rmtree(root)


@pytest.fixture(scope="module")
def local_project(finished_project: Project, folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A finished project of core on these alone: the baseline, two variants and the comparison SAE."""
    project = finished_project.copy_to(tmp_path_factory.mktemp("local") / "project")
    project.edit({
        "model": {"name": str(folders / "lm")},
        "baseline_sae": {"repo_id": str(folders / "sae-relu")},
        "comparison_saes": [{"repo_id": str(folders), "files": r"k\d+"}],
        "controls": None,
        "core_eval": {"dataset": str(folders / "text")},
        "eval_types": {"sparse_probing": False},
    })  # fmt: skip
    assert project.repro("core_eval").counts == {"core": (4, 0, 0)}
    assert project.repro("core_eval").ran == []
    return project


def _flip_a_bit_and_set_back_the_time(folders: Path) -> None:
    path = folders / "lm" / "model.safetensors"
    before, content = path.stat(), bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def _tokenize_in_lower_case(folders: Path) -> None:
    path = folders / "lm" / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"normalizer": {"type": "Lowercase"}}))


def _train_the_comparison(folders: Path) -> None:
    path = folders / "k8" / "sae_weights.safetensors"
    tensors = load_file(path)
    save_file({**tensors, "b_dec": tensors["b_dec"] + 0.01}, path)


def _train_the_baseline(folders: Path) -> None:
    [path] = folders.glob("sae-relu/**/trainer_0/ae.pt")
    tensors = torch.load(path, weights_only=True)
    torch.save({**tensors, "bias": tensors["bias"] + 0.01}, path)


def _describe_the_baseline_anew(folders: Path) -> None:
    """`config.json`, which is read beside `ae.pt`, names another model; no number rests on that."""
    [path] = folders.glob("sae-relu/**/trainer_0/config.json")
    config = json.loads(path.read_text())
    config["trainer"]["lm_name"] = "another"
    path.write_text(json.dumps(config))


def _rewrite_the_text(folders: Path) -> None:
    """The test split holds what the training split held."""
    train, test = (next(folders.glob(f"text/**/{split}*.parquet")) for split in ("train", "test"))
    shutil.copyfile(train, test)


@pytest.mark.parametrize(
    ("change", "place", "n"),
    [
        (_flip_a_bit_and_set_back_the_time, "model", 4),
        (_tokenize_in_lower_case, "model", 4),
        (_train_the_comparison, "SAE", 1),
        (_train_the_baseline, "SAE", 3),
    ],
)
def test_a_change_is_noticed(
    local_project: Project, folders: Path, change: Callable[[Path], None], place: str, n: int
) -> None:
    change(folders)
    # All else is cached: what the changes before left behind is up to date.
    plan = _plan(local_project)
    assert plan.endswith(f"{4 - n} cached, {n} to compute\n")
    assert plan.count(f"missing: changed: {place} {folders}") == n
    by_hand = local_project.run(*CORE_BY_HAND, check=False)
    assert by_hand.code == 1
    assert f"{place} {folders}" in by_hand.out
    assert "changed since the setup stage ran" in by_hand.out
    again = local_project.repro("core_eval")
    assert again.ran == ["setup", "core_eval"]
    assert again.counts == {"core": (n, 4 - n, 0)}


def test_changed_text_is_noticed(local_project: Project, folders: Path) -> None:
    _rewrite_the_text(folders)
    assert _plan(local_project).endswith("0 cached, 4 to compute\n")
    again = local_project.repro("core_eval")
    assert again.ran == ["core_eval"]
    assert again.counts == {"core": (4, 0, 0)}
    assert local_project.run(*CORE_BY_HAND).counts == {"core": (0, 4, 0)}


def test_a_changed_description_runs_setup_and_no_eval(local_project: Project, folders: Path) -> None:
    _describe_the_baseline_anew(folders)
    again = local_project.repro("core_eval")
    assert again.ran == ["setup", "core_eval"]
    assert again.counts == {"core": (0, 4, 0)}


def test_new_times_alone_run_nothing(local_project: Project, folders: Path) -> None:
    for path in folders.rglob("*.*"):
        path.touch()
    assert local_project.repro("core_eval").ran == []


def test_without_the_folders_results_stay_what_they_are(local_project: Project, folders: Path) -> None:
    aside = folders.rename(folders.with_name("aside"))
    try:
        again = local_project.repro("core_eval")
    finally:
        aside.rename(folders)
    assert again.ran == []
    assert f"model {folders / 'lm'} is not on this machine" in again.out


def test_one_more_checkpoint_that_an_expression_matches_is_noticed(local_project: Project, folders: Path) -> None:
    written = local_project.root / "local_folders.json"
    before = json.loads(written.read_text())
    named = before["places"]["setup"].keys()
    shutil.copytree(folders / "k8", folders / "k16")
    try:
        local_project.run("python", "-m", "scripts.check_local_folders")
        assert json.loads(written.read_text())["places"]["setup"].keys() - named == {f"SAE {folders} k16"}
    finally:
        shutil.rmtree(folders / "k16")
    local_project.run("python", "-m", "scripts.check_local_folders")
    assert json.loads(written.read_text()) == before


def test_an_sae_that_is_trained_on_meanwhile_stops_no_run(local_project: Project, folders: Path) -> None:
    """As when training saves while the stages after setup run: they go on with what setup read."""
    _train_the_comparison(folders)
    under_dvc = local_project.run(*CORE_BY_HAND, env={"DVC_STAGE": "core_eval"})
    assert under_dvc.counts == {"core": (0, 4, 0)}
    assert "the next `dvc repro` will run it again" in under_dvc.out
    assert local_project.repro("core_eval").counts == {"core": (1, 3, 0)}


def test_a_file_is_read_again_only_after_a_change(tmp_path: Path) -> None:
    file, note = tmp_path / "weights", tmp_path / "note.json"
    file.write_bytes(b"one")
    os.utime(file, (1, 1))
    digests = RememberedDigests(note)
    first = digests.of(file)
    digests.save()
    # Of a file that has just been written nothing is remembered: it may change again within a tick of the clock.
    assert not note.exists()
    note.write_text(json.dumps({str(file): [_stamp(file), "remembered"]}))
    assert RememberedDigests(note).of(file) == "remembered"
    file.write_bytes(b"two")
    os.utime(file, (1, 1))
    assert RememberedDigests(note).of(file) not in {"remembered", first}


def _stamp(file: Path) -> list[int]:
    stat = file.stat()
    return [stat.st_size, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns]


def _plan(project: Project) -> str:
    done: Finished = project.run("python", "-m", "sae_research", "plan")
    return done.out


def test_a_gguf_file_counts_by_its_bytes_and_nothing_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "models" / "tiny.gguf"
    file.parent.mkdir()
    content = read_yaml(ROOT / "params.yaml") | read_yaml(ROOT / "profiles" / "pythia-70m.yaml")
    content["model"] |= {"name": str(file)}
    params, paths = read_params(content, where="params.yaml"), Paths(tmp_path, tmp_path / "store")

    def revision(data: bytes) -> str | None:
        file.write_bytes(data)
        return local_revisions(params, paths).setup[model_place(str(file))]

    first = revision(b"GGUF a")
    (file.parent / "another.gguf").write_bytes(b"GGUF c")
    assert first is not None and first.startswith("sha256:")
    assert revision(b"GGUF b") != first
    assert revision(b"GGUF a") == first
