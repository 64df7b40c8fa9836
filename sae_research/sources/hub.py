"""Finds models, SAE files and data sets: in the embedded world, in a local folder, in an installed package, or on the
Hugging Face hub.

Nothing falls through from one place to another: the id alone says where a thing comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from types import MappingProxyType

from sae_research.errors import UserError
from sae_research.sources.described import DescribedSet
from sae_research.sources.folders import FOLDER_REVISION, check_revision, exists, names_in, revision_of
from sae_research.sources.hub_errors import Kind, noun
from sae_research.sources.huggingface import fetch, list_files
from sae_research.sources.memory import Given
from sae_research.sources.model_names import full_model_id, is_gguf, only_gguf, repository_and_file
from sae_research.sources.packages import PACKAGE_PREFIX, is_package, package_files
from sae_research.sources.tables import has_splits, is_table

WORLD_PREFIX = "embedded/"
CONVERTED = "refs/convert/parquet"
"""Branch where the hub keeps the parquet form of data sets that are published as a script or as other files."""

_MODEL_FILES = ("*.safetensors", "*.json", "*.model", "*.tiktoken", "*.jinja", "merges.txt", "vocab.txt")
_DESCRIPTIONS = "*.json"
"""Files of a data set beside its tables: names of its classes."""


@dataclass(frozen=True)
class Snapshot:
    """A file or folder on this machine, and the revision that determines its content."""

    path: Path
    revision: str


@dataclass(frozen=True)
class RemoteFiles:
    """The names of a repository's files at one revision; `fetch(name)` downloads one where needed."""

    names: tuple[str, ...]
    revision: str
    fetch: Callable[[str], Path]


@dataclass(frozen=True)
class Names:
    """The files of a repository, none of them fetched or read."""

    names: tuple[str, ...]
    revision: str | None
    """The commit on the hub; None elsewhere, where the revision is that of what is read."""


