"""A client of `miras serve`: `AsyncClient` is awaited, `Client` waits; docs/api.md says what each answer holds.

In: the address of a server, photos, messages. Out: answers with the API's fields as attributes (`vars` gives a plain
dictionary), events as they come, `Refused` for every refusal, in one line. Loads no model: all it needs is httpx2.
"""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from functools import wraps
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Concatenate, Literal, NamedTuple, ParamSpec, Self, TypeVar
from urllib.parse import unquote

import httpx2

from miras.core.errors import MirasError

if TYPE_CHECKING:  # the shapes of answers are written once, where the server makes them
    from miras.serve.schemas import Conversation, Photo, Region, Summaries, Summary, Turn

T = TypeVar("T")
P = ParamSpec("P")
Format = Literal["mask", "overlay", "cutout", "coco", "labelme", "rle", "svg", "prist", "corrections", "session"]
Named = Any
"""An id, or an answer that has one."""
HERE = "http://127.0.0.1:8000"
PATIENCE = 60.0
"""Seconds that all waits before one request may take together, when the server says that it is full."""
ANSWER = httpx2.Timeout(600.0, connect=10.0)
STREAM = httpx2.Timeout(60.0, connect=10.0)
"""Seconds until an answer, and between two signs of life of a stream."""


class Event(NamedTuple):
    """What a stream tells. kind: `queue` (position: turns that come first), `text`, `region`, and at last `reply`.

    The turn of a reply is on the server's disk by then. Fields of other kinds are None.
    """

    kind: str
    position: int | None = None
    text: str | None = None
    region: Region | None = None
    turn: Turn | None = None


class File(NamedTuple):
    """An export, under the name that the server gives it."""

    name: str
    content: bytes

    def save(self, folder: str | Path = ".") -> Path:
        """Write it into a folder; returns its path."""
        place = Path(folder) / Path(self.name).name
        place.write_bytes(self.content)
        return place


