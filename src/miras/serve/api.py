"""The routes of conversations. docs/api.md describes each.

In: requests of a person. Out: answers, streams, files. Knows HTTP; what happens is in `service.py`.
"""

import asyncio
import json
import tempfile
import zipfile
from collections.abc import AsyncIterator
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Request
from fastapi import Path as InPath
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from miras.chat.export import png
from miras.core.masks import decode_rle
from miras.core.photo import read_photo
from miras.serve import corrections, exports, schemas
from miras.serve import turns as views
from miras.serve.gestures import Refine
from miras.serve.listening import events, outcome
from miras.serve.problems import Problem, not_found
from miras.serve.security import Doors
from miras.serve.service import Service
from miras.serve.worker import Job

Id = Annotated[str, InPath(max_length=80)]
Number = Annotated[int, InPath(ge=1, le=2**31)]
STREAM: dict[int | str, Any] = {200: {"description": "Server-sent events", "content": {"text/event-stream": {}}}}
PNG: dict[int | str, Any] = {200: {"description": "A picture", "content": {"image/png": {}}}}
FILE: dict[int | str, Any] = {
    200: {
        "description": "A file",
        "content": {kind: {} for kind in ("image/png", "image/svg+xml", "application/json", "application/zip")},
    }
}


def routes(service: Service, doors: Doors) -> APIRouter:
    """The router of conversations."""
    router = APIRouter(prefix="/conversations", tags=["conversations"])
    Person = Annotated[str, Depends(doors.person)]
    limits, records = service.settings.limits, service.records

    def turn_rate(person: str) -> None:
        doors.rates.take(f"turns {person}", limits.turns_per_minute)

    @router.post("", status_code=201, response_model=schemas.Conversation)
    def start(person: Person, body: schemas.NewConversation) -> Any:
        """Start a conversation about a photo."""
        conversation = records.add_conversation(person, body.photo, body.title, limits.conversations)
        service.warm(person, conversation)
        return service.view(person, conversation)

    @router.get("", response_model=schemas.Summaries)
    def listed(
        person: Person, limit: Annotated[int, Query(ge=1, le=200)] = 50,
        before: Annotated[str | None, Query(max_length=120)] = None,
    ) -> Any:  # fmt: skip
        """The person's conversations, last used first."""
        rows, following = records.conversations(person, limit, before)
        return {"items": [service.summary(row) for row in rows], "next": following}

    @router.get("/{conversation}", response_model=schemas.Conversation)
    def whole(person: Person, conversation: Id) -> Any:
        """A conversation with its history."""
        return service.view(person, conversation)

    @router.patch("/{conversation}", response_model=schemas.Summary)
    def rename(person: Person, conversation: Id, body: schemas.Rename) -> Any:
        """Give it a title."""
        title = " ".join(body.title.split())
        if not title:
            raise Problem("invalid", "a title with letters", "an empty one", field="title")
        records.rename(person, conversation, title)
        return service.summary(records.conversation(person, conversation))

    @router.delete("/{conversation}", status_code=204, response_class=Response)
    def delete(person: Person, conversation: Id) -> Response:
        """Delete it for good."""
        service.delete(person, conversation)
        return Response(status_code=204)

    @router.post("/{conversation}/ask", response_class=StreamingResponse, responses=STREAM)
    async def ask(request: Request, person: Person, conversation: Id, body: schemas.Ask) -> Response:
        """Ask; the reply comes as events."""
        turn_rate(person)
        loop = asyncio.get_running_loop()
        job = await run_in_threadpool(service.ask, person, conversation, body.text, loop)
        return streamed(service, job, request)

    @router.post("/{conversation}/retry", response_class=StreamingResponse, responses=STREAM)
    async def retry(request: Request, person: Person, conversation: Id) -> Response:
        """Ask the open question again."""
        turn_rate(person)
        job = await run_in_threadpool(service.ask, person, conversation, None, asyncio.get_running_loop())
        return streamed(service, job, request)

    @router.delete("/{conversation}/open", response_model=schemas.Conversation)
    def drop(person: Person, conversation: Id) -> Any:
        """Drop the open question."""
        records.conversation(person, conversation)
        if service.worker.is_active(conversation):
            raise Problem("conflict", "a question that does not run", "one that runs", "close its stream")
        records.drop_question(conversation)
        return service.view(person, conversation)

    @router.post("/{conversation}/refine", response_model=schemas.Turn)
    async def refine(request: Request, person: Person, conversation: Id, body: Refine) -> Any:
        """Change a region by hand."""
        turn_rate(person)
        job = await run_in_threadpool(service.refine, person, conversation, body, asyncio.get_running_loop())
        return await outcome(service.worker, job, request.is_disconnected)

    @router.post("/{conversation}/select", response_model=schemas.Turn)
    async def select(request: Request, person: Person, conversation: Id, body: schemas.Select) -> Any:
        """Select something else of the regions that there are."""
        turn_rate(person)
        loop = asyncio.get_running_loop()
        job = await run_in_threadpool(service.select, person, conversation, body.expression, loop)
        return await outcome(service.worker, job, request.is_disconnected)

    @router.post("/{conversation}/alternative", response_model=schemas.Turn)
    async def alternative(request: Request, person: Person, conversation: Id, body: schemas.TakeAlternative) -> Any:
        """Say the last turn anew with another name of a region."""
        turn_rate(person)
        loop = asyncio.get_running_loop()
        job = await run_in_threadpool(service.alternative, person, conversation, body.region, body.phrase, loop)
        return await outcome(service.worker, job, request.is_disconnected)

    @router.post("/{conversation}/undo", response_model=schemas.Conversation)
    async def undo(request: Request, person: Person, conversation: Id) -> Any:
        """Take the last turn back."""
        job = await run_in_threadpool(service.undo, person, conversation, asyncio.get_running_loop())
        await outcome(service.worker, job, request.is_disconnected)
        return await run_in_threadpool(service.view, person, conversation)

    @router.post("/{conversation}/fork", status_code=201, response_model=schemas.Conversation)
    def fork(person: Person, conversation: Id, body: schemas.Fork) -> Any:
        """A new conversation with the first turns of this one."""
        twin = records.fork(person, conversation, body.turns, body.title, limits.conversations)
        service.worker.beside(twin, conversation)
        service.warm(person, twin)
        return service.view(person, twin)

    @router.get("/{conversation}/export", response_class=Response, responses=FILE)
    def export(person: Person, conversation: Id, format: exports.Format, each: bool = False) -> Response:
        """Take the masks, or the conversation, away."""
        file = exported(service, person, conversation, format, each)
        return Response(file.content, media_type=file.media_type, headers=attachment(file.name))

    @router.get("/{conversation}/turns/{turn}/selection.png", response_class=Response, responses=PNG)
    def selection(request: Request, person: Person, conversation: Id, turn: Number) -> Response:
        """What was selected after a turn."""
        records.conversation(person, conversation)
        view = views.placed(records.turn(conversation, turn))
        return picture(request, view["key"], lambda: png(decode_rle(view["selection"]["rle"])))

    @router.get("/{conversation}/turns/{turn}/overlay.png", response_class=Response, responses=PNG)
    def overlay(request: Request, person: Person, conversation: Id, turn: Number) -> Response:
        """The photo with a turn drawn on it."""
        view = service.view(person, conversation)
        if turn > view["turns"]:
            raise not_found("a turn")
        history = view["history"][:turn]
        return picture(
            request, history[-1]["key"],
            lambda: exports.png(exports.drawn(read_photo(full(service, person, view)[0]), history)),
        )  # fmt: skip

    @router.get("/{conversation}/turns/{turn}/regions/{region}.png", response_class=Response, responses=PNG)
    def region(request: Request, person: Person, conversation: Id, turn: Number, region: Number) -> Response:
        """A region as a turn gave it."""
        records.conversation(person, conversation)
        view = views.placed(records.turn(conversation, turn))
        found = next((one for one in view["regions"] if one["id"] == region), None)
        if found is None:
            raise not_found("a region")
        return picture(request, f"{view['key']}-{region}", lambda: png(decode_rle(found["rle"])))

    return router


