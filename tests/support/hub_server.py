"""A small Hugging Face hub on the loopback: what huggingface_hub asks for when it lists and downloads."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
"""The commit of every branch unless a `Repo` says otherwise."""


@dataclass
class Repo:
    """A repository by branch: file name -> content."""

    branches: Mapping[str, Mapping[str, bytes]]
    kind: str = "models"
    gated: bool = False
    failing: int | None = None
    """Status to answer to everything."""
    token: str | None = None
    """Token without which a gated repository is refused."""


@dataclass
class Fault:
    """What the hub answers, in place of the right answer, to the first `times` requests for what has `part` in it."""

    part: str
    method: str = "GET"
    times: int = 1_000
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    """Headers that are left out."""
    body: bytes | None = None
    reset_after: int | None = None
    """Bytes of the body after which the connection is reset."""


@dataclass
class FakeHub:
    """The running server's state; `requests` are (method, path) as they came."""

    repos: dict[str, Repo] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    resumed: list[tuple[str, int]] = field(default_factory=list)
    """Path and first byte of the requests for the rest of a file."""
    endpoint: str = ""

    def commit_of(self, branch: str) -> str:
        return hashlib.sha1(branch.encode()).hexdigest() if branch != "main" else COMMIT

    def downloads(self) -> list[str]:
        return [path for method, path in self.requests if method == "GET" and "/resolve/" in path]


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test output clean."""

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path).strip("/")
        self.hub.requests.append((self.command, path))
        reply = self._rest_of(_reply(self.hub, path, self.headers.get("authorization")), path)
        fault = next((f for f in self.hub.faults if f.times and f.part in path and f.method == self.command), None)
        if fault is not None:
            fault.times -= 1
            self.close_connection = True
            body = reply.body if fault.body is None else fault.body
            # Unless it is told, a client that does not wait asks again on the connection that is just being closed.
            headers = {**reply.headers, "Connection": "close", **fault.headers}
            reply = _Reply(fault.status or reply.status, headers, body)
            reply = reply._replace(headers={k: v for k, v in reply.headers.items() if k not in fault.without})
        self.send_response(reply.status)
        for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if fault is not None and fault.reset_after is not None:
            self.wfile.write(reply.body[: fault.reset_after])
            self._reset()
        elif self.command == "GET":
            self.wfile.write(reply.body)

    def _rest_of(self, reply: _Reply, path: str) -> _Reply:
        """`reply` from the byte on that the client asks for, as the hub's storage resumes a transfer."""
        wanted = re.fullmatch(r"bytes=([1-9][0-9]*)-", self.headers.get("range", ""))
        if wanted is None or reply.status != 200:
            return reply
        first, size = int(wanted[1]), len(reply.body)
        self.hub.resumed.append((path, first))
        headers = {**reply.headers, "Content-Range": f"bytes {first}-{size - 1}/{size}"}
        return _Reply(206, headers, reply.body[first:])

    def _reset(self) -> None:
        """Ends the connection as a crash does: what was sent may still arrive, then a reset."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.shutdown(socket.SHUT_RD)
        self.connection.close()


class _Reply(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes = b""


def _reply(hub: FakeHub, path: str, authorization: str | None) -> _Reply:
    """`[api/][datasets/]<owner>/<name>/<verb>/<revision>[/<file>]` as the hub answers it."""
    api = path.startswith("api/")
    path = path.removeprefix("api/")
    kind = "datasets" if path.startswith("datasets/") else "models"
    path = path.removeprefix(f"{kind}/")
    for name, repo in hub.repos.items():
        if repo.kind == kind and path.startswith(f"{name}/"):
            if repo.failing is not None:
                return _Reply(repo.failing, {})
            if repo.gated and authorization != f"Bearer {repo.token}":
                return _Reply(403, {"X-Error-Code": "GatedRepo"})
            return _repository_reply(hub, repo, path.removeprefix(f"{name}/"), api=api)
    return _Reply(401, {"X-Error-Code": "RepoNotFound"})


def _repository_reply(hub: FakeHub, repo: Repo, path: str, *, api: bool) -> _Reply:
    verb, _, rest = path.partition("/")
    for branch, files in repo.branches.items():
        commit = hub.commit_of(branch)
        for revision in (branch, commit):
            if rest == revision and api and verb == "revision":
                body = {"id": "x/y", "sha": commit, "siblings": [{"rfilename": name} for name in files]}
                return _Reply(200, {"Content-Type": "application/json"}, json.dumps(body).encode())
            if rest.startswith(f"{revision}/") and verb == "resolve":
                name = rest.removeprefix(f"{revision}/")
                return _file_reply(commit, name, files.get(name))
    return _Reply(404, {"X-Error-Code": "RevisionNotFound"})


def _file_reply(commit: str, name: str, content: bytes | None) -> _Reply:
    """Weights and tables are in LFS, named by their SHA-256, all else by git's SHA-1 of a blob."""
    if content is None:
        return _Reply(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
    in_lfs = name.endswith((".safetensors", ".pt", ".parquet", ".bin"))
    git_blob = b"blob %d\0%b" % (len(content), content)
    etag = hashlib.sha256(content) if in_lfs else hashlib.sha1(git_blob)
    return _Reply(200, {"X-Repo-Commit": commit, "ETag": f'"{etag.hexdigest()}"'}, content)


@contextmanager
def running_hub(repos: Mapping[str, Repo]) -> Iterator[FakeHub]:
    """A hub with `repos` on a free port of the loopback, until the block ends."""
    hub = FakeHub(repos=dict(repos))
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def run_against(endpoint: str, home: Path, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `script` in a fresh Python whose hub is `endpoint` and whose cache is `home`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    variables = {
        **kept,
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1",
        "NO_PROXY": "127.0.0.1",
        **environment,
    }
    command = [sys.executable, "-c", script]
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=120)


_ASK = """
import json, logging, os, sys, time
from pathlib import Path
waits = []
time.sleep = waits.append
from sae_research.errors import UserError
from sae_research.sources.hub import Hub
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
hub = Hub(Path("no-world"))
def answer(call):
    waits.clear()
    try:
        found = eval(call)
    except UserError as error:
        return {{"error": str(error), "waits": [*waits]}}
    path = found.path
    files = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()) if path.is_dir() else []
    text = path.read_text() if path.is_file() else ""
    return {{"name": path.name, "revision": found.revision, "files": files, "text": text, "waits": [*waits]}}
print(json.dumps([answer(call) for call in {calls!r}]))
"""


def ask_all(endpoint: str, home: Path, calls: list[str], **environment: str) -> list[dict[str, Any]]:
    """What each call gives in one fresh process, in which no wait takes time, and what the process logs.

    `files`, `text`, `revision` of the snapshot, or the UserError's text as `error`; `waits` and `log` beside them.
    """
    done = run_against(endpoint, home, _ASK.format(calls=calls), **environment)
    assert done.returncode == 0, done.stderr
    return [{**answer, "log": done.stderr} for answer in json.loads(done.stdout)]


def ask(endpoint: str, home: Path, call: str, **environment: str) -> dict[str, Any]:
    """What one call gives, see `ask_all`."""
    return ask_all(endpoint, home, [call], **environment)[0]
