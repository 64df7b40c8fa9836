from __future__ import annotations

import errno
import os
import platform
import shutil
from pathlib import Path
from typing import Any

import pytest

from sae_research.digests import digest_folder, digest_of
from sae_research.errors import UserError
from sae_research.files import (
    disk_message,
    folder_in_the_making,
    remove_leftovers,
    remove_stale,
    replace_folder,
    write_atomically,
)


def test_a_failed_write_leaves_the_old_content_and_no_leftovers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "result.json"
    write_atomically(path, "old")

    def disk_full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(UserError, match=r"disk full while writing .*result\.json"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]


def test_a_limit_on_the_size_of_files_is_told(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    write_atomically(tmp_path / "result.json", "old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(UserError, match=r"result\.json is larger than a file may be here: raise the limit"):
            write_atomically(tmp_path / "result.json", "x" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]


def test_a_replaced_file_is_another_file_so_that_links_to_the_old_one_keep_their_bytes(tmp_path: Path) -> None:
    path, cached = tmp_path / "out.json", tmp_path / "cache"
    write_atomically(path, "old")
    os.link(path, cached)
    write_atomically(path, "new", scratch=tmp_path / "scratch")
    assert (path.read_text(), cached.read_text()) == ("new", "old")


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "made"

    def fail_halfway() -> None:
        with folder_in_the_making(target, scratch=tmp_path / "scratch") as draft:
            (draft / "half").write_text("x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert not target.exists()
    assert list((tmp_path / "scratch").iterdir()) == []
    for content in ("first", "second"):
        with folder_in_the_making(target, scratch=tmp_path / "scratch") as draft:
            (draft / content).write_text("x")
    assert [p.name for p in target.iterdir()] == ["second"]


def test_a_folder_that_is_replaced_is_never_seen_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, source = tmp_path / "target", tmp_path / "scratch" / "source"
    for folder, content in ((target, "old"), (source, "new")):
        folder.mkdir(parents=True)
        (folder / "file").write_text(content)
    seen: list[str] = []
    real = shutil.rmtree

    def watch(path: Path, **options: Any) -> None:
        seen.append((target / "file").read_text())
        real(path, **options)

    monkeypatch.setattr(shutil, "rmtree", watch)
    replace_folder(source, target)
    assert seen == ["new"]
    assert list((tmp_path / "scratch").iterdir()) == []


def test_what_killed_runs_left_goes_and_what_others_are_making_stays(tmp_path: Path) -> None:
    dead, here = 2**22 + 1, f".tmp-{platform.node()}"
    gone = [tmp_path / "worlds" / f"{here}-{dead}-a", tmp_path / "cells" / "ab" / f"{here}-{dead}-b"]
    stay = [tmp_path / ".tmp-elsewhere-1-a", tmp_path / f"{here}-{os.getpid()}-a", tmp_path / "cells" / "key.json"]
    young = tmp_path / f"{here}-{dead}-c"
    for path in (*gone, *stay, young):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if path.name.endswith("a") else path.touch()
        if path != young:
            os.utime(path, (0, 0))
    remove_leftovers(tmp_path)
    assert not any(path.exists() for path in gone)
    assert all(path.exists() for path in (*stay, young))
    remove_leftovers(tmp_path / "nowhere")


def test_what_the_disk_did_is_told_whatever_library_says_it() -> None:
    place = Path("/data/world")
    full = [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("I/O error: No space left on device (os error 28)"),
        shutil.Error([("a", "b", "[Errno 28] No space left on device: 'b'")]),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"),
    ]
    assert {disk_message(error, place) for error in full} == {
        "disk full while writing /data/world: free some space on that file system and run again; "
        "what was finished before is kept"
    }
    assert "check the owner and mode of /data" in str(disk_message(OSError(errno.EACCES, "x"), place))
    assert "different file systems" in str(disk_message(OSError(errno.EXDEV, "x"), place))
    assert "ulimit -f" in str(disk_message(ValueError("I/O error: File too large (os error 27)"), place))
    assert "mount point" in str(disk_message(OSError(errno.EBUSY, "x"), place))
    assert disk_message(ValueError("x"), place) is None
    assert disk_message(UserError("no such file [Errno 28]"), place) is None


def test_only_what_was_written_and_is_no_longer_wanted_goes(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    folder = tmp_path / "folder"
    for path in (elsewhere, folder / "mine", folder / "old", folder / "wanted"):
        path.mkdir(parents=True)
        (path / "file").touch()
    (folder / "stray.txt").touch()
    (folder / "link").symlink_to(elsewhere)
    remove_stale(folder, written={"wanted", "stray.txt", "link", "old", "gone"}, wanted={"wanted", "absent"})
    assert sorted(path.name for path in folder.iterdir()) == ["mine", "wanted"]
    assert (elsewhere / "file").exists()


def test_digests_ignore_key_order_and_see_names_and_bytes(tmp_path: Path) -> None:
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1}) != digest_of({"a": 1, "b": 3})
    (tmp_path / "a").write_text("x")
    first = digest_folder(tmp_path)
    (tmp_path / ".hidden").write_text("y")
    assert digest_folder(tmp_path) == first
    (tmp_path / "a").rename(tmp_path / "b")
    assert digest_folder(tmp_path) != first