class Refused(MirasError):
    """The server refused, or cannot be reached: one line says what was expected, what was got, what to do.

    kind: the end of the problem's `type`, or `unreachable`, `cut`, `strange`. status: of HTTP, 0 where there was none.
    field: the faulty field of the body. wait: seconds after which to try again, None where waiting does not help.
    """

    def __init__(
        self, expected: str, got: str, cure: str = "", *, kind: str = "strange", status: int = 0,
        field: str | None = None, wait: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__(expected, got, cure)
        self.kind, self.status, self.field, self.wait = kind, status, field, wait


class AsyncClient:
    """One server; `async with`. Requests that it has no room for are sent again when it says so.

    patience: seconds that one request may wait for room in all. Raises Refused.
    """

    def __init__(self, address: str = HERE, token: str | None = None, *, patience: float = PATIENCE) -> None:
        self.address, self.patience = address.rstrip("/"), patience
        shown = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._http = httpx2.AsyncClient(base_url=f"{self.address}/api/v1/", timeout=ANSWER, headers=shown)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    # Photos

    async def upload(self, photo: str | Path | bytes, name: str | None = None) -> Photo:
        """Upload a photo: a file, or its bytes."""
        try:
            content = photo if isinstance(photo, bytes) else Path(photo).read_bytes()
        except OSError as error:
            raise Refused("a photo that can be read", f"{photo!s} ({error.strerror})", kind="invalid") from error
        shown = "photo" if isinstance(photo, bytes) else Path(photo).name
        kind = {"Content-Type": "application/octet-stream"}
        return await self._json("POST", "photos", params={"name": name or shown}, content=content, headers=kind)

    async def image(self, photo: Named, variant: Literal["full", "preview", "thumbnail"] = "full") -> bytes:
        """The bytes of a photo's picture."""
        return (await self._send("GET", f"photos/{_id(photo)}/image", params={"variant": variant})).content

    # Conversations

    async def start(self, photo: Named, title: str | None = None) -> Conversation:
        """Start a conversation about a photo."""
        return await self._json("POST", "conversations", json={"photo": _id(photo), "title": title})

    async def conversations(self, limit: int = 50, before: str | None = None) -> Summaries:
        """A page of all conversations, last used first: `items`, and `next`, the `before` of the next page."""
        place = {} if before is None else {"before": before}
        return await self._json("GET", "conversations", params={"limit": limit, **place})

    async def conversation(self, talk: Named) -> Conversation:
        """A conversation with its history."""
        return await self._json("GET", _of(talk))

    async def rename(self, talk: Named, title: str) -> Summary:
        """Give a title."""
        return await self._json("PATCH", _of(talk), json={"title": title})

    async def delete(self, talk: Named) -> None:
        """Delete a conversation for good; its photo, too, when no other one uses it."""
        await self._send("DELETE", _of(talk))

    async def fork(self, talk: Named, turns: int | None = None, title: str | None = None) -> Conversation:
        """A new conversation with the first turns of this one; None: all of them."""
        return await self._json("POST", _of(talk, "/fork"), json={"turns": turns, "title": title})

    async def export(self, talk: Named, format: Format = "mask", each: bool = False) -> File:
        """Take away what is selected or, with `each`, every region."""
        chosen = {"format": format, "each": str(each).lower()}
        return _file(await self._send("GET", _of(talk, "/export"), params=chosen))

    async def corrections(self) -> File:
        """What was corrected by hand in all conversations, as training data."""
        return _file(await self._send("GET", "corrections"))

    # Turns

    async def stream(self, talk: Named, text: str | None) -> AsyncIterator[Event]:
        """Ask; the events as they come. text None: the open question again. Closing the iterator stops the turn."""
        route, body = (("/retry", None), ("/ask", {"text": text}))[text is not None]
        answer = await self._send("POST", _of(talk, route), json=body, timeout=STREAM, stream=True)
        kind = ""
        try:
            async for line in answer.aiter_lines():
                name, _, value = line.partition(": ")
                kind = value if name == "event" else kind
                if name == "data" and kind in EVENTS:
                    yield EVENTS[kind](_answer(value))
                    if kind == "reply":
                        return
        except httpx2.HTTPError as error:
            raise _cut() from error
        finally:
            await answer.aclose()
        raise _cut()

    async def ask(self, talk: Named, text: str | None) -> Turn:
        """Ask and wait for the reply. text None: the open question again."""
        turn = None
        async for event in self.stream(talk, text):
            turn = event.turn
        assert turn is not None  # the stream ends with it
        return turn

    async def refine(
        self, talk: Named, *, region: int | None = None, points: Iterable[Sequence[float]] | None = None,
        box: Sequence[float] | None = None, strokes: Sequence[Mapping[str, Any]] | None = None, paint: bool = False,
        mask: Mapping[str, Any] | bytes | None = None,
    ) -> Turn:  # fmt: skip
        """Change a region by hand: points (x, y) or (x, y, label), a box XYXY, strokes, a mask (run lengths or PNG)."""
        dots = None if points is None else [{"x": p[0], "y": p[1], "label": int(p[2]) if p[2:] else 1} for p in points]
        given = {"png": base64.b64encode(mask).decode()} if isinstance(mask, bytes) else mask and {"rle": dict(mask)}
        sides = None if box is None else list(box)
        body = {"region": region, "points": dots, "box": sides, "strokes": strokes, "paint": paint, "mask": given}
        return await self._json("POST", _of(talk, "/refine"), json=body)

    async def select(self, talk: Named, expression: str) -> Turn:
        """Select something else of the regions that there are: "(1 + 2) - 3", "1 & 2", "~1", "" for nothing."""
        return await self._json("POST", _of(talk, "/select"), json={"expression": expression})

    async def alternative(self, talk: Named, region: int, phrase: str) -> Turn:
        """Say the last turn anew with another name of a region."""
        return await self._json("POST", _of(talk, "/alternative"), json={"region": region, "phrase": phrase})

    async def undo(self, talk: Named) -> Conversation:
        """Take the last turn back."""
        return await self._json("POST", _of(talk, "/undo"))

    async def drop(self, talk: Named) -> Conversation:
        """Drop the open question."""
        return await self._json("DELETE", _of(talk, "/open"))

    # On the wire

    async def _json(self, method: str, path: str, **options: Any) -> Any:
        answer = await self._send(method, path, **options)
        try:
            return _answer(answer.text)
        except ValueError:
            raise _refusal(answer) from None

    async def _send(self, method: str, path: str, *, stream: bool = False, **options: Any) -> httpx2.Response:
        """An answer that is no refusal. stream: its body is not read yet."""
        waited = 0.0
        while True:
            try:
                answer = await self._http.send(self._http.build_request(method, path, **options), stream=stream)
                if not answer.is_success:
                    await answer.aread()
            except (httpx2.HTTPError, httpx2.InvalidURL) as error:
                got = f"no answer ({' '.join(str(error).split()) or type(error).__name__})"
                cure = "see whether it runs"
                raise Refused(f"miras serve at {self.address}", got, cure, kind="unreachable") from error
            if answer.is_success:
                return answer
            refused = _refusal(answer)
            if answer.status_code not in (429, 503) or refused.wait is None or waited + refused.wait > self.patience:
                raise refused
            await asyncio.sleep(refused.wait)
            waited += refused.wait


def _id(thing: Named) -> str:
    return thing if isinstance(thing, str) else str(thing.id)


def _of(talk: Named, what: str = "") -> str:
    return f"conversations/{_id(talk)}{what}"


def _answer(text: str) -> Any:
    return json.loads(text, object_hook=lambda fields: SimpleNamespace(**fields))


def _file(answer: httpx2.Response) -> File:
    name = answer.headers.get("content-disposition", "").partition("filename*=UTF-8''")[2]
    return File(unquote(name) or "export", answer.content)


def _refusal(answer: httpx2.Response) -> Refused:
    """What an answer refuses, and why; of a server that does not speak this API: that."""
    wait = answer.headers.get("retry-after", "")
    found: dict[str, Any] = {"status": answer.status_code, "wait": float(wait) if wait.isdigit() else None}
    try:
        return _told(_answer(answer.text), **found)
    except (ValueError, AttributeError, TypeError):
        got, cure = f"an answer of status {answer.status_code} that is none of its", "look at the address"
        return Refused(f"miras serve at {answer.url.copy_with(query=None)}", got, cure, **found)


def _told(problem: Any, status: int = 0, wait: float | None = None) -> Refused:
    request = getattr(problem, "request", None)
    cure = problem.cure + (f" (request {request} in the server's log)" if request else "")
    kind = problem.type.removeprefix("urn:miras:problem:")
    status = status or problem.status
    return Refused(problem.expected, problem.got, cure, kind=kind, status=status, field=problem.field, wait=wait)


def _raise(problem: Any) -> Event:
    raise _told(problem)


def _cut() -> Refused:
    return Refused("a whole reply", "one that was cut off", "ask None: the server has kept the question", kind="cut")


EVENTS: dict[str, Callable[[Any], Event]] = {
    "queue": lambda data: Event("queue", position=data.position),
    "text": lambda data: Event("text", text=data.text),
    "region": lambda data: Event("region", region=data),
    "reply": lambda data: Event("reply", turn=data),
    "error": _raise,
}


def _waiting(
    method: Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Client, P], T]:
    @wraps(method)
    def waits(self: Client, /, *given: P.args, **named: P.kwargs) -> T:
        return self._wait(method(self._client, *given, **named))

    return waits


