"""The app as a whole: operations, the page's files, people who leave, retention."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from miras import __version__
from miras.serve.settings import Limits
from tests.serve.conftest import API, Start, ask, conversation, events_of, stop, upload

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.mark.parametrize("seed", [1, 2])
def test_damaged_requests_are_refused_and_no_fault(
    start: Start, jpeg: bytes, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Photos and bodies as `benchmarks/serve_load.py damage` sends them by the thousand."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from serve_load_damage import damaged_body, damaged_photo, photos_of_all_kinds

    client = start(limits=Limits(requests_per_minute=10_000, turns_per_minute=10_000, uploads_per_minute=10_000))
    rng, kinds = random.Random(seed), photos_of_all_kinds(jpeg)
    talk = conversation(client, jpeg)
    names = {"talk": talk, "photo": client.get(f"{API}/conversations/{talk}").json()["photo"]["id"]}
    ask(client, talk, "Where is the cup?")
    statuses: Counter[int] = Counter()
    for _ in range(150):
        if rng.random() < 0.5:
            kind, content = damaged_photo(rng, kinds)
            method, path, mime = "POST", "photos", "image/jpeg"
        else:
            kind, method, path, content = damaged_body(rng, names)
            mime = "application/json"
        answer = client.request(method, f"{API}/{path}", content=content, headers={"Content-Type": mime})
        statuses[answer.status_code] += 1
        assert answer.status_code < 500 and "problem:internal" not in answer.text, (kind, content[:200])
    assert statuses[201] and statuses[422]
    assert client.get(f"{API}/ready").json()["ready"]


def test_operations(client: TestClient, jpeg: bytes) -> None:
    assert client.get(f"{API}/health").json() == {"status": "alive", "version": __version__}
    assert client.get(f"{API}/ready").json() == {"ready": True, "model": "small", "queue": 0}
    limits = client.get(f"{API}/limits").json()
    assert limits["queue"] == 64 and limits["retention_days"] is None and limits["model"] == "small"
    document = client.get(f"{API}/openapi.json").json()
    assert document["openapi"].startswith("3.1") and f"{API}/conversations/{{conversation}}/ask" in document["paths"]
    talk = conversation(client, jpeg)
    ask(client, talk, "Where is the zanzibar lamp?")
    text = client.get("/metrics").text
    for line in (
        'miras_turns_total{outcome="done"} 1.0', "miras_queue_length 0.0", "miras_sessions 1.0",
        'miras_stage_seconds_count{stage="segment"} 1.0', "miras_wait_seconds_count 1.0",
        'route="/api/v1/conversations/{conversation}/ask",status="200"',
    ):  # fmt: skip
        assert line in text, line
    assert "zanzibar" not in text and talk not in text
    assert client.post(f"{API}/health").status_code == 405
    assert client.get(f"{API}/nothing").json()["type"] == "urn:miras:problem:not-found"
    broken = client.post(f"{API}/conversations", content=b"{", headers={"Content-Type": "application/json"})
    assert broken.status_code == 400 and broken.json()["type"] == "urn:miras:problem:malformed"


def test_without_a_page_it_says_so_in_one_line(start: Start, tmp_path: Path) -> None:
    client = start(tmp_path / "static")
    for path in ("/", "/index.html", "/assets/app.js"):
        answer = client.get(path)
        assert answer.status_code == 404 and answer.text.count("\n") == 1
        assert "docs/api.md" in answer.text and answer.headers["content-type"].startswith("text/plain")


def test_the_files_of_a_page_and_no_others(start: Start, tmp_path: Path) -> None:
    static = tmp_path / "static"
    (static / "assets").mkdir(parents=True)
    (static / "index.html").write_text("<!doctype html><title>miras</title>")
    (static / "assets" / "app-1a2b.js").write_text("export {}")
    (tmp_path / "secret.txt").write_text("secret")
    client = start(static)
    page = client.get("/")
    assert page.text.startswith("<!doctype html>") and page.headers["content-type"].startswith("text/html")
    assert page.headers["cache-control"] == "no-cache"
    script = client.get("/assets/app-1a2b.js")
    assert "javascript" in script.headers["content-type"] and "immutable" in script.headers["cache-control"]
    for path in ("/../secret.txt", "/%2e%2e/secret.txt", "/assets/..%2f..%2fsecret.txt", "/assets", "//etc/passwd"):
        answer = client.get(path)
        assert answer.status_code == 404 and "secret" not in answer.text


@pytest.mark.parametrize("route", ["ask", "retry"])
@pytest.mark.parametrize("spec", ["2.3", "2.4"])
def test_who_leaves_while_waiting_is_not_answered(start: Start, jpeg: bytes, route: str, spec: str) -> None:
    client = start()
    app, text = client.app, "Where is the cup?"
    service = app.state.service  # type: ignore[attr-defined]
    talk = conversation(client, jpeg)
    service.records.begin(talk, text)
    gate, held = threading.Event(), threading.Event()
    service.worker.when_idle("hold", lambda: (held.set(), gate.wait(300)))
    assert held.wait(300)

    async def visit() -> bytes:
        body = json.dumps({"text": text}).encode() if route == "ask" else b""
        incoming = [{"type": "http.request", "body": body, "more_body": False}]
        gone, sent = asyncio.Event(), []

        async def receive() -> Any:
            if incoming:
                return incoming.pop(0)
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message.get("body", b""))
            if sent[-1].startswith(b"event: queue"):
                gone.set()

        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": spec}, "http_version": "1.1", "method": "POST",
            "path": f"{API}/conversations/{talk}/{route}", "raw_path": b"", "query_string": b"", "scheme": "http",
            "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")], "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8000), "root_path": "",
        }  # fmt: skip
        await asyncio.wait_for(app(scope, receive, send), 300)  # type: ignore[arg-type]
        return b"".join(sent)

    said = asyncio.run(visit())
    assert b"event: reply" not in said
    assert not service.worker.is_active(talk) and service.worker.length == 0
    gate.set()
    view = client.get(f"{API}/conversations/{talk}").json()
    assert view["state"] == "open" and view["open"]["text"] == text and view["turns"] == 0
    turn = events_of(client.post(f"{API}/conversations/{talk}/retry").text)[-1][1]
    assert turn["user"] == text and turn["turn"] == 1


def test_what_is_old_is_deleted(start: Start, jpeg: bytes, tmp_path: Path) -> None:
    client = start(retention_days=30)
    old, new = conversation(client, jpeg), conversation(client, jpeg)
    unused, fresh = upload(client, jpeg), upload(client, jpeg)
    ask(client, old, "Where is the cup?")
    database = client.app.state.service.database  # type: ignore[attr-defined]
    with database.write() as db:
        db.execute("UPDATE conversations SET updated=? WHERE id=?", (time.time() - 31 * 86400, old))
        db.execute("UPDATE photos SET created=? WHERE id=?", (time.time() - 2 * 86400, unused["id"]))
    (tmp_path / "data" / "photos" / "p_lost.full.jpg").write_bytes(b"left by a crash")
    stop(client)
    again = start(retention_days=30)
    assert again.get(f"{API}/conversations/{old}").status_code == 404
    assert again.get(f"{API}/conversations/{new}").status_code == 200
    assert again.get(unused["image_url"]).status_code == 404 and again.get(fresh["image_url"]).status_code == 200
    assert len(list((tmp_path / "data" / "photos").iterdir())) == 6  # two photos in three sizes


def test_a_disk_that_fails_loses_no_answer_that_was_told(start: Start, jpeg: bytes) -> None:
    client = start()
    talk = conversation(client, jpeg)
    first = ask(client, talk, "Where is the cup?")
    database = client.app.state.service.database  # type: ignore[attr-defined]
    with database.write() as db:
        db.execute("CREATE TRIGGER full BEFORE INSERT ON turns BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    answer = client.post(f"{API}/conversations/{talk}/ask", json={"text": "Also the spoon."})
    name, problem = events_of(answer.text)[-1]
    assert name == "error" and problem["status"] == 500 and "disk full" not in answer.text
    with database.write() as db:
        db.execute("DROP TRIGGER full")
    view = client.get(f"{API}/conversations/{talk}").json()
    assert view["history"] == [first] and view["open"]["text"] == "Also the spoon."
    turn = events_of(client.post(f"{API}/conversations/{talk}/retry").text)[-1][1]
    assert turn["turn"] == 2 and turn["user"] == "Also the spoon."
