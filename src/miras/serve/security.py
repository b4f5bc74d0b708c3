"""Who may ask, from where, how much and how often.

In: requests. Out: the owner of what is asked for, or a problem; headers on every answer. Names of the server and
origins are checked, so that a page of somebody else cannot speak through the browser of a user. Knows no conversation.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import logging
import secrets
import threading
import time
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from miras.serve.metrics import Metrics
from miras.serve.problems import Problem
from miras.serve.records import Records
from miras.serve.settings import Settings
from miras.serve.turns import PREFIX

log = logging.getLogger("miras.serve")
COOKIE, CSRF = "miras_session", "X-CSRF-Token"
LOGIN_SECONDS = 30 * 24 * 3600
BODY_SECONDS = 60.0
"""Seconds in which a body has to be there."""
LOCAL = "local"
"""Whose everything is where no token is needed."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; font-src 'self'; manifest-src 'self'; worker-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}
POLICY = "Content-Security-Policy"
WORKER_POLICY = {POLICY: HEADERS[POLICY].replace("script-src 'self'", "script-src 'self' 'wasm-unsafe-eval'")}
"""Of the scripts that run WebAssembly beside the page; the page itself may not."""


class Rates:
    """Token buckets: so many a minute, in bursts of a whole minute at most."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left: dict[str, tuple[float, float]] = {}

    def take(self, key: str, per_minute: int) -> None:
        """One of a key. Raises the problem `rate`."""
        with self._lock:
            now = time.monotonic()
            if len(self._left) > 10_000:
                self._left = {one: value for one, value in self._left.items() if now - value[1] < 60}
            left, then = self._left.get(key, (float(per_minute), now))
            left = min(float(per_minute), left + (now - then) * per_minute / 60)
            self._left[key] = (left - 1 if left >= 1 else left, now)
        if left < 1:
            wait = (1 - left) * 60 / per_minute
            raise Problem("rate", f"at most {per_minute} a minute", "more", "wait a little", retry_after=wait)


class Doors:
    """Tokens, cookies and rates: says who asks."""

    def __init__(self, settings: Settings, records: Records) -> None:
        self.settings, self.records, self.rates = settings, records, Rates()
        self._owners = {hashlib.sha256(token.encode()).digest(): owner_of(token) for token in settings.tokens}

    def owner(self, token: str) -> str | None:
        """Whose a token is; all are compared, in the same time whichever it is."""
        given, found = hashlib.sha256(token.encode("utf-8", "replace")).digest(), None
        for known, owner in self._owners.items():
            if hmac.compare_digest(known, given):
                found = owner
        return found

    def who(self, request: Request) -> tuple[str | None, str | None]:
        """(owner, csrf of the cookie); owner None for nobody."""
        if not self.settings.tokens:
            return LOCAL, None
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self.owner(token.strip()), None
        cookie = request.cookies.get(COOKIE)
        row = None if cookie is None else self.records.login(_hash(cookie))
        if row is None or row["owner"] not in self._owners.values():
            return None, None
        return row["owner"], row["csrf"]

    def person(self, request: Request) -> str:
        """The owner, or a problem: `unauthorised`, `forbidden`, `rate`."""
        owner, csrf = self.who(request)
        if owner is None:
            self.rates.take(f"failed {_address(request)}", 60)
            raise Problem("unauthorised", "a token of this server", "none or another", "Authorization: Bearer TOKEN")
        if csrf is not None and request.method not in ("GET", "HEAD"):
            given = request.headers.get(CSRF, "").encode("utf-8", "replace")
            if not hmac.compare_digest(csrf.encode(), given):
                raise Problem("forbidden", f"the header {CSRF}", "none or another", "take it from /api/v1/session")
        self.rates.take(f"asks {owner}", self.settings.limits.requests_per_minute)
        return owner

    def login(self, request: Request, token: str) -> tuple[str, str]:
        """(cookie, csrf) for a token. Raises `unauthorised` and `rate`."""
        self.rates.take(f"login {_address(request)}", self.settings.limits.logins_per_minute)
        owner = self.owner(token) if self.settings.tokens else None
        if owner is None:
            cure = "look it up where the server was started" if self.settings.tokens else "no token is needed here"
            raise Problem("unauthorised", "a token of this server", "another", cure)
        cookie, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(18)
        self.records.add_login(_hash(cookie), owner, csrf, time.time() + LOGIN_SECONDS)
        return cookie, csrf

    def logout(self, request: Request) -> None:
        """The cookie of a request is void."""
        if cookie := request.cookies.get(COOKIE):
            self.records.drop_login(_hash(cookie))


def owner_of(token: str) -> str:
    """Whose a token is, in the database: tokens themselves are never kept."""
    return hashlib.sha256(b"miras owner " + token.encode()).hexdigest()[:32]


def _hash(cookie: str) -> str:
    return hashlib.sha256(cookie.encode("utf-8", "replace")).hexdigest()


def _address(request: Request) -> str:
    return request.client.host if request.client else "-"


class Guard:
    """Around the whole app: names and origins, sizes of bodies, headers, one line of log and the metrics."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self.app, self.settings, self.metrics = app, settings, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        number, started, status = secrets.token_hex(8), time.monotonic(), 0
        scope.setdefault("state", {})["request_id"] = number

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = number
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if scope["path"].startswith("/api/"):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            headers = Headers(scope=scope)
            self._from_here(headers, scope)
            await self.app(scope, self._measured(headers, scope, receive), answer)
        except Problem as problem:
            await problem.response()(scope, receive, answer)
        finally:
            self._note(scope, number, status, time.monotonic() - started)

    def _from_here(self, headers: Headers, scope: Scope) -> None:
        """Raises `forbidden` for another name of the server, and for pages of other origins."""
        host = headers.get("host", "")
        name = name_of(host)
        if not (name in self.settings.names or (self.settings.any_address and _is_address(name))):
            cure = "add --allow-host NAME where the server is started"
            raise Problem("forbidden", "a name of this server", repr(host)[:80], cure)
        if not scope["path"].startswith(("/api/", "/metrics")):
            return
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "")
        if origin is not None and origin in self.settings.origins:
            return
        if (origin is not None and urlsplit(origin).netloc.lower() != host.lower()) or site in (
            "cross-site",
            "same-site",
        ):
            cure = "add --allow-origin ORIGIN where the server is started"
            raise Problem("forbidden", "a page of this server", f"one of {origin or 'another site'}"[:80], cure)

    def _measured(self, headers: Headers, scope: Scope, receive: Receive) -> Receive:
        """`receive`, which refuses bodies that are too large or too slow."""
        limits = self.settings.limits
        most = limits.photo_bytes if scope["path"] == f"{PREFIX}/photos" else limits.body_bytes
        seen, ended, latest = 0, False, asyncio.get_running_loop().time() + BODY_SECONDS
        declared = headers.get("content-length", "0")
        too_large = Problem("too-large", f"at most {most} bytes", "more", "make it smaller first")
        if not (declared.isascii() and declared.isdigit()) or int(declared) > most:
            raise too_large

        async def measured() -> Message:
            nonlocal seen, ended
            if ended:
                return await receive()
            try:
                async with asyncio.timeout_at(latest):  # no task of its own: whether somebody left is asked in passing
                    message = await receive()
            except TimeoutError:
                raise Problem("slow", "a body within a minute", "less than that", "send it again") from None
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                ended = not message.get("more_body", False)
                if seen > most:
                    raise too_large
            return message

        return measured

    def _note(self, scope: MutableMapping[str, Any], number: str, status: int, seconds: float) -> None:
        """Count an answer, and write it down without what was said: the route, not the address."""
        route = getattr(scope.get("route"), "path", "-")
        if scope["path"].startswith(PREFIX) and route.startswith("/") and not route.startswith(PREFIX):
            route = PREFIX + route  # of a route in a router the path within it
        self.metrics.requests.labels(scope["method"] if route != "-" else "-", route, str(status)).inc()
        self.metrics.request_seconds.labels(route).observe(seconds)
        log.info("%s %s %s %d %.0f ms", number, scope["method"][:10], route, status, 1000 * seconds)


def name_of(host: str) -> str:
    """The name in a `Host` header: small letters, without port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].rstrip(".").lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
