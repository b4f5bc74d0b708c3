"""A photo from an address, fetched because a person asked for it (`--url`).

In: an http or https address. Out: the bytes of a photo, at most so many, within so many seconds; or one InputError.
The standard library alone; a proxy is taken from the environment as usual.
"""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from miras import __version__
from miras.core.errors import InputError

MOST_BYTES = 50_000_000
SECONDS = 30.0
"""For the whole answer."""
_BLOCK = 1 << 16
_UNTYPED = ("", "application/octet-stream", "binary/octet-stream")
_ENDINGS = {"JPEG": ".jpg", "MPO": ".jpg", "JPEG2000": ".jp2", "HEIF": ".heic"}
"""Of a format's name in Pillow; the others end as they are called."""


def fetch(address: str, *, most: int = MOST_BYTES, seconds: float = SECONDS) -> bytes:
    """The content at an address, at most `most` bytes within so many `seconds`.

    Raises InputError for another scheme, and an answer that is no picture, is too large or too slow, or does not come.
    """
    parts = urlsplit(address)
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname:
        raise InputError(
            "an address that begins with http:// or https://", repr(address)[:200], "leave --url out for a file"
        )
    request = urllib.request.Request(address, headers={"User-Agent": f"miras/{__version__}", "Accept": "image/*"})
    end = time.monotonic() + seconds
    try:
        with _opener().open(request, timeout=seconds) as answer:
            kind = (answer.headers.get_content_type() if answer.headers.get("Content-Type") else "").lower()
            if not (kind.startswith("image/") or kind in _UNTYPED):
                raise InputError(
                    f"a photo at {address}", kind, "give the address of the picture, not of a page with it"
                )
            return _content(answer, address, most, end)
    except urllib.error.HTTPError as error:
        raise InputError(f"a photo at {address}", f"{error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error or type(error).__name__
        raise InputError(f"an answer from {address} within {seconds:g} seconds", str(reason)) from error


def _opener() -> urllib.request.OpenerDirector:
    """http and https alone: an answer may not lead to a file of this machine or to other schemes."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler, urllib.request.UnknownHandler, urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler, urllib.request.HTTPDefaultErrorHandler, urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
    ):  # fmt: skip
        opener.add_handler(handler())
    return opener


def _content(answer: http.client.HTTPResponse, address: str, most: int, end: float) -> bytes:
    """The body. Raises InputError as soon as it is known to be too large or too slow."""
    told = answer.headers.get("Content-Length", "")
    length = int(told) if told.isdigit() else None
    found = bytearray()
    while length is None or length <= most:
        block = answer.read1(_BLOCK)
        if not block:
            break
        found += block
        if len(found) > most:
            break
        if time.monotonic() > end:
            raise TimeoutError(f"{len(found)} bytes until then")
    if len(found) > most or (length or 0) > most:
        cure = "download it and make it smaller first"
        raise InputError(f"a photo of at most {most / 1e6:g} MB", f"more at {address}", cure)
    if length is not None and len(found) < length:
        raise InputError(f"{length} bytes from {address}", f"{len(found)}", "try again")
    return bytes(found)


def photo_at(address: str, out: Path | None) -> bytes | Path:
    """The photo at an address, known to be one; where there is a folder `out`, as a file in it. Raises InputError."""
    from miras.cli.output import write
    from miras.core.files import folder
    from miras.core.photo import format_of, read_photo

    content = fetch(address)
    try:
        read_photo(content)
    except InputError as error:
        raise InputError(error.expected, error.got.replace("the bytes", address), error.cure) from error
    if out is None:
        return content
    name = format_of(content)
    return write(folder(out) / f"photo{_ENDINGS.get(name, '.' + name.lower())}", content)
