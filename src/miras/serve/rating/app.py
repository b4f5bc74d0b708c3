"""The app of `miras serve --rate`: sheets, their pictures, and answers that are in the file before they are told.

In: sheets and settings. Out: an ASGI app that needs no model. With as many tokens as sheets each token opens its own
sheet; with one token, or none, all are open. Knows HTTP; what happens is in `sheets.py`.
"""

import tempfile
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi import Path as InPath
from pydantic import Field
from starlette.responses import Response

from miras import __version__
from miras.core.errors import InputError
from miras.serve import problems, schemas
from miras.serve.app import page_routes, session_routes
from miras.serve.database import Database
from miras.serve.metrics import Metrics
from miras.serve.problems import not_found
from miras.serve.rating.audit import open_audit
from miras.serve.rating.people import open_people
from miras.serve.rating.sheets import COMMENT, Sheet, Table
from miras.serve.records import Records
from miras.serve.security import Doors, Guard, owner_of
from miras.serve.settings import Settings
from miras.serve.turns import PREFIX

Name = Annotated[str, InPath(max_length=200)]


class Rated(schemas.Body):
    """Answers of one item, by question; null takes one back. comment: null leaves it."""

    answers: Annotated[
        dict[str, Annotated[str, Field(max_length=40)] | None], Field(max_length=40, default_factory=dict)
    ]
    comment: Annotated[str, Field(max_length=COMMENT)] | None = None


def open_sheet(path: Path) -> Sheet:
    """A sheet of an audit or a study, told by its columns. Raises InputError."""
    if not path.is_file():
        got = "a folder" if path.is_dir() else "none"
        raise InputError(f"a rating sheet (CSV) at {path}", got, "give sheets/rater_01.csv, or rater-1.csv of an audit")
    table = Table(path.resolve())
    return open_people(table) if "criterion" in table.read()[0] else open_audit(table)


def open_sheets(paths: list[Path], settings: Settings) -> dict[str, Sheet]:
    """All sheets by name. Raises InputError for two of one name, or tokens that do not go with them."""
    sheets = [open_sheet(path) for path in paths]
    named = {sheet.name: sheet for sheet in sheets}
    if len(named) < len(sheets):
        raise InputError("sheets of different names", "two alike", "serve them one by one, each at a --port of its own")
    if len(settings.tokens) not in (0, 1, len(sheets)):
        got = f"{len(settings.tokens)} tokens for {len(sheets)} sheets"
        raise InputError("no token, one, or one for each sheet in their order", got, "mend --token-file")
    return named


def create(sheets: dict[str, Sheet], settings: Settings, static: Path | None = None) -> FastAPI:
    """The app. sheets: of `open_sheets`."""
    app = FastAPI(title="miras", version=__version__, openapi_url=None, docs_url=None, redoc_url=None)
    app.state.place = tempfile.TemporaryDirectory(prefix="miras-rate-")  # logins are of this run
    doors = Doors(settings, Records(Database(Path(app.state.place.name))))
    problems.install(app)
    router = APIRouter(prefix=PREFIX)
    session_routes(router, doors, settings)
    _rating(router, sheets, doors, settings)

    @router.get("/health")
    def health() -> Any:
        return {"status": "alive", "version": __version__}

    app.include_router(router)
    page_routes(app, static, "rate.html")
    app.add_middleware(Guard, settings=settings, metrics=Metrics())
    return app


def _rating(router: APIRouter, sheets: dict[str, Sheet], doors: Doors, settings: Settings) -> None:
    Person = Annotated[str, Depends(doors.person)]
    one_each = len(settings.tokens) == len(sheets) > 1
    owners = [owner_of(token) for token in settings.tokens]
    theirs = dict(zip(owners, sheets, strict=True)) if one_each else {}

    def mine(person: str) -> dict[str, Sheet]:
        return {theirs[person]: sheets[theirs[person]]} if one_each else sheets

    def sheet_of(person: str, name: str) -> Sheet:
        found = mine(person).get(name)
        if found is None:
            raise not_found("a sheet")
        return found

    @router.get("/rating")
    def listed(person: Person) -> Any:
        """The sheets that a person may fill in."""
        return {"items": [
            {"name": one.name, "rater": one.rater, "title": one.title, "items": len(one.items), "done": one.done}
            for one in mine(person).values()
        ]}  # fmt: skip

    @router.get("/rating/{name}")
    def whole(person: Person, name: Name) -> Any:
        """A sheet with its answers."""
        return sheet_of(person, name).view(lambda file: f"{PREFIX}/rating/{name}/pictures/{file}")

    @router.put("/rating/{name}/items/{item}")
    def answer(person: Person, name: Name, item: Name, body: Rated) -> Any:
        """Answers of an item; they are in the file when this is told."""
        return sheet_of(person, name).save(item, body.answers, body.comment)

    @router.get("/rating/{name}/sheet.csv", response_class=Response)
    def taken(person: Person, name: Name) -> Response:
        """The file itself."""
        sheet = sheet_of(person, name)
        head = {"Content-Disposition": 'attachment; filename="sheet.csv"'}
        return Response(sheet.table.path.read_bytes(), media_type="text/csv; charset=utf-8", headers=head)

    @router.get("/rating/{name}/pictures/{file:path}", response_class=Response)
    def picture(request: Request, person: Person, name: Name, file: Name) -> Response:
        """One of the sheet's own pictures."""
        path = sheet_of(person, name).pictures.get(file)
        if path is None:
            raise not_found("a picture")
        kind = "image/png" if path.suffix == ".png" else "image/jpeg"
        return Response(path.read_bytes(), media_type=kind, headers={"Cache-Control": "private, max-age=86400"})
