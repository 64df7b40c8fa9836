"""Checkpoint files that are damaged, repacked, hostile or something else: read rightly, or refused in one message."""

from __future__ import annotations

import collections
import os
import pickle
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sae_research.errors import UserError
from sae_research.formats.registry import read_sae
from sae_research.saes.base import Sae

MakeCheckpoint = Callable[..., Path]
Repack = Callable[[zipfile.ZipInfo, bytes], bytes]


def _read(path: Path) -> Sae:
    return read_sae(path, name="mine", source={})


def _refusal(path: Path) -> str:
    with pytest.raises(UserError) as raised:
        _read(path)
    message = str(raised.value)
    assert str(path) in message and "'mine'" in message
    assert "weights_only" not in message and "\n" not in message
    return message


def _repacked(path: Path, *, compression: int = zipfile.ZIP_STORED, change: Repack = lambda _, data: data) -> None:
    """Zips the file's records anew, each as `change` has it, with the checksums of what is then written."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(path.with_suffix(".new"), "w", compression) as new:
        for record in old.infolist():
            new.writestr(record.filename, change(record, old.read(record)))
    path.with_suffix(".new").replace(path)


def _equal(a: Sae, b: Sae) -> bool:
    return all(torch.equal(value, b.state_dict()[name]) for name, value in a.state_dict().items())


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_a_checkpoint_that_was_zipped_again_loads_if_torch_can_read_it(
    checkpoint: MakeCheckpoint, compression: int
) -> None:
    path = checkpoint("AutoEncoder")
    plain = _read(path)
    _repacked(path, compression=compression)
    if compression == zipfile.ZIP_LZMA:
        assert "truncated or not a PyTorch checkpoint" in _refusal(path)
    else:
        assert _equal(_read(path), plain)


def test_a_checkpoint_saved_without_checksums_loads(checkpoint: MakeCheckpoint) -> None:
    plain = _read(checkpoint("AutoEncoder"))
    torch.serialization.set_crc32_options(False)
    try:
        path = checkpoint("AutoEncoder")
    finally:
        torch.serialization.set_crc32_options(True)
    assert _equal(_read(path), plain)


def test_the_format_before_the_zip_loads(checkpoint: MakeCheckpoint) -> None:
    path = checkpoint("AutoEncoder")
    plain = _read(path)
    state = torch.load(path, weights_only=True)
    torch.save(state, path, _use_new_zipfile_serialization=False)
    assert _equal(_read(path), plain)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_record_shorter_than_its_tensor_is_refused(checkpoint: MakeCheckpoint, share: float) -> None:
    path = checkpoint("AutoEncoder")
    _repacked(path, change=lambda r, data: data[: int(share * len(data))] if r.filename.endswith("data/0") else data)
    assert "truncated or not a PyTorch checkpoint" in _refusal(path)


def test_a_flipped_bit_is_told_by_the_files_own_checksum(checkpoint: MakeCheckpoint) -> None:
    path = checkpoint("AutoEncoder")
    state = torch.load(path, weights_only=True)
    data = bytearray(path.read_bytes())
    data[data.find(state["encoder.weight"].numpy().tobytes()) + 3] ^= 1
    path.write_bytes(data)
    assert "data/0 has another checksum" in _refusal(path)


def test_no_damage_gives_other_numbers(checkpoint: MakeCheckpoint) -> None:
    path = checkpoint("AutoEncoder")
    whole, plain = path.read_bytes(), _read(path)
    generator = torch.Generator().manual_seed(0)
    places = torch.randint(len(whole), (120,), generator=generator).tolist()
    for place in places:
        spoilt = bytearray(whole)
        spoilt[place] ^= 1 << place % 8
        for damaged in (bytes(spoilt), whole[:place], whole[place:]):
            path.write_bytes(damaged)
            sae = _read_or_none(path)
            assert sae is None or _equal(sae, plain)


def _read_or_none(path: Path) -> Sae | None:
    try:
        return _read(path)
    except UserError:
        return None


def _expanded(shape: tuple[int, ...]) -> Tensor:
    return torch.zeros(1).expand(shape)


STRANGE: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "expanded": (lambda _: _expanded((1_000_000, 100_000)), "encoder.weight .*holds 4 bytes"),
    "meta": (lambda x: x.to("meta"), "encoder.weight is a meta tensor"),
    "sparse": (lambda x: x.to_sparse(), "encoder.weight is a sparse_coo tensor"),
    "compressed": (lambda x: x.to_sparse_csr(), "encoder.weight is a sparse_csr tensor"),
    "quantised": (lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8), "encoder.weight is a quantised tensor"),
}


@pytest.mark.parametrize("kind", STRANGE)
@pytest.mark.filterwarnings("ignore")
def test_tensors_that_are_not_plain_and_dense_are_refused(checkpoint: MakeCheckpoint, kind: str) -> None:
    change, message = STRANGE[kind]
    state = torch.load(checkpoint("AutoEncoder"), weights_only=True)
    content = {**state, "encoder.weight": change(state["encoder.weight"])}
    for held in (content, {"ae": content, "norm_factor": 1.0}):
        assert re.search(message, _refusal(checkpoint("AutoEncoder", state=held)))


class Runs:
    """Unpickled by a reader that runs what a pickle says, it creates a file."""

    def __init__(self, canary: Path) -> None:
        self._canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self._canary}",)


IMPOSTORS: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "git-LFS pointer": (
        lambda _: b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 9\n",
        "is a git-LFS pointer .*git lfs pull",
    ),
    "web page": (lambda _: b"\n<!DOCTYPE html><html><title>404</title>", "is a web page"),
    "other web page": (lambda _: b"<html>", "is a web page"),
    "bare pickle": (lambda _: pickle.dumps({"encoder.weight": [1.0]}), "not a PyTorch checkpoint"),
    "pickled code": (lambda canary: pickle.dumps(Runs(canary)), "holds pickled code .*system.* was not run"),
    "old pickled code": (lambda canary: pickle.dumps(Runs(canary), 0), "holds pickled code .*system.* was not run"),
    "deep pickled code": (
        lambda canary: pickle.dumps(collections.OrderedDict(a=[Runs(canary)]), 4),
        "holds pickled code .*system.* was not run",
    ),
    "text": (lambda _: b"hello\n" * 100, "not a PyTorch checkpoint"),
    "passwords": (lambda _: b"root:x:0:0:root:/root:/bin/bash\n", "not a PyTorch checkpoint"),
    "nothing": (lambda _: b"", "not a PyTorch checkpoint"),
    "zeros": (bytes, "not a PyTorch checkpoint"),
}


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "canary"
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("kind", IMPOSTORS)
def test_what_is_no_checkpoint_is_called_by_its_name(checkpoint: MakeCheckpoint, canary: Path, kind: str) -> None:
    content, message = IMPOSTORS[kind]
    path = checkpoint("AutoEncoder")
    path.write_bytes(content(canary) if kind != "zeros" else bytes(1000))
    assert re.search(message, _refusal(path))


@pytest.mark.parametrize("kind", ["git-LFS pointer", "web page"])
def test_safetensors_that_are_none_are_called_by_their_name_too(tmp_path: Path, kind: str) -> None:
    content, message = IMPOSTORS[kind]
    (tmp_path / "cfg.json").write_text('{"architecture": "standard", "d_in": 4, "d_sae": 8}')
    (tmp_path / "sae_weights.safetensors").write_bytes(content(tmp_path))
    with pytest.raises(UserError, match=rf"'mine'.*sae_weights\.safetensors {message}"):
        _read(tmp_path)


def test_pickled_code_in_a_zip_is_not_run(checkpoint: MakeCheckpoint, canary: Path) -> None:
    path = checkpoint("AutoEncoder", state={"encoder.weight": Runs(canary)})
    assert "holds pickled code" in _refusal(path) and "was not run" in _refusal(path)


def test_torchscript_and_modules_are_refused(checkpoint: MakeCheckpoint) -> None:
    path = checkpoint("AutoEncoder", state=torch.nn.Linear(2, 2))
    assert "pickled code (torch.nn.modules.linear.Linear" in _refusal(path)


def test_a_checkpoint_from_a_pipe_or_a_device_is_refused(checkpoint: MakeCheckpoint) -> None:
    path = checkpoint("AutoEncoder")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UserError, match="known format"):
        _read(path)
