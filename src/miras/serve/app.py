"""The app: photos, sessions of browsers, operations, the page's files, and all routes together.

In: a model and settings. Out: an ASGI app. Knows HTTP; what happens is in `service.py`.
"""

import asyncio
import contextlib
import mimetypes
from collections.abc import AsyncIterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi import Path as InPath
from starlette.concurrency import run_in_threadpool
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, PlainTextResponse, Response

from miras import __version__
from miras.chat.load import Loaded
from miras.core.photo import photo_size
from miras.serve import api, photos, problems, schemas
from miras.serve.desk.local import Desk
from miras.serve.device import routes as device
from miras.serve.photos import Variant
from miras.serve.problems import MEDIA_TYPE, Problem
from miras.serve.records import new_id
from miras.serve.security import COOKIE, LOGIN_SECONDS, WORKER_POLICY, Doors, Guard
from miras.serve.service import Service
from miras.serve.settings import Settings
from miras.serve.turns import PREFIX, photo_view

HOUR = 3600.0
NO_PAGE = f"The page is not part of this installation. The API is at {PREFIX}; docs/api.md describes it.\n"
UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}}
            for kind in ("image/jpeg", "image/png", "application/octet-stream")
        },
    }
}
JPEG: dict[int | str, Any] = {200: {"description": "A picture", "content": {"image/jpeg": {}, "image/png": {}}}}
ARCHIVE: dict[int | str, Any] = {200: {"description": "An archive", "content": {"application/zip": {}}}}
PROBLEM = {"$ref": "#/components/schemas/ProblemBody"}
REFUSALS: dict[int | str, Any] = {
    status: {"description": title, "content": {MEDIA_TYPE: {"schema": PROBLEM}}}
    for status, title in problems.TITLES.values()
}


def create(
    loaded: Loaded, settings: Settings, static: Path | None = None, desks: Sequence[Desk] = ()
) -> FastAPI:  # fmt: skip
    """The app of one server; it works while its lifespan does. static: the folder of the page's files. desks: where
    models answer; by default one, here.

    Raises InputError when the folder of the data cannot be used.
    """
    service = Service(loaded, settings, desks)
    doors = Doors(settings, service.records)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(service.start)
        task = asyncio.create_task(_hourly(service))
        try:
            yield
        finally:
            task.cancel()
            await run_in_threadpool(service.close)

    app = FastAPI(
        title="miras", version=__version__, description="Conversations about photographs: docs/api.md.",
        lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None,
    )  # fmt: skip
    app.state.service = service
    problems.install(app)
    router = APIRouter(prefix=PREFIX, responses=REFUSALS)
    session_routes(router, doors, settings)
    _photos(router, service, doors)
    _operations(router, service, doors)
    router.include_router(api.routes(service, doors))
    router.include_router(device.routes(service, doors))

    @router.get("/corrections", response_class=Response, responses=ARCHIVE, tags=["conversations"])
    def collected(person: Annotated[str, Depends(doors.person)]) -> Response:
        """What was corrected in all conversations, as training data."""
        return api.collected(service, person)

    @router.get("/openapi.json", include_in_schema=False)
    def openapi() -> Response:
        return JSONResponse(app.openapi())

    app.include_router(router)
    _described(app)
    person = Annotated[str, Depends(doors.person)]

    @app.get("/metrics", include_in_schema=False)
    def metrics(_: person) -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    device.engine_routes(app)
    page_routes(app, static)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=list(settings.origins), allow_methods=["GET", "POST", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type"], expose_headers=["Retry-After", "X-Request-Id"],
        )  # fmt: skip
    app.add_middleware(Guard, settings=settings, metrics=service.metrics)
    return app


async def _hourly(service: Service) -> None:
    """Retention."""
    while True:
        await asyncio.sleep(HOUR)
        with contextlib.suppress(OSError):
            await run_in_threadpool(service.tidy)


def _described(app: FastAPI) -> None:
    """The OpenAPI document, with the shape of a problem in it."""
    make = app.openapi

    def openapi() -> dict[str, Any]:
        document = make()
        known = document.setdefault("components", {}).setdefault("schemas", {})
        known.setdefault("ProblemBody", schemas.ProblemBody.model_json_schema())
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def session_routes(router: APIRouter, doors: Doors, settings: Settings) -> None:
    """Who asks: cookies for browsers."""
    kind = "token" if settings.tokens else "none"

    @router.get("/session", response_model=schemas.Session, tags=["session"])
    def session(request: Request) -> Any:
        """Whether a token is needed, and whether the browser has shown one."""
        owner, csrf = doors.who(request)
        return {"auth": kind, "signed_in": owner is not None, "csrf": csrf}

    @router.post("/login", response_model=schemas.Session, tags=["session"])
    def login(request: Request, response: Response, body: schemas.Login) -> Any:
        """Show a token, get a cookie."""
        cookie, csrf = doors.login(request, body.token)
        response.set_cookie(
            COOKIE, cookie, max_age=LOGIN_SECONDS, httponly=True, samesite="strict", path="/",
            secure=request.url.scheme == "https",
        )  # fmt: skip
        return {"auth": kind, "signed_in": True, "csrf": csrf}

    @router.post("/logout", status_code=204, response_class=Response, tags=["session"])
    def logout(request: Request, _: Annotated[str, Depends(doors.person)]) -> Response:
        """Void the cookie."""
        doors.logout(request)
        response = Response(status_code=204)
        response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
        return response