def streamed(service: Service, job: Job, request: Request) -> Response:
    """The events of a job as server-sent events."""

    async def lines() -> AsyncIterator[bytes]:
        async for name, data in events(service.worker, job, request.is_disconnected):
            if not name:
                yield b": alive\n\n"
                continue
            value = data.body if isinstance(data, Problem) else data
            yield f"event: {name}\ndata: {json.dumps(value, ensure_ascii=False)}\n\n".encode()

    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(lines(), media_type="text/event-stream", headers=headers)


def picture(request: Request, key: str, make: Any) -> Response:
    """A PNG that a browser may keep as long as its key stays."""
    headers = {"ETag": f'"{key}"', "Cache-Control": "private, no-cache"}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(make(), media_type="image/png", headers=headers)


def full(service: Service, person: str, view: views.Json) -> tuple[bytes, str]:
    """The photo's file as it is kept, and its suffix."""
    row = service.records.photo(person, view["photo"]["id"])
    return service.full(row), row["suffix"]


def collected(service: Service, person: str) -> Response:
    """What a person corrected in all conversations, as one ZIP; it is built on the disk."""
    records = service.records
    talks = ((records.about(talk), records.turns(talk)) for talk in records.of(person))
    file = tempfile.TemporaryFile()  # noqa: SIM115  # closed when it is sent
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in corrections.files(talks, service.full):
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    size = file.tell()
    file.seek(0)
    head = {"Content-Length": str(size), **attachment("corrections.zip")}
    return StreamingResponse(iter(lambda: file.read(2**16), b""), media_type="application/zip", headers=head)


def attachment(name: str) -> dict[str, str]:
    """The header of a download."""
    named = f"attachment; filename=\"export{_suffix(name)}\"; filename*=UTF-8''{quote(name, safe='')}"
    return {"Content-Disposition": named}


def exported(service: Service, person: str, conversation: str, kind: exports.Format, each: bool) -> exports.File:
    """A file to take away."""
    view = service.view(person, conversation)
    if kind == "session":
        text = service.records.session(conversation)
        if text is None:
            raise Problem("conflict", "a conversation with a reply", "one without", "ask for something first")
        return exports.File("conversation.session.json", "application/json", text.encode())
    if kind == "corrections":
        rows = service.records.turns(conversation)
        found = dict(corrections.files([(service.records.about(conversation), rows)], service.full))
        stem = exports.stem_of(view["photo"]["name"])
        return exports.File(f"{stem}.corrections.zip", "application/zip", exports.zipped(found))
    if kind == "prist":
        rows = service.records.turns(conversation)
        said = [None if row["record"] is None else json.loads(row["record"]) for row in rows]
        content, suffix = full(service, person, view)
        return exports.dataset(view, said, suffix, content)
    return exports.masks(view, kind, each, lambda: read_photo(full(service, person, view)[0]))


def _suffix(name: str) -> str:
    """Everything from the first dot of a file's last two, in plain letters."""
    parts = name.rsplit(".", 2)[1:]
    return "." + ".".join(part for part in parts if part.isascii() and part.isalnum())