class Hub:
    """The one way to models, SAE files and data sets.

    `embedded/<x>` is `<world>/models/<x>` or `<world>/datasets/<x>`; `package:<distribution>/<path>` is a file or
    folder of an installed package; an existing folder is itself, and so is a file that is a data set or a model; all
    else is a repository of the Hugging Face hub, or a GGUF file in one (HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE are
    respected). A revision is the commit hash on the hub, the version and a digest for a package, and `sha256:` + the
    digest of names and bytes for a folder. Data sets that are `given` in memory come before all others of their name;
    `described` are labelled ones that `params.yaml` gives names to.
    """

    def __init__(
        self,
        world: Path,
        given: Mapping[str, Given] = MappingProxyType({}),
        described: Mapping[str, DescribedSet] = MappingProxyType({}),
    ) -> None:
        self.world = world
        self.given = given
        self.described = described

    def model(self, repo_id: str, *, revision: str | None = None) -> Snapshot:
        """The folder of a language model: config, tokenizer and safetensors; pickled weights are never fetched.

        Or the one file that is the model: a GGUF file.
        """
        if is_package(repo_id):
            return _from_package(repo_id, is_model_file, revision)
        local = self.local_gguf(repo_id)
        if local is not None:
            check_revision(repo_id, revision, present := revision_of(local))
            return Snapshot(local, present)
        repository, filename = repository_and_file(repo_id)
        root = self._root(repository, "model")
        if root is not None and not (root / "config.json").is_file():
            raise UserError(f"model {repo_id!r}: {root} has no config.json, so it is no model folder; correct the path")
        if root is not None:
            return _whole(self._files(repo_id, "model", is_model_file, revision), root)
        files = self._files(repository, "model", lambda name: is_model_file(name) or is_gguf(name), revision)
        filename = filename or only_gguf(repo_id, files.names)
        if filename is None:
            return _whole(replace(files, names=tuple(filter(is_model_file, files.names))), None)
        if filename not in files.names:
            raise UserError(_no_such_file(repository, filename, tuple(filter(is_gguf, files.names))))
        return Snapshot(files.fetch(filename), files.revision)

    def model_revision(self, repo_id: str, *, revision: str | None = None) -> str:
        """The revision that determines a language model's content; downloads nothing."""
        local = None if is_package(repo_id) else self.local_gguf(repo_id)
        if local is not None:
            check_revision(repo_id, revision, present := revision_of(local))
            return present
        if is_package(repo_id):
            package = package_files(repo_id, is_model_file)
            check_revision(repo_id, revision, present := package.revision(package.recorded))
            return present
        repository, _ = repository_and_file(repo_id)
        return self._files(repository, "model", lambda name: is_model_file(name) or is_gguf(name), revision).revision

    def dataset(self, repo_id: str, *, revision: str | None = None) -> Snapshot:
        """The folder of a data set, all of its tables in place."""
        if is_package(repo_id):
            return _from_package(repo_id, is_dataset_file, revision)
        return _whole(self.dataset_files(repo_id, is_dataset_file, revision=revision), self._root(repo_id, "dataset"))

    def dataset_revision(self, repo_id: str, *, revision: str | None = None) -> str:
        """The revision that determines a data set's content; downloads nothing."""
        if repo_id in self.given:
            return self.given[repo_id].revision
        return self.dataset_files(repo_id, is_dataset_file, revision=revision).revision

    def dataset_files(self, repo_id: str, keep: Callable[[str], bool], *, revision: str | None = None) -> RemoteFiles:
        """Those files of a data set that `keep` wants, none fetched yet.

        A repository of the hub without parquet files (a script, archives, ...) is read from the hub's parquet
        conversion of it, unless its tables are of splits by their names.
        """
        files = self._files(repo_id, "dataset", is_dataset_file, revision)
        tables = list(filter(is_table, files.names))
        is_remote = not is_package(repo_id) and self._root(repo_id, "dataset") is None
        has_parquet = any(name.endswith(".parquet") for name in tables)
        if is_remote and revision is None and not has_parquet and not has_splits(tables):
            files = self._converted(repo_id)
        elif not tables:
            raise UserError(
                f"data set {repo_id!r} has no parquet, JSON lines, CSV or text file; "
                f"it has: {', '.join(files.names[:8]) or 'nothing'}"
            )
        return RemoteFiles(tuple(name for name in files.names if keep(name)), files.revision, files.fetch)

    def dataset_file(self, repo_id: str, filename: str, *, revision: str | None = None) -> RemoteFiles:
        """The one file of a data set that is read as it is, not fetched yet."""
        files = self._files(repo_id, "dataset", _any_file, revision)
        if filename not in files.names:
            raise UserError(_no_such_file(repo_id, filename, files.names))
        return RemoteFiles((filename,), files.revision, files.fetch)

    def _converted(self, repo_id: str) -> RemoteFiles:
        try:
            return self._files(repo_id, "dataset", is_dataset_file, CONVERTED)
        except UserError as error:
            raise UserError(
                f"data set {repo_id!r} has no parquet file and no table named after a split (train.csv), "
                f"and its parquet conversion cannot be had: {error}"
            ) from error

    def names(self, repo_id: str, *, revision: str | None = None) -> Names:
        """The files of a model repository, or those in a folder or package, at any depth."""
        if is_package(repo_id):
            return Names(tuple(sorted(package_files(repo_id).recorded)), None)
        root = self._root(repo_id, "model")
        if root is not None:
            return Names(names_in(root), None)
        listing = list_files(full_model_id(repo_id), "model", revision or "main")
        return Names(tuple(sorted(listing.names)), listing.commit)

    def file(self, repo_id: str, filename: str, *, revision: str | None = None) -> Snapshot:
        """One file of a model repository, or the folder `filename` with all that is in it ('.': the root)."""
        inside = "" if filename in ("", ".") else filename.strip("/")
        if is_package(repo_id):
            # The folder's own record says whether it holds the file.
            return _from_package(f"{repo_id.rstrip('/')}/{inside}", _any_file, revision)
        root = self._root(repo_id, "model")
        if root is not None:
            if ".." in Path(inside).parts or not exists(root / inside):
                raise UserError(_no_such_file(repo_id, filename, names_in(root)))
            check_revision(repo_id, revision, present := revision_of(root / inside))
            return Snapshot(root / inside, present)
        files = self._files(repo_id, "model", lambda name: _is_within(name, inside), revision)
        if not files.names:
            every = self._files(repo_id, "model", _any_file, revision).names
            raise UserError(_no_such_file(repo_id, filename, every))
        return Snapshot(_fetch_all(files) / inside, files.revision)

    def fetch_present(self, repo_id: str, filenames: Collection[str], *, revision: str | None) -> None:
        """Fetches those of `filenames` that a model repository has at `revision`; a folder's are there already."""
        if self._root(repo_id, "model") is None:
            files = self._files(repo_id, "model", lambda name: name in filenames, revision)
            for name in files.names:
                files.fetch(name)

    def local_folder(self, repo_id: str) -> Path | None:
        """The folder outside the world that `repo_id` means; None where there is none."""
        path = self.local_path(repo_id)
        return path if path is not None and path.is_dir() else None

    def local_path(self, repo_id: str) -> Path | None:
        """The folder or file outside the world that `repo_id` means; None where there is none."""
        path = _expanded(repo_id)
        is_elsewhere = repo_id.startswith((WORLD_PREFIX, PACKAGE_PREFIX))
        return path.resolve() if not is_elsewhere and exists(path) else None

    def local_gguf(self, repo_id: str) -> Path | None:
        """The GGUF file on this machine that the model `repo_id` is, or that its folder holds; None for other names."""
        path = self.local_path(repo_id)
        if path is None or path.is_file():
            return path if path is not None and is_gguf(path.name) else None
        filename = only_gguf(repo_id, names_in(path, recursive=False))
        return None if filename is None else path / filename

    def _root(self, repo_id: str, kind: Kind) -> Path | None:
        """The local folder that `repo_id` means, or the file that is a data set; None for a repository on the hub."""
        if repo_id.startswith(WORLD_PREFIX):
            folder = self.world / f"{kind}s" / repo_id.removeprefix(WORLD_PREFIX)
            if ".." in folder.parts or not exists(folder):
                raise UserError(
                    f"{noun(kind)} {repo_id!r}: the embedded world has no folder {folder}; "
                    f"build it with the setup stage (`dvc repro setup`){_known(folder.parent)}"
                )
            return folder
        path = self.local_path(repo_id)
        if path is not None and (path.is_dir() or (kind == "dataset" and is_table(path.name))):
            return path
        if repo_id.startswith(("/", ".", "~")) or repo_id.count("/") > 1:
            raise UserError(
                f"{noun(kind)} {repo_id!r}: there is no such folder or file (looked in {Path.cwd()}); correct "
                "the path, or give a hub id such as 'EleutherAI/pythia-70m-deduped'"
            )
        return None

    def _files(self, repo_id: str, kind: Kind, keep: Callable[[str], bool], revision: str | None) -> RemoteFiles:
        counts = is_model_file if kind == "model" else is_dataset_file
        if is_package(repo_id):
            package = package_files(repo_id, counts)
            check_revision(repo_id, revision, present := package.revision(package.recorded))
            return RemoteFiles(tuple(sorted(filter(keep, package.recorded))), present, package.fetch)
        root = self._root(repo_id, kind)
        if root is not None:
            names = names_in(root, recursive=kind == "dataset") if root.is_dir() else (root.name,)
            root = root if root.is_dir() else root.parent
            check_revision(repo_id, revision, present := revision_of(root, filter(counts, names)))
            return RemoteFiles(tuple(filter(keep, names)), present, lambda name: root / name)
        remote_id = full_model_id(repo_id) if kind == "model" else repo_id
        listing = list_files(remote_id, kind, revision or "main")
        names = tuple(sorted(name for name in listing.names if keep(name)))
        return RemoteFiles(names, listing.commit, lambda name: fetch(remote_id, kind, name, listing.commit))


