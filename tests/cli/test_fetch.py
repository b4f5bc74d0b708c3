"""Photos from addresses: only when asked for, of limited size and time, from a server on this machine."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from miras.cli import main
from miras.cli.fetch import fetch
from miras.core.errors import InputError
from miras.core.photo import read_photo
from tests.cli.test_main import PHOTO, TINY, complaint

CONTENT = Path(PHOTO).read_bytes()


class Handler(BaseHTTPRequestHandler):
    """One path for each way to answer."""

    asked: list[str]

    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        name = self.path.partition("?")[0].strip("/")
        getattr(self, f"send_{name.partition('.')[0]}")()

    def answer(self, code: int = 200, body: bytes = b"", kind: str | None = "image/jpeg", **headers: str) -> None:
        self.send_response(code)
        for key, value in {**({"Content-Type": kind} if kind else {}), **headers}.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def send_cup(self) -> None:
        self.answer(body=CONTENT, Content_Length=str(len(CONTENT)))

    def send_untyped(self) -> None:
        self.answer(body=CONTENT, kind=None)

    def send_stream(self) -> None:
        self.answer(body=CONTENT, kind="application/octet-stream")

    def send_moved(self) -> None:
        self.answer(302, Location="/cup.jpg")

    def send_away(self) -> None:
        self.answer(302, Location=f"file://{PHOTO}")

    def send_ftp(self) -> None:
        self.answer(302, Location="ftp://127.0.0.1/cup.jpg")

    def send_loop(self) -> None:
        self.answer(302, Location="/loop")

    def send_page(self) -> None:
        self.answer(body=b"<html>", kind="text/html; charset=utf-8")

    def send_gone(self) -> None:
        self.answer(404, b"gone", "text/html")

    def send_text(self) -> None:
        self.answer(body=b"no photo at all")

    def send_large(self) -> None:
        self.answer(body=b"\0" * 5000, Content_Length="5000")

    def send_endless(self) -> None:
        self.answer()
        for _ in range(1000):
            self.wfile.write(b"\0" * 100)

    def send_short(self) -> None:
        self.answer(body=CONTENT[:50], Content_Length="900")

    def send_slow(self) -> None:
        self.answer()
        for _ in range(40):
            self.wfile.write(b"\0")
            time.sleep(0.05)

    def send_silent(self) -> None:
        time.sleep(1.5)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadingHTTPServer]:
    Handler.protocol_version = "HTTP/1.0"
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked = []  # type: ignore[attr-defined]
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # who hangs up is no error here
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def root(server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch) -> str:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server.asked.clear()  # type: ignore[attr-defined]
    return f"http://127.0.0.1:{server.server_address[1]}"


@pytest.mark.parametrize("path", ["/cup.jpg", "/cup.jpg?a=1&b=//", "/untyped", "/stream", "/moved"])
def test_a_photo_is_fetched(root: str, path: str) -> None:
    assert fetch(root + path) == CONTENT


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/page", "text/html; give the address of the picture, not of a page"),
        ("/gone", "got 404 Not Found"),
        ("/away", "302|not allowed"),
        ("/ftp", "unknown url type: ftp"),
        ("/loop", "infinite loop|302"),
        ("/large", "at most 0.001 MB, got more at"),
        ("/endless", "at most 0.001 MB, got more at"),
        ("/slow", "within 0.5 seconds"),
        ("/silent", "within 0.5 seconds, got timed out"),
    ],
)
def test_what_is_not_taken(root: str, path: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        fetch(root + path, most=1000, seconds=0.5)
    assert "\n" not in str(caught.value)


def test_an_answer_that_is_cut_off_is_refused(root: str) -> None:
    with pytest.raises(InputError, match=r"expected 900 bytes from .*, got 50; try again"):
        fetch(f"{root}/short")


@pytest.mark.parametrize("address", ["photo.jpg", "file:///etc/passwd", "ftp://a/b.jpg", "http://", "https:///a.jpg"])
def test_other_addresses_are_not_asked(address: str) -> None:
    with pytest.raises(InputError, match="an address that begins with http"):
        fetch(address)


def test_nobody_there() -> None:
    with pytest.raises(InputError, match=r"an answer from http://127.0.0.1:9/a.jpg within 30 seconds, got .*refused"):
        fetch("http://127.0.0.1:9/a.jpg")


def test_ask_fetches_only_with_url(capsys, tmp_path, root, server):
    address = f"{root}/cup.jpg?size=//2"
    assert main.call(["ask", address, "the cup", *TINY]) == 2
    assert complaint(capsys) == (
        f"miras: expected a photo on this machine, got the address {address}; download it first and give its path, or "
        "say --url"
    )
    assert server.asked == []
    assert main.call(["ask", address, "the cup", "--url", "--json", "--out", str(tmp_path / "out"), *TINY]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["image"] == address and len(result["turns"]) == 1
    assert server.asked == ["/cup.jpg?size=//2"]
    kept = tmp_path / "out" / "photo.jpg"
    assert kept.read_bytes() == CONTENT
    talk = json.loads((tmp_path / "out" / "conversation.json").read_text())
    assert talk["image"]["path"] == str(kept)
    assert main.call(["ask", address, "the cup", "--url", "--json", *TINY]) == 0
    again = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert again["turns"][0]["selection"] == result["turns"][0]["selection"]


@pytest.mark.parametrize(
    ("image", "says"),
    [("ROOT/gone", "404"), ("ROOT/page", "text/html"), ("ROOT/text", "ROOT/text, which is not one or is damaged"),
     (PHOTO, "leave --url out for a file")],
)  # fmt: skip
def test_a_bad_address_is_one_line_before_the_model_is_loaded(capsys, tmp_path, root, image, says):
    out = tmp_path / "out"
    image, says = image.replace("ROOT", root), says.replace("ROOT", root)
    assert main.call(["ask", image, "hi", "--url", "--out", str(out), "--model", "no such"]) == 2
    assert says in complaint(capsys) and not out.exists()


def test_chat_fetches_too(capsys, tmp_path, root, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("/box 10 10 200 200\n/quit\n"))
    assert main.call(["chat", f"{root}/untyped", "--url", "--out", str(tmp_path), *TINY]) == 0
    assert read_photo(tmp_path / "photo.jpg").shape[2] == 3
    with Image.open(tmp_path / "turn-1.png") as picture, Image.open(PHOTO) as photo:
        assert picture.size == photo.size
