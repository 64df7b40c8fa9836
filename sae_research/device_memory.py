"""How much memory is free, and how much of it a step may take: on a GPU, or else of the machine or its container."""

from __future__ import annotations

from pathlib import Path

import torch

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")
_UNKNOWN = 16 * 2**30
"""Where the system does not say."""
_ON_GPU = 2**26
"""256 MiB in float32: what keeps a GPU busy. With 64 MiB an H100 waited for the host most of the time."""


def free_memory(device: torch.device) -> int:
    """Bytes that can still be allocated on `device`. They decide what is done at once, never what comes out."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return free + unused
    return _free_in_machine(_MEMINFO, _CGROUP)


def elements_at_once(device: torch.device, *, on_cpu: int) -> int:
    """How many numbers a step may hold on `device`: `on_cpu` are few, so that they stay near a processor's cache."""
    return on_cpu if device.type == "cpu" else max(on_cpu, _ON_GPU)


def _free_in_machine(meminfo: Path, cgroup: Path) -> int:
    """What the machine has available, or what the container's limit leaves if that is less."""
    limits = [limit for limit in (_available(meminfo), _left_in_container(cgroup)) if limit is not None]
    return min(limits, default=_UNKNOWN)


def _available(meminfo: Path) -> int | None:
    """The line `MemAvailable: 1234 kB` in bytes."""
    try:
        fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None


def _left_in_container(cgroup: Path) -> int | None:
    """What version 2 of control groups still allows; None without a limit. Page cache counts as used but gives way."""
    try:
        limit, used = (int((cgroup / name).read_text()) for name in ("memory.max", "memory.current"))
        statistics = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
        return max(0, limit - used + int(statistics["inactive_file"]))
    except (OSError, KeyError, ValueError):  # "max" is no number
        return None
