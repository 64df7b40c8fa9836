from __future__ import annotations

import os
from pathlib import Path

import pytest

from sae_research.digests import digest_folder, digest_of
from sae_research.errors import UserError
from sae_research.files import folder_in_the_making, write_atomically


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


def test_digests_ignore_key_order_and_see_names_and_bytes(tmp_path: Path) -> None:
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1}) != digest_of({"a": 1, "b": 3})
    (tmp_path / "a").write_text("x")
    first = digest_folder(tmp_path)
    (tmp_path / ".hidden").write_text("y")
    assert digest_folder(tmp_path) == first
    (tmp_path / "a").rename(tmp_path / "b")
    assert digest_folder(tmp_path) != first