def _photos(router: APIRouter, service: Service, doors: Doors) -> None:
    """Photos and samples."""
    Person = Annotated[str, Depends(doors.person)]
    Id = Annotated[str, InPath(max_length=80)]
    limits = service.settings.limits

    def keep(person: str, content: bytes, name: str, sample: str | None = None) -> dict[str, Any]:
        prepared = photos.prepare(content, limits)
        photo = new_id("p")
        service.photos.put(photo, prepared)
        row = {
            "id": photo, "name": photos.shown_name(name), "width": prepared.width, "height": prepared.height,
            "bytes": len(prepared.content["full"]), "suffix": prepared.suffix, "sample": sample,
        }  # fmt: skip
        try:
            service.records.add_photo(person, row, limits.photos)
        except BaseException:
            service.photos.delete(photo)
            raise
        return photo_view(service.records.photo(person, photo))

    @router.get("/samples", response_model=schemas.Samples, tags=["photos"])
    def samples(_: Person) -> Any:
        """Photos that ship with the program."""
        return {"items": [_sample(name) for name in photos.CREDITS]}

    @router.get("/samples/{name}/image", response_class=Response, responses=JPEG, tags=["photos"])
    def sample_image(_: Person, name: Id) -> Response:
        """One of them."""
        if name not in photos.CREDITS:
            raise Problem("not-found", f"a sample: {', '.join(photos.CREDITS)}", "another name")
        return Response(
            photos.sample(name), media_type="image/jpeg", headers={"Cache-Control": "private, max-age=86400"}
        )

    @router.post("/photos", status_code=201, response_model=schemas.Photo, openapi_extra=UPLOAD, tags=["photos"])
    async def upload(request: Request, person: Person, name: Annotated[str, Query(max_length=1000)] = "photo") -> Any:
        """Upload a photo: its bytes are the body."""
        doors.rates.take(f"uploads {person}", limits.uploads_per_minute)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if not (kind.startswith("image/") or kind == "application/octet-stream"):
            cure = "send the bytes of the photo as the body, not a form"
            raise Problem("unsupported", "image/... or application/octet-stream", repr(kind)[:80], cure)
        return await run_in_threadpool(keep, person, await request.body(), name)

    @router.post("/photos/sample", status_code=201, response_model=schemas.Photo, tags=["photos"])
    def take_sample(person: Person, body: schemas.SampleBody) -> Any:
        """Take a photo that ships with the program."""
        doors.rates.take(f"uploads {person}", limits.uploads_per_minute)
        return keep(person, photos.sample(body.sample), f"{body.sample}.jpg", body.sample)

    @router.get("/photos/{photo}", response_model=schemas.Photo, tags=["photos"])
    def photo(person: Person, photo: Id) -> Any:
        """One photo."""
        return photo_view(service.records.photo(person, photo))

    @router.get("/photos/{photo}/image", response_class=Response, responses=JPEG, tags=["photos"])
    def image(person: Person, photo: Id, variant: Variant = "full") -> Response:
        """Its picture."""
        row = service.records.photo(person, photo)
        content = service.photos.read(row["id"], variant, row["suffix"])
        kind = photos.media_type(variant, row["suffix"])
        return Response(content, media_type=kind, headers={"Cache-Control": "private, max-age=86400, immutable"})

    @router.delete("/photos/{photo}", status_code=204, response_class=Response, tags=["photos"])
    def delete(person: Person, photo: Id) -> Response:
        """Delete a photo that no conversation uses."""
        service.records.delete_photo(person, photo)
        service.photos.delete(photo)
        return Response(status_code=204)


def _sample(name: str) -> dict[str, Any]:
    what, credit = photos.CREDITS[name]
    height, width = photo_size(photos.sample(name))
    address = f"{PREFIX}/samples/{name}/image"
    return {"name": name, "what": what, "width": width, "height": height, "credit": credit, "image_url": address}


def _operations(router: APIRouter, service: Service, doors: Doors) -> None:
    """Limits, health, readiness."""
    limits, settings = service.settings.limits, service.settings

    @router.get("/limits", response_model=schemas.LimitsAnswer, tags=["operations"])
    def limited(_: Annotated[str, Depends(doors.person)]) -> Any:
        """What one person, or one request, may cost."""
        told = {name: value for name, value in vars(limits).items() if name != "logins_per_minute"}
        return {**told, "retention_days": settings.retention_days, "model": Path(service.loaded.name).name}

    @router.get("/health", response_model=schemas.Health, tags=["operations"])
    def health() -> Any:
        """The process answers."""
        return {"status": "alive", "version": __version__}

    @router.get("/ready", response_model=schemas.Ready, tags=["operations"])
    def ready(response: Response) -> Any:
        """Whether questions are taken."""
        is_ready = service.worker.alive and service.records.writable()
        response.status_code = 200 if is_ready else 503
        return {"ready": is_ready, "model": Path(service.loaded.name).name, "queue": service.worker.length}


def page_routes(app: FastAPI, static: Path | None, index: str = "index.html") -> None:
    """The page's files: those that were there when the server started, and no other path. index: what "/" is."""
    folder = static or Path(str(files("miras"))) / "serve" / "static"
    known = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}

    @app.get("/{path:path}", include_in_schema=False)
    def file(path: str) -> Response:
        if path.startswith("api/"):
            raise Problem("not-found", "an address of this API", "another one", "see docs/api.md")
        found = known.get(path or index)
        if found is None:
            told = NO_PAGE if index not in known else "There is no such page.\n"
            return PlainTextResponse(told, 404)
        kind = mimetypes.guess_type(found.name)[0] or "application/octet-stream"
        kept = "public, max-age=31536000, immutable" if path.startswith("assets/") else "no-cache"
        more = WORKER_POLICY if found.name.startswith("worker-") else {}
        return Response(found.read_bytes(), media_type=kind, headers={"Cache-Control": kept, **more})
