"""The client in Python, both ways, against a real server."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import aclosing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from miras.client import AsyncClient, Client, Refused
from miras.core.masks import decode_rle
from miras.model.miras import Miras
from miras.serve.settings import Limits
from tests.serve.site import Script, Site

TOKEN = "a-token-of-some-length"


@pytest.fixture(scope="module")
def site(model: Miras, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    running = Site(Script(model, "small", 0.0), tmp_path_factory.mktemp("client"), limits=Limits(text_characters=400))
    yield running
    running.stop()


@pytest.fixture
def client(site: Site) -> Iterator[Client]:
    with Client(site.address) as here:
        yield here


def test_a_conversation(client: Client, jpeg: bytes, tmp_path: Path) -> None:
    (tmp_path / "cup.jpg").write_bytes(jpeg)
    photo = client.upload(tmp_path / "cup.jpg")
    assert (photo.name, photo.width, photo.height) == ("cup.jpg", 64, 48)
    assert Image.open(io.BytesIO(client.image(photo, "thumbnail"))).size == (64, 48)
    talk = client.start(photo)
    events = list(client.stream(talk, "Where is the cup?"))
    turn = events[-1].turn
    assert turn is not None and events[0].kind == "queue" and events[-1].kind == "reply"
    assert "".join(event.text or "" for event in events) == turn.text == "Here is the cup."
    assert [event.region.phrase.strip() for event in events if event.region] == ["cup"]
    assert client.ask(talk.id, "Also the spoon.").selection.expression == "1 + 2"
    drawn = np.zeros((48, 64), bool)
    drawn[10:20, 10:30] = True
    buffer = io.BytesIO()
    Image.fromarray(drawn).save(buffer, "PNG")
    refined = client.refine(talk, region=1, mask=buffer.getvalue())
    assert (decode_rle(vars(refined.regions[0].rle)) == drawn).all()  # type: ignore[arg-type]
    again = client.refine(talk, region=1, mask=vars(refined.regions[0].rle))
    assert again.regions[0].rle == refined.regions[0].rle
    assert client.refine(talk, points=[(20, 15), (50, 40, 0)], box=[8, 8, 40, 30], region=2).kind == "refinement"
    assert client.select(talk, "1&2").selection.expression == "1 & 2"
    assert client.undo(talk).selection.expression == "1 + 2"
    whole = client.undo(talk)
    assert [one.kind for one in whole.history] == ["exchange", "exchange", "refinement", "refinement"]
    twin = client.fork(talk, 1, "a fork")
    assert (twin.turns, twin.title, twin.selection.expression) == (1, "a fork", "1")
    assert client.rename(talk, "two").title == "two"
    page = client.conversations(1)
    rest = client.conversations(1, page.next)
    assert [page.items[0].title, rest.items[0].title] == ["a fork", "two"]
    file = client.export(talk, "mask", each=True)
    assert file.name == "cup.masks.zip" and file.save(tmp_path).read_bytes() == file.content
    client.delete(talk)
    client.delete(twin)
    with pytest.raises(Refused, match="expected a conversation of yours, got none with this id") as refused:
        client.conversation(talk)
    assert (refused.value.kind, refused.value.status) == ("not-found", 404)


def test_the_same_awaited(site: Site, jpeg: bytes) -> None:
    async def hold() -> None:
        async with AsyncClient(site.address) as client:
            photo = await client.upload(jpeg, "cup.jpg")
            talks = await asyncio.gather(*(client.start(photo) for _ in range(3)))
            turns = await asyncio.gather(*(client.ask(talk, "Where is the cup?") for talk in talks))
            assert {turn.text for turn in turns} == {"Here is the cup."}
            assert len({turn.selection.rle.counts for turn in turns}) == 1
            kinds = [event.kind async for event in client.stream(talks[0], "Also the spoon.")]
            assert kinds[0] == "queue" and kinds[-1] == "reply"
            assert (await client.undo(talks[0])).turns == 1
            for talk in talks:
                await client.delete(talk)

    asyncio.run(hold())


def test_another_name_is_taken(client: Client, jpeg: bytes) -> None:
    talk = client.start(client.upload(jpeg))
    for text in ("the thing", "what is it", "something", "the round one", "please"):
        found = [(one.id, one.alternatives[0].phrase) for one in client.ask(talk, text).regions if one.alternatives]
        if found:
            break
    region, phrase = found[0]
    assert phrase in [one.phrase for one in client.alternative(talk, region, phrase).regions]


@pytest.mark.parametrize("way", ["waiting", "awaited"])
def test_a_stream_that_is_closed_stops_its_turn(site: Site, jpeg: bytes, way: str) -> None:
    """The question stays open; asked again, it is answered; dropped, it is gone."""

    def left(client: Client) -> Any:
        end = time.monotonic() + 60
        while (talk := client.conversation(started)).state == "running" and time.monotonic() < end:
            time.sleep(0.02)
        return talk

    async def begin() -> None:
        async with AsyncClient(site.address) as here, aclosing(here.stream(started, "Where is the cup?")) as events:  # type: ignore[type-var]
            async for _ in events:
                break

    with Client(site.address) as client:
        started = client.start(client.upload(jpeg)).id
        hold = threading.Event()
        service = site.app.state.service
        service.worker.when_idle("hold", lambda: hold.wait(60))  # the model is busy with something else
        if way == "waiting":
            stream = client.stream(started, "Where is the cup?")
            assert next(stream).kind == "queue"
            stream.close()  # type: ignore[attr-defined]
        else:
            asyncio.run(begin())
        talk = left(client)
        hold.set()
        assert (talk.state, talk.open.text, talk.turns) == ("open", "Where is the cup?", 0)
        assert client.ask(talk, None).text == "Here is the cup."
        with pytest.raises(Refused, match="expected an open question, got none"):
            client.ask(talk, None)
        client.delete(talk)


@pytest.mark.parametrize(
    ("act", "kind", "status", "line"),
    [
        (lambda c, t: c.ask(t, " "), "invalid", 422, "expected a message with words, got"),
        (lambda c, t: c.ask(t, "x" * 401), "invalid", 422, "at most 400 characters, got 401; shorten it"),
        (lambda c, t: c.refine(t, box=[5, 5, 5, 9]), "invalid", 422, "expected a box"),
        (lambda c, t: c.undo(t), "conflict", 409, "ask for something first"),
        (lambda c, t: c.export(t), "conflict", 409, "expected something selected, got nothing"),
        (lambda c, t: c.upload(b"no photo"), "invalid", 422, "expected a photo"),
        (lambda c, t: c.upload("gone.jpg"), "invalid", 0, "gone.jpg (No such file or directory)"),
        (lambda c, t: c.start("p_no"), "not-found", 404, "expected a photo of yours"),
        (lambda c, t: c.fork(t, 7), "invalid", 422, "expected at most 0 turns to keep, got 7"),
    ],
)
def test_a_refusal_is_one_line(client: Client, jpeg: bytes, act: Any, kind: str, status: int, line: str) -> None:
    talk = client.start(client.upload(jpeg))
    with pytest.raises(Refused) as refused:
        act(client, talk)
    assert (refused.value.kind, refused.value.status) == (kind, status)
    assert line in str(refused.value) and "\n" not in str(refused.value)


def test_a_token(model: Miras, jpeg: bytes, tmp_path: Path) -> None:
    guarded = Site(Script(model, "small", 0.0), tmp_path, tokens=(TOKEN,))
    try:
        with Client(guarded.address, TOKEN) as client:
            assert client.ask(client.start(client.upload(jpeg)), "Where is the cup?").turn == 1
        with Client(guarded.address) as nobody, pytest.raises(Refused, match="a token of this server") as refused:
            nobody.conversations()
        assert refused.value.kind == "unauthorised"
    finally:
        guarded.stop()


def test_waits_when_the_server_is_full(model: Miras, jpeg: bytes, tmp_path: Path) -> None:
    """60 requests a minute: the server says after which time there is room, and the client comes back then."""
    narrow = Site(Script(model, "small", 0.0), tmp_path, limits=Limits(uploads_per_minute=60))
    try:
        with Client(narrow.address) as patient, Client(narrow.address, patience=0.5) as hasty:
            for _ in range(60):
                hasty.upload(jpeg)
            with pytest.raises(Refused, match="at most 60 a minute") as refused:
                [hasty.upload(jpeg) for _ in range(10)]
            assert (refused.value.kind, refused.value.status, refused.value.wait) == ("rate", 429, 1.0)
            began = time.monotonic()
            for _ in range(2):
                patient.upload(jpeg)
            assert time.monotonic() - began >= 0.9
    finally:
        narrow.stop()


class Other(BaseHTTPRequestHandler):
    """A server that is not ours, or breaks off."""

    def do_GET(self) -> None:
        self.send_response(502)
        self.end_headers()
        self.wfile.write(b"<html>bad gateway</html>")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        if "fault" in self.path:
            problem = {"type": "urn:miras:problem:stopping", "status": 503, "expected": "a server that runs",
                       "got": "one that is going down", "cure": "try again soon", "field": None}  # fmt: skip
            self.wfile.write(b": alive\n\nevent: error\ndata: " + json.dumps(problem).encode() + b"\n\n")
        else:
            self.wfile.write(b'event: queue\ndata: {"position": 0}\n\nevent: new\ndata: {}\n\n')

    def log_message(self, *_: Any) -> None:
        pass


def test_what_is_no_server_of_ours_is_told() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Other)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        with Client(address) as client:
            with pytest.raises(Refused, match="status 502 that is none of its; look at the address"):
                client.conversations()
            with pytest.raises(Refused, match="got one that was cut off; ask None") as cut:
                client.ask("c_1", "a")
            assert cut.value.kind == "cut"
            with pytest.raises(Refused, match="going down; try again soon") as fault:
                client.ask("c_fault", "a")
            assert (fault.value.kind, fault.value.status) == ("stopping", 503)
    finally:
        server.shutdown()
        server.server_close()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        gone = f"http://127.0.0.1:{free.getsockname()[1]}"
    with Client(gone) as client, pytest.raises(Refused, match=r"got no answer .*see whether it runs") as nobody:
        client.conversations()
    assert nobody.value.kind == "unreachable"
