"""The compiled pursuit kernel: built from `pursuit.cpp` at first use, kept in the user's cache folder.

Where there is no compiler, or it fails, one line in the log says so and the plain PyTorch paths do the work.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

log = logging.getLogger(__name__)

_SOURCE = Path(__file__).with_name("pursuit.cpp")
# The kernel's part in the version of the code that results are keyed by, which reads Python files only.
SOURCE_DIGEST = "ecca59d52f183493d93fea3fd0eb241286a7b0f2727ac0f6ae6f1c6c405590ea"
_FLAGS = (
    *("-std=c++17", "-O3", "-march=native", "-shared", "-fPIC", "-pthread", "-fopenmp-simd"),
    # Without these the compiler may not vectorise a maximum. NaN still comes out as NaN codes.
    *("-ffinite-math-only", "-fno-signed-zeros", "-fno-math-errno"),
)
_SECONDS_TO_COMPILE = 120


def serves(tensor: Tensor) -> bool:
    """Whether the kernel can work on `tensor`: float32 on the CPU, no gradient wanted, kernel at hand."""
    fits = tensor.device.type == "cpu" and tensor.dtype == torch.float32 and not tensor.requires_grad
    return fits and library() is not None


def matching_pursuit(
    correlations: Float[Tensor, "token d_sae"],
    gram: Float[Tensor, "d_sae d_sae"],
    codes: Float[Tensor, "token d_sae"],
    *,
    steps: int,
    nonneg: bool,
) -> None:
    """Adds to `codes` what `steps` of matching pursuit take; uses up `correlations`. All contiguous, see `serves`."""
    kernel = library()
    assert kernel is not None and correlations.is_contiguous() and gram.is_contiguous() and codes.is_contiguous()
    tokens, atoms = correlations.shape
    kernel.matching_pursuit(
        *(tensor.data_ptr() for tensor in (gram, correlations, codes)),
        *(tokens, atoms, steps, int(nonneg), torch.get_num_threads()),
    )


def mark_strongest(
    correlations: Float[Tensor, "seq token d_sae"], *, k: int, nonneg: bool
) -> Bool[Tensor, "seq d_sae"]:
    """The union over the tokens of each sequence of the `k` largest magnitudes above 0, as `top_k_mask` has them."""
    kernel, chosen = library(), torch.zeros(correlations.shape[::2], dtype=torch.bool)
    assert kernel is not None and correlations.is_contiguous()
    kernel.strongest(
        *(correlations.data_ptr(), chosen.data_ptr()),
        *(*correlations.shape, k, int(nonneg), torch.get_num_threads()),
    )
    return chosen


@cache
def library() -> ctypes.CDLL | None:
    """The loaded kernel, compiled if this machine's version of it is not in the cache yet; None where that fails."""
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++"))), None)
    if compiler is None:
        log.info("no C++ compiler found: pursuit runs in plain PyTorch, which is several times slower")
        return None
    try:
        kernel = ctypes.CDLL(str(_compiled(compiler)))
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "stderr", None) or str(error)
        log.warning("the pursuit kernel could not be built, plain PyTorch takes its place: %s", reason.strip()[:300])
        return None
    pointer, integer = ctypes.c_void_p, ctypes.c_int64
    kernel.matching_pursuit.argtypes = [*[pointer] * 3, *[integer] * 3, *[ctypes.c_int32] * 2]
    kernel.strongest.argtypes = [*[pointer] * 2, *[integer] * 4, *[ctypes.c_int32] * 2]
    kernel.matching_pursuit.restype = kernel.strongest.restype = None
    return kernel


def _compiled(compiler: str) -> Path:
    """The kernel as a shared library, under a name that tells source, flags, compiler and processor."""
    target = _run([compiler, "-march=native", "-dM", "-E", "-x", "c++", os.devnull])  # its version and its processor
    parts = (_SOURCE.read_text(encoding="utf-8"), " ".join(_FLAGS), target)
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
    folder = _cache_folder()
    path = folder / f"pursuit-{key}.so"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=folder) as workshop:
            draft = Path(workshop) / path.name
            _run([compiler, *_FLAGS, str(_SOURCE), "-o", str(draft)])
            draft.replace(path)
    return path


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sae_research"


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_SECONDS_TO_COMPILE)
    return done.stdout
