"""The process: killed at any moment, started again, nothing that was answered is lost; stopped in order."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from miras.core.errors import InputError
from miras.serve.database import FILE, Database
from miras.serve.run import address_of, bound
from miras.serve.settings import Settings
from tests.serve.conftest import API, Process, events_of


def call(server: Process, path: str, body: Any = None, content: bytes | None = None) -> str:
    data = json.dumps(body).encode() if content is None and body is not None else content
    kind = "application/json" if content is None else "image/jpeg"
    request = urllib.request.Request(f"{server.address}{API}/{path}", data, {"Content-Type": kind})
    with urllib.request.urlopen(request, timeout=300) as answer:
        return str(answer.read().decode())


def test_killed_under_load_and_started_again(process: Callable[[], Process], jpeg: bytes, tmp_path: Path) -> None:
    server = process()
    photo = json.loads(call(server, "photos", content=jpeg))["id"]
    talks = [json.loads(call(server, "conversations", {"photo": photo}))["id"] for _ in range(4)]
    told: dict[str, list[Any]] = {talk: [] for talk in talks}
    asked: dict[str, str] = {}

    def hold(talk: str) -> None:
        for n in range(1000):
            asked[talk] = f"Where is thing {n}?"
            try:
                found = events_of(call(server, f"conversations/{talk}/ask", {"text": asked[talk]}))
            except (OSError, http.client.HTTPException):  # killed
                return
            if not found or found[-1][0] != "reply":
                return
            told[talk].append(found[-1][1])

    threads = [threading.Thread(target=hold, args=(talk,)) for talk in talks]
    for thread in threads:
        thread.start()
    end = time.monotonic() + 300
    while min(map(len, told.values())) < 2 and time.monotonic() < end:
        time.sleep(0.02)
    assert server.end(signal.SIGKILL) == -signal.SIGKILL
    for thread in threads:
        thread.join(300)
    assert min(map(len, told.values())) >= 2
    server = process()
    states = set()
    for talk in talks:
        view = json.loads(call(server, f"conversations/{talk}"))
        assert view["history"][: len(told[talk])] == told[talk]
        assert len(view["history"]) - len(told[talk]) in (0, 1)  # one may be answered and not told
        states.add(view["state"])
        if view["state"] == "open":
            assert view["open"]["text"] == asked[talk]
            turn = events_of(call(server, f"conversations/{talk}/retry", {}))[-1][1]
            assert turn["user"] == asked[talk] and turn["turn"] == len(view["history"]) + 1
    assert "open" in states
    assert server.end(signal.SIGTERM) == 0, server.lines
    database = Database(tmp_path / "data")
    assert database.check() == "ok"
    database.close()
    assert (tmp_path / "data" / FILE).stat().st_mode & 0o077 == 0
    assert not any("thing" in line for line in server.lines)


def test_an_address_that_is_taken_is_told() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(InputError, match="--port"):
            bound(Settings(Path("d"), port=port))
    with bound(Settings(Path("d"), port=0)) as free:
        assert address_of(Settings(Path("d"), port=0), free).startswith("http://127.0.0.1:")
