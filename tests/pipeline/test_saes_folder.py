"""The folder of SAEs: what changes in it, what survives a failure or a kill."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.small_saes import MODEL, small_sae

from sae_research.errors import UserError
from sae_research.formats.readers.saelens import load_sae
from sae_research.pipeline import saes_folder
from sae_research.pipeline.manifest import read_manifest
from sae_research.pipeline.saes_folder import write_saes
from sae_research.pipeline.variants import derive_variants
from sae_research.saes.base import Sae


def test_the_folder_and_its_manifest(tmp_path: Path) -> None:
    folder = tmp_path / "downloaded_saes"
    saes = [small_sae("a"), *derive_variants(small_sae("a"), {"ihtp": {"k": 1}, "mpsae": {"s": 2}})]
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
    write_saes([small_sae("a"), small_sae("b", seed=1)], folder, model=MODEL)
    before = _state(folder)
    write_saes([small_sae("a"), small_sae("b", seed=1)], folder, model=MODEL)
    assert _state(folder) == before
    (folder / "stray").mkdir()
    (folder / "stray.txt").touch()
    write_saes(iter([small_sae("a"), small_sae("c", seed=2)]), folder, model=MODEL)
    after = _state(folder)
    assert {name: state for name, state in after.items() if name.startswith("a/")} == {
        name: state for name, state in before.items() if name.startswith("a/")
    }
    # b was this stage's own, the strays are somebody's.
    assert sorted(path.name for path in folder.iterdir()) == ["a", "c", "manifest.json", "stray", "stray.txt"]


def test_a_damaged_folder_is_written_anew(tmp_path: Path) -> None:
    folder = tmp_path / "downloaded_saes"
    write_saes([small_sae("a")], folder, model=MODEL)
    (folder / "a" / "sae_weights.safetensors").write_bytes(b"short")
    write_saes([small_sae("a")], folder, model=MODEL)
    assert load_sae(folder / "a").card.digest == small_sae("a").card.digest


def test_names_never_collide(tmp_path: Path) -> None:
    saes = [
        small_sae("a"),
        small_sae("a", seed=1),
        small_sae("A", seed=2),
        small_sae("a", seed=1),
        small_sae("x/y z" + 200 * "w", seed=3),
    ]
    digests = [sae.card.digest for sae in saes]
    manifest = write_saes(saes, tmp_path / "s", model=MODEL)
    names = [entry["name"] for entry in manifest["saes"]]
    assert names[:4] == ["a", f"a_{digests[1][:8]}", f"A_{digests[2][:8]}", f"a_{digests[1][:8]}_2"]
    assert re.fullmatch(r"x_y_zw{100,}_[0-9a-f]{8}", names[4])
    assert len(names[4]) <= 120
    assert [load_sae(tmp_path / "s" / name).card.digest for name in names] == digests


def test_a_failure_while_fetching_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "downloaded_saes"
    write_saes([small_sae("a")], folder, model=MODEL)
    before = _state(folder)

    def saes() -> Iterator[Sae]:
        yield small_sae("b", seed=1)
        raise UserError("the second one is unavailable")

    with pytest.raises(UserError, match="is unavailable"):
        write_saes(saes(), folder, model=MODEL)
    assert _state(folder) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["downloaded_saes"]


def test_an_interrupted_change_leaves_no_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "downloaded_saes"
    write_saes([small_sae("a")], folder, model=MODEL)

    def die(_source: Path, _target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(saes_folder, "replace_folder", die)
    with pytest.raises(KeyboardInterrupt):
        write_saes([small_sae("a", seed=1)], folder, model=MODEL)
    with pytest.raises(UserError, match=r"manifest\.json does not exist; run the setup stage first"):
        read_manifest(folder)
    monkeypatch.undo()
    write_saes([small_sae("a", seed=1)], folder, model=MODEL)
    assert load_sae(folder / "a").card.digest == small_sae("a", seed=1).card.digest


def test_what_a_killed_run_left_behind_does_no_harm(tmp_path: Path) -> None:
    folder = tmp_path / "downloaded_saes"
    (tmp_path / ".downloaded_saes.part" / ".tmp-dead" / "a").mkdir(parents=True)
    write_saes([small_sae("a")], folder, model=MODEL)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["downloaded_saes"]


def test_bytes_do_not_depend_on_the_place(tmp_path: Path) -> None:
    for place in ("one", "two"):
        variants = derive_variants(small_sae("a"), {"ihtp": {"k": 1}, "mpsae": {"s": 2}})
        write_saes([small_sae("a"), *variants], tmp_path / place, model=MODEL)
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


def test_the_same_sae_under_two_names_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_saes([small_sae("a"), small_sae("b", seed=1), small_sae("c")], tmp_path / "s", model=MODEL)
    assert caplog.messages == ["SAEs a and c are the same one, with equal numbers"]


def test_a_renamed_sae_keeps_its_digest(tmp_path: Path) -> None:
    sae = small_sae("a")
    sae.card = replace(sae.card, name="b")
    manifest = write_saes([sae], tmp_path / "s", model=MODEL)
    assert manifest["saes"][0]["digest"] == small_sae("a").card.digest
    shutil.rmtree(tmp_path / "s")
