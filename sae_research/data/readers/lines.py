"""The lines of a text file, compressed or not, of which memory holds one."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa

from sae_research.errors import UserError

LONGEST = 64 * 2**20
"""Bytes of a line, a cell or a document; longer ones are no texts but damage, or many texts in one."""
_CODECS = {".gz": "gzip", ".zst": "zstd"}


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines with their ends, numbered from 1; UserError where one is no UTF-8, holds NUL or is too long."""
    with _open(path) as file:
        for number, line in enumerate(_raw_lines(file, path), start=1):
            yield number, _decoded(line, f"{path}, line {number}", is_first=number == 1)


def whole_text(path: Path) -> str:
    """All of the file; UserError as for lines."""
    with _open(path) as file:
        content = _read(file, path, LONGEST + 1)
    if len(content) > LONGEST:
        raise UserError(f"{path} holds more than {LONGEST // 2**20} MiB; give JSON lines, one text a line")
    return _decoded(content, str(path), is_first=True)


def _open(path: Path) -> BinaryIO:
    codec = _CODECS.get(path.suffix)
    try:
        file = path.open("rb")
        if codec is None:
            return file
        return cast(BinaryIO, io.BufferedReader(pa.CompressedInputStream(file, codec)))  # type: ignore[arg-type]
    except OSError as error:
        raise _unreadable(path, error) from error


def _raw_lines(file: BinaryIO, path: Path) -> Iterator[bytes]:
    number = 0
    while line := _read(file, path, LONGEST + 1, line=True):
        number += 1
        if len(line) > LONGEST:
            raise UserError(f"{path}, line {number} is longer than {LONGEST // 2**20} MiB; one text a line is expected")
        yield line


def _read(file: BinaryIO, path: Path, size: int, *, line: bool = False) -> bytes:
    try:
        return file.readline(size) if line else file.read(size)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error


def _decoded(content: bytes, where: str, *, is_first: bool) -> str:
    if b"\0" in content:
        raise UserError(f"{where} holds NUL bytes: it is no text, or UTF-16; save it as UTF-8")
    try:
        return content.decode("utf-8-sig" if is_first else "utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{where} is not UTF-8 ({error.reason} at byte {error.start + 1}); save it as UTF-8") from error


def _unreadable(path: Path, error: Exception) -> UserError:
    return UserError(f"{path}: cannot be read to its end ({error}); copy or fetch it again")
