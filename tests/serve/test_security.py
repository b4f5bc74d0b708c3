"""Who may ask: tokens, cookies, names, origins, sizes, rates; what the log says."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from miras.serve.problems import Problem
from miras.serve.security import COOKIE, Rates, name_of
from miras.serve.settings import Limits
from tests.serve.conftest import API, Start, ask, conversation, stop, upload

ALICE, BOB = "alice-0123456789abcdef", "bob-0123456789abcdef"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_without_a_token_nothing_is_told(start: Start) -> None:
    client = start(tokens=(ALICE, BOB), host="0.0.0.0")
    for method, path in [
        ("GET", "conversations"), ("POST", "conversations"), ("POST", "photos"), ("GET", "limits"), ("GET", "samples"),
        ("GET", "photos/p_x/image"), ("POST", "logout"), ("DELETE", "conversations/c_x"),
    ]:  # fmt: skip
        for headers in ({}, bearer("wrong-0123456789abcdef"), {"Authorization": ALICE}, {"Cookie": f"{COOKIE}=x"}):
            answer = client.request(method, f"{API}/{path}", headers=headers)
            assert answer.status_code == 401 and answer.headers["www-authenticate"].startswith("Bearer")
    assert client.get("/metrics").status_code == 401
    assert client.get("/metrics", headers=bearer(BOB)).status_code == 200
    assert client.get(f"{API}/health").status_code == client.get(f"{API}/ready").status_code == 200
    assert client.get(f"{API}/session").json() == {"auth": "token", "signed_in": False, "csrf": None}


def test_a_token_sees_its_own_alone(start: Start, jpeg: bytes) -> None:
    client = start(tokens=(ALICE, BOB))
    talk = conversation(client, jpeg, **bearer(ALICE))
    turn = ask(client, talk, "Where is the cup?", **bearer(ALICE))
    photo = upload(client, jpeg, **bearer(ALICE))
    paths = [
        ("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/ask"), ("POST", "/retry"), ("DELETE", "/open"),
        ("POST", "/refine"), ("POST", "/alternative"), ("POST", "/undo"), ("POST", "/fork"),
        ("GET", "/export?format=mask"), ("GET", "/export?format=prist"), ("GET", "/export?format=session"),
        ("GET", "/turns/1/selection.png"), ("GET", "/turns/1/overlay.png"),
        ("GET", f"/turns/1/regions/{turn['regions'][0]['id']}.png"),
    ]  # fmt: skip
    bodies: dict[str, Any] = {
        "": {"title": "mine"}, "/ask": {"text": "a"}, "/refine": {"box": [1, 1, 9, 9]}, "/fork": {},
        "/alternative": {"region": 1, "phrase": "a"},
    }  # fmt: skip
    for method, path in paths:
        address = f"{API}/conversations/{talk}{path}"
        body = bodies.get(path) if method in ("POST", "PATCH") else None
        stranger = client.request(method, address, json=body, headers=bearer(BOB))
        nowhere = client.request(method, address.replace(talk, "c_none"), json=body, headers=bearer(BOB))
        assert stranger.status_code == nowhere.status_code == 404, (method, path, stranger.text)
        assert stranger.json() == nowhere.json()
    for method in ("GET", "DELETE"):
        assert client.request(method, f"{API}/photos/{photo['id']}", headers=bearer(BOB)).status_code == 404
    taken = client.post(f"{API}/conversations", json={"photo": photo["id"]}, headers=bearer(BOB))
    assert taken.status_code == 404
    assert client.get(f"{API}/conversations", headers=bearer(BOB)).json()["items"] == []
    assert client.get(f"{API}/conversations/{talk}", headers=bearer(ALICE)).json()["history"] == [turn]


def test_a_browser_signs_in_with_a_cookie(start: Start, tmp_path: Path) -> None:
    client = start(tokens=(ALICE,))
    assert client.post(f"{API}/login", json={"token": BOB}).status_code == 401
    answer = client.post(f"{API}/login", json={"token": ALICE})
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and ALICE not in cookie
    csrf = answer.json()["csrf"]
    assert client.get(f"{API}/session").json() == {"auth": "token", "signed_in": True, "csrf": csrf}
    headers: Any
    for headers in ({}, {"X-CSRF-Token": "x"}, {"X-CSRF-Token": b"\xe9"}):
        refused = client.post(f"{API}/photos/sample", json={"sample": "coffee"}, headers=headers)
        assert refused.status_code == 403 and "X-CSRF-Token" in refused.json()["expected"]
    accepted = client.post(f"{API}/photos/sample", json={"sample": "coffee"}, headers={"X-CSRF-Token": csrf})
    assert accepted.status_code == 201
    value = client.cookies[COOKIE]
    assert client.post(f"{API}/logout", headers={"X-CSRF-Token": csrf}).status_code == 204
    assert client.get(f"{API}/limits", headers={"Cookie": f"{COOKIE}={value}"}).status_code == 401
    kept = b"".join(path.read_bytes() for path in (tmp_path / "data").glob("miras.sqlite3*"))
    assert ALICE.encode() not in kept and value.encode() not in kept


def test_a_token_that_was_taken_away_opens_nothing(start: Start, tmp_path: Path) -> None:
    client = start(tokens=(ALICE, BOB))
    client.post(f"{API}/login", json={"token": ALICE})
    value = client.cookies[COOKIE]
    stop(client)
    later = start(tokens=(BOB,))
    assert later.get(f"{API}/limits", headers={"Cookie": f"{COOKIE}={value}"}).status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "127.0.0.1:8000"}, 200),
        ({"Host": "[::1]:8000"}, 200),
        ({"Host": "LOCALHOST"}, 200),
        ({"Host": "photos.example.org"}, 200),
        ({"Host": "evil.example.org"}, 403),
        ({"Host": "localhost.evil.org"}, 403),
        ({"Host": "192.168.1.9"}, 403),
        ({"Host": ""}, 403),
        ({"Origin": "http://localhost"}, 200),
        ({"Origin": "http://localhost:3000"}, 403),
        ({"Origin": "https://evil.example.org"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "https://lab.example.org", "Sec-Fetch-Site": "cross-site"}, 200),
    ],
)
def test_names_and_origins(guarded: Any, headers: dict[str, str], status: int) -> None:
    answer = guarded.get(f"{API}/samples", headers=headers)
    assert answer.status_code == status, answer.text
    shared = answer.headers.get("access-control-allow-origin")
    assert shared == ("https://lab.example.org" if "lab" in headers.get("Origin", "") else None)


@pytest.fixture(scope="module")
def guarded(loaded: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from fastapi.testclient import TestClient

    from miras.serve.app import create
    from miras.serve.settings import Settings

    settings = Settings(
        tmp_path_factory.mktemp("guarded"), hosts=("photos.example.org",), origins=("https://lab.example.org",)
    )
    with TestClient(create(loaded, settings), base_url="http://localhost") as client:
        yield client


def test_every_answer_says_what_a_page_may(guarded: Any) -> None:
    for path in ("/", f"{API}/health", f"{API}/nothing", f"{API}/conversations/c_x"):
        headers = guarded.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff" and headers["x-request-id"]
        assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("host", ["192.168.1.9:8000", "[fe80::1]:8000", "localhost"])
def test_all_addresses_of_a_machine_are_its_names(start: Start, host: str) -> None:
    client = start(host="0.0.0.0", tokens=(ALICE,))
    assert client.get(f"{API}/health", headers={"Host": host}).status_code == 200
    assert client.get(f"{API}/health", headers={"Host": "evil.example.org"}).status_code == 403


def test_bodies_have_an_end(start: Start, jpeg: bytes) -> None:
    client = start(limits=Limits(photo_bytes=2000, body_bytes=1000))

    def endless() -> Iterator[bytes]:
        for _ in range(50):
            yield b"x" * 100

    for content in (b"x" * 2001, endless()):
        answer = client.post(f"{API}/photos", content=content, headers={"Content-Type": "image/jpeg"})
        assert answer.status_code == 413 and "2000 bytes" in answer.json()["expected"]
    for content in (b"[" * 1001, endless()):
        answer = client.post(f"{API}/conversations", content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == 413
    answer = client.post(f"{API}/photos", content=jpeg, headers={"Content-Type": "text/plain"})
    assert answer.status_code == 415
    deep = client.post(f"{API}/conversations", content=b"[" * 999, headers={"Content-Type": "application/json"})
    assert deep.status_code in (400, 422)


def test_counts_have_an_end(start: Start, jpeg: bytes) -> None:
    client = start(limits=Limits(photos=2, conversations=2, turns=1))
    talk = conversation(client, jpeg)
    ask(client, talk, "Where is the cup?")
    upload(client, jpeg)
    refused = [
        client.post(f"{API}/photos/sample", json={"sample": "coffee"}),
        client.post(f"{API}/conversations/{talk}/ask", json={"text": "And now?"}),
        client.post(f"{API}/conversations/{talk}/refine", json={"box": [1, 1, 9, 9]}),
    ]
    client.post(f"{API}/conversations/{talk}/fork", json={})
    refused.append(client.post(f"{API}/conversations/{talk}/fork", json={}))
    assert [answer.status_code for answer in refused] == [409] * 4
    assert all(answer.json()["type"].endswith(":limit") for answer in refused)


def test_rates_have_an_end(start: Start) -> None:
    client = start(limits=Limits(requests_per_minute=3))
    answers = [client.get(f"{API}/limits") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert client.get(f"{API}/health").status_code == 200
    locked = start(data=Path(str(client.app.state.service.settings.data) + "2"), tokens=(ALICE,))  # type: ignore[attr-defined]
    tries = [locked.post(f"{API}/login", json={"token": "x"}).status_code for _ in range(11)]
    assert tries == [401] * 10 + [429]


def test_a_rate_fills_up_again() -> None:
    rates = Rates()
    rates.take("a", 1)
    with pytest.raises(Problem) as refused:
        rates.take("a", 1)
    assert 50 < int((refused.value.headers or {})["Retry-After"]) <= 60
    rates.take("b", 1)
    for _ in range(600):  # ten a second
        rates.take("c", 600)
    time.sleep(0.2)
    rates.take("c", 600)


@pytest.mark.parametrize(
    ("host", "name"),
    [("localhost:8000", "localhost"), ("[::1]:80", "::1"), ("A.b.", "a.b"), ("", ""), ("[::1", "::1")],
)
def test_the_name_in_a_host_header(host: str, name: str) -> None:
    assert name_of(host) == name


@pytest.mark.parametrize("content", [False, True])
def test_the_log_tells_words_only_when_asked(
    start: Start, jpeg: bytes, content: bool, caplog: pytest.LogCaptureFixture
) -> None:
    client = start(log_content=content)
    with caplog.at_level(logging.INFO, "miras.serve"):
        talk = conversation(client, jpeg)
        ask(client, talk, "Where is the zanzibar lamp?")
        client.post(f"{API}/conversations/{talk}/ask", json={"text": "zanzibar" * 9000})
    assert ("zanzibar" in caplog.text) == content
    assert "/conversations/{conversation}/ask" in caplog.text
    assert content or talk not in caplog.text
