"""How a server is run: its address, who may ask, its limits.

In: values from the command line and the environment. Out: `Settings`, checked, or InputError with the cure. Knows no
HTTP and no model.
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path

from miras.core.errors import InputError

MIN_TOKEN = 16
"""Characters of the shortest token that is taken."""
MAKE_TOKEN = "python3 -c 'import secrets; print(secrets.token_urlsafe(32))' > tokens.txt"
TOKEN_VARIABLE = "MIRAS_TOKEN"


@dataclass(frozen=True)
class Limits:
    """What one person, or one request, may cost. Sizes in bytes, pixels and characters; counts for one person."""

    photo_bytes: int = 25 * 2**20
    photo_pixels: int = 50_000_000
    body_bytes: int = 8 * 2**20
    text_characters: int = 4000
    photos: int = 1000
    conversations: int = 1000
    turns: int = 500
    queue: int = 64
    requests_per_minute: int = 1200
    turns_per_minute: int = 120
    uploads_per_minute: int = 120
    logins_per_minute: int = 10

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise InputError(f"{name} of at least 1", str(value))


@dataclass(frozen=True)
class Settings:
    """data: the folder of the database and the photos. tokens: who may ask; none = whoever reaches the loopback
    address. hosts: further names that this server is reached by. origins: pages of other origins that may ask (CORS).
    retention_days: conversations that were not used for so long are deleted; None keeps them. session_bytes: memory
    for sessions that are kept ready; aside_bytes: disk for those that are put aside as they are. log_content: messages
    and replies go to the log, too.

    Raises InputError for an address that others reach without a token.
    """

    data: Path
    host: str = "127.0.0.1"
    port: int = 8000
    tokens: tuple[str, ...] = field(default=(), repr=False)
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    retention_days: int | None = None
    session_bytes: int = 256 * 2**20
    log_content: bool = False
    limits: Limits = field(default_factory=Limits)
    aside_bytes: int = 2 * 2**30

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise InputError("a port from 0 to 65535", str(self.port))
        if self.retention_days is not None and self.retention_days < 1:
            raise InputError("at least 1 day", str(self.retention_days), "leave it out to keep everything")
        for size in (self.session_bytes, self.aside_bytes):
            if size < 0:
                raise InputError("0 bytes or more for sessions", str(size))
        for token in self.tokens:
            if len(token) < MIN_TOKEN or not (token.isascii() and token.isprintable()) or " " in token:
                got = f"one of {len(token)} characters" if len(token) < MIN_TOKEN else "one with other characters"
                raise InputError(f"tokens of at least {MIN_TOKEN} plain characters without spaces", got, MAKE_TOKEN)
        for origin in self.origins:
            if not origin.startswith(("http://", "https://")) or origin.count("/") != 2:
                raise InputError("an origin as https://example.org", repr(origin), "leave path and last slash out")
        if not self.tokens and not is_loopback(self.host):
            cure = f"make one: {MAKE_TOKEN} ; then add --token-file tokens.txt, or leave --host out"
            raise InputError(f"a token for {self.host}, an address that others reach", "none", cure)

    @property
    def names(self) -> frozenset[str]:
        """Names that a request's `Host` may have, small letters, without port."""
        own = {self.host.lower().strip("[]"), *(name.lower() for name in self.hosts)}
        return frozenset({"localhost", "127.0.0.1", "::1", *own} - {"0.0.0.0", "::", ""})

    @property
    def any_address(self) -> bool:
        """Whether every address of the machine is listened on; a `Host` that is a bare address is its own then."""
        return self.host in ("0.0.0.0", "::", "")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def read_tokens(file: Path | None) -> tuple[str, ...]:
    """The tokens of a file, one a line (empty lines and those that begin with # are left out), and of MIRAS_TOKEN."""
    lines: list[str] = []
    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise InputError("a file of tokens, one a line", f"{file}: {error}", MAKE_TOKEN) from error
    found = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if file is not None and not found:
        raise InputError("at least one token", f"none in {file}", MAKE_TOKEN)
    if token := os.environ.get(TOKEN_VARIABLE, "").strip():
        found.append(token)
    return tuple(dict.fromkeys(found))


def default_data() -> Path:
    """Where conversations are kept when nothing else is said."""
    home = os.environ.get("XDG_DATA_HOME", "")
    return (Path(home) if home else Path.home() / ".local" / "share") / "miras"
