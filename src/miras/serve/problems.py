"""Refusals as problem+json (RFC 9457): what was expected, what was got, what to do.

In: errors of any kind. Out: `Problem`, an exception that is an answer. Knows HTTP, and no conversation.
"""

from __future__ import annotations

import logging
import math
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as StarletteError
from starlette.responses import JSONResponse, Response

from miras.core.errors import InputError, MirasError, NothingToUndo

log = logging.getLogger("miras.serve")
MEDIA_TYPE = "application/problem+json"
TITLES = {
    "malformed": (400, "The body cannot be read"),
    "unauthorised": (401, "A token is needed"),
    "forbidden": (403, "Not from there"),
    "not-found": (404, "There is no such thing"),
    "method": (405, "The address knows other methods"),
    "slow": (408, "The body came too slowly"),
    "conflict": (409, "Not now"),
    "limit": (409, "As many as there may be"),
    "too-large": (413, "Too many bytes"),
    "unsupported": (415, "Another type of content is needed"),
    "invalid": (422, "The request cannot be used"),
    "busy": (429, "The queue is full"),
    "rate": (429, "Too many requests"),
    "internal": (500, "A fault of the server"),
    "lost": (503, "Who answered is gone"),
    "stopping": (503, "The server is going down"),
    "storage": (507, "No room on the disk"),
}
"""Kind -> status and title."""


class Problem(HTTPException):
    """An error that is an answer. kind: a key of TITLES. retry_after: seconds."""

    def __init__(
        self, kind: str, expected: str, got: str, cure: str = "", *, field: str | None = None,
        retry_after: float | None = None,
    ) -> None:  # fmt: skip
        status, title = TITLES[kind]
        line = " ".join(f"expected {expected}, got {got}{f'; {cure}' if cure else ''}".split())
        headers = {} if retry_after is None else {"Retry-After": str(max(1, math.ceil(retry_after)))}
        if kind == "unauthorised":
            headers["WWW-Authenticate"] = 'Bearer realm="miras"'
        super().__init__(status, line, headers)
        self.kind = kind
        self.body: dict[str, Any] = {
            "type": f"urn:miras:problem:{kind}", "title": title, "status": status, "detail": line,
            "expected": expected, "got": got, "cure": cure, "field": field,
        }  # fmt: skip

    def response(self) -> Response:
        """As an answer."""
        return JSONResponse(self.body, self.status_code, self.headers, media_type=MEDIA_TYPE)


def of_error(error: BaseException) -> Problem:
    """The problem that any error is. What is nobody's input tells nothing of the inside."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, NothingToUndo):
        return Problem("conflict", error.expected, error.got, error.cure)
    if isinstance(error, InputError):
        kind = "conflict" if "of this model" in error.expected else "invalid"
        return Problem(kind, error.expected, error.got, error.cure)
    if isinstance(error, MirasError):
        return Problem("conflict", error.expected, error.got, error.cure)
    if isinstance(error, OSError) and error.errno in (28, 122, 30):
        return Problem("storage", "room on the server's disk", "none", "delete conversations, or tell who runs it")
    return Problem("internal", "an answer", "a fault of the server", "try again; if it stays, tell who runs it")


def not_found(what: str) -> Problem:
    """What is not there, or somebody else's: the two look the same."""
    return Problem("not-found", f"{what} of yours", "none with this id", "look at the list again")


def _of_validation(error: RequestValidationError) -> Problem:
    """The first fault that pydantic found, in our words."""
    fault = error.errors()[0]
    if fault["type"] == "json_invalid":
        return Problem("malformed", "a body of JSON", str(fault.get("ctx", {}).get("error", "other text"))[:200])
    where = [str(part) for part in fault["loc"] if part not in ("body", "query", "path")]
    name = ".".join(where) or None
    message = str(fault["msg"])
    if fault["type"] == "missing":
        return Problem("invalid", f"{name or 'a body of JSON'}", "nothing", "see docs/api.md", field=name)
    if fault["type"] == "extra_forbidden":
        return Problem("invalid", "known fields only", f"{name}"[:200], "see docs/api.md", field=name)
    expected = message.removeprefix("Value error, ").removeprefix("Input should be ").removeprefix("Input ")
    got = fault.get("input")
    shown = type(got).__name__ if isinstance(got, dict | list | bytes) else repr(got)
    return Problem("invalid", f"{name or 'the body'}: {expected}", shown[:80], field=name)


def _of_http(error: StarletteError) -> Problem:
    """Errors of the framework."""
    if error.status_code == 404:
        return Problem("not-found", "an address of this API", "another one", "see docs/api.md")
    if error.status_code == 405:
        problem = Problem("method", "another method", "this one", "see docs/api.md")
        problem.headers = {**(problem.headers or {}), **(error.headers or {})}
        return problem
    if error.status_code == 400:
        return Problem("malformed", "a body of JSON", "something that cannot be read")
    kind = next((name for name, (status, _) in TITLES.items() if status == error.status_code), "invalid")
    return Problem(kind, "another request", str(error.detail)[:200])


def install(app: FastAPI) -> None:
    """Every error of an app becomes a problem."""

    async def answer(request: Request, error: Exception) -> Response:
        if isinstance(error, Problem):
            return error.response()
        if isinstance(error, RequestValidationError):
            return _of_validation(error).response()
        if isinstance(error, StarletteError):
            return _of_http(error).response()
        problem = of_error(error)
        if problem.kind in ("internal", "storage"):
            number = getattr(request.state, "request_id", "-")
            log.error("request %s failed: %s", number, trace(error))
            problem.body["request"] = number
        return problem.response()

    for kind in (StarletteError, RequestValidationError, MirasError, OSError, Exception):
        app.add_exception_handler(kind, answer)


def trace(error: BaseException) -> str:
    """Where an error came from, without what it says: that may be somebody's words."""
    places, step = [], error.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        places.append(f"{code.co_filename.rsplit('/miras/', 1)[-1]}:{step.tb_lineno}")
        step = step.tb_next
    return f"{type(error).__name__} at {' > '.join(places[-6:])}"
