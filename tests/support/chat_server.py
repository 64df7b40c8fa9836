"""A chat server on loopback that answers by a script and notes what it was asked."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = Mapping[str, Any]


def said(text: str | None, **changes: Any) -> dict[str, Any]:
    """A completion with this content; `changes` replace its fields."""
    message = {"role": "assistant", "content": text, **changes.pop("message", {})}
    choice = {"index": 0, "message": message, "finish_reason": changes.pop("finish_reason", "stop")}
    usage = {"prompt_tokens": 40, "completion_tokens": 7, "total_tokens": 47}
    return {
        "id": "1", "object": "chat.completion", "created": 0, "model": "judge-2026", "choices": [choice],
        "usage": usage, **changes,
    }  # fmt: skip


@dataclass(frozen=True)
class Fault:
    """What the server does instead of answering."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b"{}"
    seconds: float = 0.0
    cut: bool = False
    """Whether it closes the connection in the middle."""


@dataclass
class ChatServer:
    """What it was asked, and how it answers: a fault where `faults` has one left, otherwise `reply`."""

    reply: Callable[[dict[str, Any]], Reply]
    faults: list[Fault] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    most_at_once: int = 0
    url: str = ""
    _open: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def _counted(self) -> Iterator[Fault | None]:
        with self._lock:
            self._open += 1
            self.most_at_once = max(self.most_at_once, self._open)
            fault = self.faults.pop(0) if self.faults else None
        try:
            yield fault
        finally:
            with self._lock:
                self._open -= 1


@contextmanager
def running_chat_server(reply: Callable[[dict[str, Any]], Reply]) -> Iterator[ChatServer]:
    """A server that answers `POST /v1/chat/completions` with what `reply` makes of the request."""
    state = ChatServer(reply)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.requests.append(asked)
            state.headers.append({name.lower(): value for name, value in self.headers.items()})
            with state._counted() as fault:  # pyright: ignore[reportPrivateUsage]
                if fault is None:
                    self._send(200, {}, json.dumps(state.reply(asked)).encode())
                    return
                time.sleep(fault.seconds)
                if fault.cut:
                    self.send_response(200)
                    self.send_header("Content-Length", "1000")
                    self.end_headers()
                    self.wfile.write(b'{"id": ')
                    self.close_connection = True
                else:
                    self._send(fault.status, fault.headers, fault.body)

        def _send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
