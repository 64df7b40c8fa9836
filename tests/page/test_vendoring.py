"""A new version of a vendored library, from a package that npm packs."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from sae_research.errors import UserError
from sae_research.page.document import VENDOR
from sae_research.page.vendoring import fetch_library


def _package(folder: Path, **changes: Any) -> Path:
    (folder / "dist").mkdir(parents=True)
    (folder / "dist" / "d3.min.js").write_text("// new\n")
    (folder / "LICENSE").write_text("Permission to use\n")
    # A package may ask for a script to be run when it is packed; it must not be.
    about = {"name": "d3", "version": "99.1.0", "license": "ISC", "scripts": {"prepack": "touch ran"}}
    (folder / "package.json").write_text(json.dumps(about | changes))
    return folder


def test_a_new_version_replaces_script_licence_and_digests(tmp_path: Path) -> None:
    vendor = Path(shutil.copytree(VENDOR, tmp_path / "vendor"))
    before = json.loads((vendor / "vendor.json").read_text())
    package = _package(tmp_path / "package")
    assert fetch_library(str(package), vendor) == "d3.min.js: d3 99.1.0, 7 bytes"
    assert (vendor / "d3.min.js").read_text() == "// new\n"
    assert (vendor / "d3.LICENSE.txt").read_text() == "Permission to use\n"
    after = json.loads((vendor / "vendor.json").read_text())
    assert after.pop("plot.umd.min.js") == before.pop("plot.umd.min.js")
    new = after["d3.min.js"]
    assert (new["version"], new["package"]) == ("99.1.0", "d3@99.1.0")
    assert new["integrity"] == "sha512-" + base64.b64encode(hashlib.sha512(b"// new\n").digest()).decode()
    assert new["package_integrity"].startswith("sha512-")
    assert new["package_integrity"] != before["d3.min.js"]["package_integrity"]
    assert not (package / "ran").exists()


@pytest.mark.parametrize(
    ("changes", "message"), [({"license": "GPL-3.0"}, "has the licence GPL-3.0"), ({"name": "d4"}, "d4 is not in")]
)
def test_what_a_person_has_to_look_at_changes_nothing(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    vendor = Path(shutil.copytree(VENDOR, tmp_path / "vendor"))
    before = {path.name: path.read_bytes() for path in vendor.iterdir()}
    with pytest.raises(UserError, match=message):
        fetch_library(str(_package(tmp_path / "package", **changes)), vendor)
    assert {path.name: path.read_bytes() for path in vendor.iterdir()} == before