class Client:
    """The same, waiting: `with`, or `close`. Several threads may use one."""

    def __init__(self, address: str = HERE, token: str | None = None, *, patience: float = PATIENCE) -> None:
        self._client = AsyncClient(address, token, patience=patience)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="miras-client", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._wait(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        finally:
            future.cancel()

    def stream(self, talk: Named, text: str | None) -> Iterator[Event]:
        """Ask; the events as they come. text None: the open question again. Closing the iterator stops the turn."""
        events: Any = self._client.stream(talk, text)
        try:
            while (event := self._wait(_next(events))) is not None:
                yield event
        finally:
            self._wait(events.aclose())

    upload, image = _waiting(AsyncClient.upload), _waiting(AsyncClient.image)
    start, conversations = _waiting(AsyncClient.start), _waiting(AsyncClient.conversations)
    conversation, rename = _waiting(AsyncClient.conversation), _waiting(AsyncClient.rename)
    delete, fork, export = _waiting(AsyncClient.delete), _waiting(AsyncClient.fork), _waiting(AsyncClient.export)
    corrections = _waiting(AsyncClient.corrections)
    ask, refine = _waiting(AsyncClient.ask), _waiting(AsyncClient.refine)
    select, alternative = _waiting(AsyncClient.select), _waiting(AsyncClient.alternative)
    undo, drop = _waiting(AsyncClient.undo), _waiting(AsyncClient.drop)


async def _next(events: AsyncIterator[Event]) -> Event | None:
    return await anext(events, None)
