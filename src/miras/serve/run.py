"""The server process: an address, an orderly end.

In: an app, settings. Out: a server that answers until it is told to stop. SIGTERM and Ctrl-C: no new questions, the
turn that runs comes to its end, what waits stays open and can be retried.
"""

from __future__ import annotations

import logging
import signal
import socket
import sys
import threading
from types import FrameType

import uvicorn
from fastapi import FastAPI

from miras.core.errors import InputError
from miras.serve.settings import Settings
from miras.serve.worker import Worker

STOP_SECONDS = 30


class Server(uvicorn.Server):
    """uvicorn, which empties the queue at once when it is told to stop: streams that wait would hold it up."""

    def __init__(self, config: uvicorn.Config, worker: Worker | None) -> None:
        super().__init__(config)
        self.worker = worker

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal."""
        if self.worker is not None:  # the signal may have come within its lock
            threading.Thread(target=self.worker.drain, daemon=True).start()
        super().handle_exit(sig, frame)


def bound(settings: Settings) -> socket.socket:
    """A socket at the address. Raises InputError when it is taken, or none of this machine."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((settings.host.strip("[]"), settings.port))
        found.listen(128)
    except OSError as error:
        found.close()
        got = f"{settings.host}:{settings.port} ({error.strerror or error})"
        raise InputError("a free address of this machine", got, "give another --port") from error
    return found


def address_of(settings: Settings, listening: socket.socket) -> str:
    """What a person types into a browser."""
    host, port = listening.getsockname()[:2]
    shown = "localhost" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"


def serve(app: FastAPI, listening: socket.socket) -> None:
    """Answer until a signal comes."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(message)s")
    logging.getLogger("miras.serve").setLevel(logging.INFO)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=STOP_SECONDS,
        timeout_keep_alive=30, lifespan="on",
    )  # fmt: skip
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises it once more when it has stopped
        signal.signal(number, lambda *_: None)
    service = getattr(app.state, "service", None)
    Server(config, None if service is None else service.worker).run(sockets=[listening])
