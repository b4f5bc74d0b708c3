"""The routes of what a browser draws masks with. docs/api.md describes each.

In: requests of a person. Out: graphs, the words of a region, the engine's files. Nothing is computed here: a session
that is not ready is made ready when nobody waits, and is refused until then. Knows HTTP.
"""

import base64
import threading
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi import Path as InPath
from starlette.responses import FileResponse, Response

from miras.core.errors import MirasError
from miras.serve import schemas
from miras.serve.device.graphs import Graphs, engine, engine_file, graphs_of
from miras.serve.problems import Problem, not_found
from miras.serve.security import WORKER_POLICY, Doors
from miras.serve.service import Service

KEPT = "max-age=31536000, immutable"
TYPES = {"mjs": "text/javascript", "wasm": "application/wasm"}
GRAPH: dict[int | str, Any] = {200: {"description": "A file", "content": {"application/octet-stream": {}}}}
Name = Annotated[str, InPath(max_length=80)]


class File(schemas.Answer):
    """One of a part."""

    name: str
    bytes: int


class GraphsAnswer(schemas.Answer):
    """What a browser needs to draw masks: parts by name, their files in order."""

    weights: str
    engine: str
    config: dict[str, Any]
    parts: dict[str, list[File]]


class States(schemas.Answer):
    """Float32, little endian, in base64."""

    shape: list[int]
    data: str


class WordsAnswer(schemas.Answer):
    """What the decoder is told of a region."""

    region: int | None
    span: States | None
    memory: list[int]


def routes(service: Service, doors: Doors) -> APIRouter:
    """The router of graphs and words."""
    router = APIRouter(tags=["device"])
    Person = Annotated[str, Depends(doors.person)]
    lock, found = threading.Lock(), list[Graphs]()

    def offered() -> Graphs:
        with lock:  # the digest of a model is made once; a missing export may be made while the server runs
            if not found:
                try:
                    found.append(graphs_of(service.loaded))
                except (MirasError, OSError) as error:
                    told = error if isinstance(error, MirasError) else MirasError("an exported model", str(error))
                    raise Problem("conflict", told.expected, told.got, told.cure) from error
            return found[0]

    @router.get("/graphs", response_model=GraphsAnswer)
    def graphs(_: Person) -> Any:
        """What a browser needs to draw masks itself."""
        if not (version := engine()["version"]):
            raise Problem("conflict", "the engine for browsers", "an installation without it", "install miras anew")
        one = offered()
        parts = {
            part: [{"name": name, "bytes": (one.folder / name).stat().st_size} for name in names]
            for part, names in one.parts.items()
        }
        return {"weights": one.weights, "engine": f"/engine/{version}/", "config": one.config, "parts": parts}

    @router.get("/graphs/{weights}/{name}", response_class=FileResponse, responses=GRAPH)
    def graph(_: Person, weights: Name, name: Name) -> Response:
        """A file of a part."""
        path = offered().path(weights, name)
        if path is None or not path.is_file():
            raise not_found("a graph")
        return FileResponse(path, media_type="application/octet-stream", headers={"Cache-Control": f"private, {KEPT}"})

    @router.get("/conversations/{conversation}/words", response_model=WordsAnswer)
    def words(person: Person, conversation: Name, region: Annotated[int | None, Query(ge=1, le=2**31)] = None) -> Any:
        """What the decoder is told of a region, or of one that is not there yet."""
        service.records.conversation(person, conversation)
        found = service.words(conversation, region)
        if found is None:
            service.warm(person, conversation)
            cure = "ask again in a moment, or let the server draw"
            raise Problem("conflict", "a conversation that is ready", "one that is being read", cure, retry_after=1)
        span, memory = found
        return {"region": region, "span": None if span is None else _states(span), "memory": list(memory)}

    return router


def _states(span_SE: Any) -> dict[str, Any]:
    content = np.ascontiguousarray(span_SE, "<f4")
    return {"shape": list(content.shape), "data": base64.b64encode(content.tobytes()).decode("ascii")}


def engine_routes(app: FastAPI) -> None:
    """The engine's files; like the page's they need no token."""

    @app.get("/engine/{version}/{name}", include_in_schema=False)
    def file(request: Request, version: Name, name: Name) -> Response:
        if version != engine()["version"] or name not in engine()["files"]:
            return Response("There is no such file.\n", 404, media_type="text/plain")
        squeezed = "gzip" in request.headers.get("accept-encoding", "")
        headers = {"Cache-Control": f"public, {KEPT}", "Vary": "Accept-Encoding", **WORKER_POLICY}
        if squeezed:
            headers["Content-Encoding"] = "gzip"
        kind = TYPES.get(name.rpartition(".")[2], "application/octet-stream")
        return Response(engine_file(name, squeezed), media_type=kind, headers=headers)