def is_of_folder(revision: str) -> bool:
    """Whether a revision is that of a local folder, which its content alone decides."""
    return revision.startswith(FOLDER_REVISION)


def is_model_file(name: str) -> bool:
    """Whether a repository's file belongs to a language model: top-level config, tokenizer, safetensors."""
    return "/" not in name and any(fnmatch(name, pattern) for pattern in _MODEL_FILES)


def is_dataset_file(name: str) -> bool:
    """Whether a repository's file belongs to a data set as we read it."""
    return is_table(name) or fnmatch(name, _DESCRIPTIONS)


def _any_file(_name: str) -> bool:
    return True


def _is_within(name: str, inside: str) -> bool:
    return inside == "" or name == inside or name.startswith(f"{inside}/")


def _expanded(name: str) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError:  # `~nobody`
        return Path(name)


def _from_package(repo_id: str, keep: Callable[[str], bool], revision: str | None) -> Snapshot:
    """The file or the folder in place, each of its files as it was published."""
    package = package_files(repo_id, keep)
    check_revision(repo_id, revision, present := package.revision(package.recorded))
    paths = [package.fetch(name) for name in package.recorded]
    return Snapshot(paths[0] if package.is_one_file else package.root, present)


def _whole(files: RemoteFiles, root: Path | None) -> Snapshot:
    """All of `files` in place, as one folder."""
    if root is not None:
        return Snapshot(root, files.revision)
    if not files.names:
        raise UserError(f"the repository at revision {files.revision} has none of the files needed")
    return Snapshot(_fetch_all(files), files.revision)


def _fetch_all(files: RemoteFiles) -> Path:
    """The root of the repository's snapshot, with all of `files` in it."""
    paths = [files.fetch(name) for name in files.names]
    return paths[0].parents[len(Path(files.names[0]).parts) - 1]


def _known(parent: Path) -> str:
    present = sorted(folder.name for folder in parent.iterdir() if folder.is_dir()) if parent.is_dir() else []
    return f"; it has: {', '.join(WORLD_PREFIX + name for name in present)}" if present else ""


def _no_such_file(repo_id: str, filename: str, present: tuple[str, ...]) -> str:
    last = Path(filename).name
    near = [name for name in present if last in name] or list(present)
    shown = ", ".join(near[:8]) + (f", ... ({len(near)} in all)" if len(near) > 8 else "")
    missing = f"repository {repo_id!r} has no file or folder {filename!r}"
    return f"{missing}; correct 'filename'; it has: {shown or 'nothing'}"
