"""A server in a thread of this process, on a port of its own, and a model that says what a table says."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvicorn

from miras.chat.load import Loaded
from miras.chat.session import ChatSession
from miras.core.grammar import SPECIAL_TOKENS
from miras.serve.app import create
from miras.serve.run import bound
from miras.serve.settings import Settings

REPLIES: dict[str, Sequence[str]] = {
    "Where is the cup?": ("Here is the ", "[OBJ]", " cup", "[SEG]", "."),
    "Also the spoon.": ("[ADD]", "Added the ", "[OBJ]", " spoon", "[SEG]", "."),
    "Without the handle.": ("[CUT]", "Took away the ", "[OBJ]", " handle", "[SEG]", "."),
    "Is there a zebra?": ("[REJ]", "There is no zebra here."),
}


class Scripted(ChatSession):
    """Says what the table says; for other messages what the random model likes, with the names it weighed."""

    def stream(self, text: str, *, forced: Sequence[int] | None = None) -> Any:
        return super().stream(text, forced=self._written(text) if forced is None else forced)

    def ask(self, text: str, *, forced: Sequence[int] | None = None) -> Any:
        return super().ask(text, forced=self._written(text) if forced is None else forced)

    def _written(self, text: str) -> list[int] | None:
        if (said := REPLIES.get(text)) is None:
            return None
        one = self.model.grammar
        parts = [[one.id(part)] if part in SPECIAL_TOKENS else one.tokenizer.encode(part) for part in said]
        return [number for part in parts for number in part]


class Script(Loaded):
    """A model whose sessions follow the table."""

    def chat(self, photo: Any, **options: Any) -> ChatSession:
        return Scripted(self.model, photo, max_new_tokens=16, seed=1, **options)

    def restore(self, text: str, photo: Any = None) -> ChatSession:
        return Scripted.from_json(self.model, text, photo)


class Site:
    """A server on a port of its own, in a thread."""

    def __init__(self, loaded: Loaded, data: Path, **settings: Any) -> None:
        chosen = Settings(data, port=0, **settings)
        listening = bound(chosen)
        self.address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        self.app = create(loaded, chosen)
        self.server = uvicorn.Server(uvicorn.Config(self.app, log_config=None, access_log=False))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [listening]}, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(30)
