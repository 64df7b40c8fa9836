"""A Ray cluster of several raylets on loopback addresses, each a node of its own, ended process by process."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from support.project import environment

TOKEN = "0123456789abcdef0123456789abcdef"
_GONE_WITHIN = 30.0
_QUICK = {
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "500",
    "RAY_health_check_failure_threshold": "3",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "10",
    "RAY_worker_niceness": "0",
}
"""A dead node is noticed after a second and a half, not after a quarter of a minute, a dead head after ten seconds, not
after a minute; and workers do not give way to all
else that runs on the machine, which Ray has them do."""


@dataclass
class RayCluster:
    """Its address, and what a client needs in its environment."""

    port: int
    nodes: int
    folder: Path
    env: Mapping[str, str]
    _seen: set[int] = field(default_factory=set)

    @property
    def address(self) -> str:
        return f"127.0.0.2:{self.port}"

    def add_node(self, number: int, *, cpus: int = 1) -> None:
        """A raylet on 127.0.0.<number>; that of number 2 is the head."""
        head = ["--head", f"--port={self.port}", "--include-dashboard=false"]
        where = head if number == 2 else [f"--address={self.address}"]
        command = [str(Path(sys.executable).parent / "ray"), "start", *where, f"--node-ip-address=127.0.0.{number}"]
        command += [f"--num-cpus={cpus}", "--num-gpus=0", "--object-store-memory=80000000", "--disable-usage-stats"]
        done = subprocess.run(
            command, env=self.env, cwd=self.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        self.processes()

    def mend(self) -> None:
        """Starts what drills have killed again: single raylets, or everything where the head is dead."""
        if not self.processes("ray/gcs/gcs_server") or not self._raylets(2):
            assert self.end() == []
        for number in range(2, 2 + self.nodes):
            if not self._raylets(number):
                self.add_node(number)

    def kill_head(self) -> None:
        """The whole node that others are joined to, but for its workers."""
        of_head = [*self.processes("ray/gcs/gcs_server"), self.raylet(2)]
        for process in of_head:
            os.kill(process, signal.SIGKILL)

    def processes(self, *words: str) -> dict[int, str]:
        """The command lines, by process id, of what runs for this cluster and says all of `words`."""
        found: dict[int, str] = {}
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit():
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    variables = (entry / "environ").read_bytes()
                    is_ours = f"RAY_TMPDIR={self.folder}\0".encode() in variables
                    if is_ours and all(word in command for word in words) and int(entry.name) != os.getpid():
                        found[int(entry.name)] = command
        self._seen |= found.keys()
        return found

    def workers(self) -> list[int]:
        """The processes of our workers, idle ones aside."""
        return sorted(self.processes("ray::RayWorker"))

    def raylet(self, number: int) -> int:
        """The process of that node."""
        [process] = self._raylets(number)
        return process

    def _raylets(self, number: int) -> list[int]:
        return list(self.processes("raylet/raylet ", f"--node_ip_address=127.0.0.{number} "))

    def end(self) -> list[str]:
        """Ends all processes with -9; returns what is left of them, and ports on which the cluster still listens."""
        deadline = time.monotonic() + _GONE_WITHIN
        while (left := self.processes()) and time.monotonic() < deadline:
            for process in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.05)
        listening = [f"port {self.port}"] if _listens(self.port) else []
        return [*left.values(), *listening]


@contextmanager
def running_cluster(*, nodes: int = 2) -> Iterator[RayCluster]:
    """`nodes` raylets of one CPU, tokens on, until the block ends; asserts that nothing of them is left."""
    # Paths of sockets must stay below 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
    variables = {
        "RAY_TMPDIR": str(folder), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN, "RAY_USAGE_STATS_ENABLED": "0",
        **_QUICK,
    }  # fmt: skip
    cluster = RayCluster(_free_port(), nodes, folder, environment() | variables)
    try:
        cluster.mend()
        yield cluster
    finally:
        left = cluster.end()
        shutil.rmtree(folder, ignore_errors=True)
    assert left == []
    assert not folder.exists()


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.2", 0))
        return server.getsockname()[1]


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.2", port)) == 0
