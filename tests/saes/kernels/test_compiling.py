"""Compiled libraries: what lies in the cache folder is run only if it is what was put there, by this user."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from sae_research.saes.kernels import compiling

pytestmark = [
    pytest.mark.skipif(compiling.find_compiler() is None, reason="no C++ compiler"),
    pytest.mark.skipif(sys.platform == "win32", reason="owners and modes are those of POSIX"),
]

SOURCE = 'extern "C" int answer() { return 42; }\n'
SCRIPT = """
import logging, sys
from pathlib import Path
from sae_research.saes.kernels.compiling import load_source
logging.basicConfig(level=logging.INFO, format="%(message)s")
library = load_source(Path(sys.argv[1]), symbols=("answer",))
print(library and library.answer())
"""


class Home:
    """A user's machine with nothing on it but a source to be compiled."""

    def __init__(self, root: Path) -> None:
        self.source = root / "tiny.cpp"
        self.source.write_text(SOURCE)
        self.folder = root / "cache" / "sae_research"
        self.spare = root / "tmp" / f"sae_research-{os.getuid()}"
        self._environment = {**os.environ, "XDG_CACHE_HOME": str(root / "cache"), "TMPDIR": str(root / "tmp")}
        self.log = ""
        (root / "tmp").mkdir(mode=0o1777)

    def answer(self, **environment: str) -> str:
        """What a fresh process gets from the library; never the end of that process."""
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(self.source)], env=self._environment | environment,
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, (done.returncode, done.stderr)
        self.log = done.stderr
        return done.stdout.strip()

    def built(self, folder: Path | None = None) -> Path:
        [path] = (folder or self.folder).iterdir()
        return path


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_a_library_is_compiled_once_on_disk_before_it_is_in_place(home: Home, tmp_path: Path) -> None:
    assert home.answer() == "42"
    built = home.built()
    assert built.stem.endswith(sha256(built.read_bytes()).hexdigest()[:24])
    stamp = built.stat().st_mtime_ns
    assert home.answer() == "42" and home.log == ""
    assert home.built().stat().st_mtime_ns == stamp


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda data: data[:4096],
    "one byte short": lambda data: data[:-1],
    "empty": lambda _: b"",
    "text": lambda _: b"#!/bin/sh\n" * 500,
    "zeros": lambda data: bytes(len(data)),
    "code": lambda data: bytes(byte ^ (0x55 if 0x1000 <= place < 0x1200 else 0) for place, byte in enumerate(data)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_library_is_compiled_again(home: Home, damage: str) -> None:
    assert home.answer() == "42"
    whole = home.built().read_bytes()
    home.built().write_bytes(DAMAGES[damage](whole))
    assert home.answer() == "42"
    assert "damaged" in home.log and str(home.folder) in home.log
    assert home.built().stem.endswith(sha256(home.built().read_bytes()).hexdigest()[:24])
    assert home.answer() == "42" and home.log == ""


def test_a_library_without_what_is_looked_for_is_done_without(home: Home) -> None:
    home.source.write_text('extern "C" int question() { return 6 * 9; }\n')
    assert home.answer() == "None"
    assert home.log.count("\n") == 1
    assert "tiny.cpp" in home.log and "lacks answer" in home.log and "plain PyTorch" in home.log


def _planted(home: Home) -> Path:
    """A library of someone else's under the name of ours, its digest put right: loaded, it would leave a trace."""
    assert home.answer() == "42"
    ours, trace = home.built(), home.source.with_name("trace")
    evil = home.source.with_name("evil.cpp")
    evil.write_text(
        "#include <cstdio>\n"
        f'__attribute__((constructor)) static void run() {{ std::fclose(std::fopen("{trace}", "w")); }}\n'
        'extern "C" int answer() { return 13; }\n'
    )
    built = home.source.with_name("evil.so")
    subprocess.run([compiling.find_compiler() or "", "-shared", "-fPIC", str(evil), "-o", str(built)], check=True)
    digest = sha256(built.read_bytes()).hexdigest()[:24]
    built.replace(ours.with_name(f"{ours.stem.rpartition('-')[0]}-{digest}.so"))
    ours.unlink()
    assert home.answer() == "13"
    trace.unlink()
    return trace


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o720])
def test_nothing_is_run_from_a_folder_that_others_can_write_to(home: Home, mode: int) -> None:
    trace = _planted(home)
    home.folder.chmod(mode)
    assert home.answer() == "42"
    assert not trace.exists()
    assert str(home.folder) in home.log and "chmod 700" in home.log and str(home.spare) in home.log
    assert home.built(home.spare).stat().st_uid == os.getuid()
    assert home.spare.stat().st_mode & 0o777 == 0o700
    assert home.answer() == "42" and "damaged" not in home.log


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_nothing_is_run_from_a_folder_that_belongs_to_another(home: Home) -> None:
    trace = _planted(home)
    os.chown(home.folder, 12345, -1)
    assert home.answer() == "42"
    assert not trace.exists() and str(home.spare) in home.log


def test_a_link_in_the_place_of_the_spare_folder_is_not_followed_to_where_others_write(home: Home) -> None:
    trace = _planted(home)
    home.folder.chmod(0o777)
    home.spare.symlink_to(home.folder)
    assert home.answer() == "None"
    assert not trace.exists() and "plain PyTorch" in home.log and "XDG_CACHE_HOME" in home.log


def test_a_cache_folder_that_cannot_be_made_is_replaced(home: Home) -> None:
    home.folder.parent.write_text("a file")
    assert home.answer() == "42"
    assert home.built(home.spare).suffix == ".so"


def test_a_full_cache_of_another_form_is_left_alone(home: Home) -> None:
    home.folder.mkdir(parents=True, mode=0o700)
    old = home.folder / "tiny-0123456789abcdef01234567.so"
    old.write_bytes(b"of an earlier version")
    assert home.answer() == "42"
    assert old.read_bytes() == b"of an earlier version"
