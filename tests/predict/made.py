"""A tiny model that says what is written here, for any process of a run; photos; the files of a run."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from miras.chat.reply import Reply
from miras.chat.session import ChatSession
from miras.core.errors import InputError
from miras.model import presets
from miras.predict import work
from tests.centred import centred

OBJ, SEG, ADD, CUT, REJ = ("[OBJ]", "[SEG]", "[ADD]", "[CUT]", "[REJ]")
CUP, SPOON, DRAGON, HELLO, LONG = "Where is the cup?", "Also the spoon.", "A dragon?", "Hello.", "Too long."
WRITTEN = {
    CUP: ("It is the ", OBJ, " cup", SEG, "."),
    SPOON: (ADD, "And the ", OBJ, " spoon", SEG, "."),
    "Without the spoon.": (CUT, "Without the ", OBJ, " spoon", SEG, "."),
    DRAGON: (REJ, "There is no dragon."),
    HELLO: ("Hello.",),
}
"""Message -> reply; masks are the model's."""


class Written(ChatSession):
    """Says what is written; the masks are the model's."""

    def ask(self, text: str, *, forced: Sequence[int] | None = None) -> Reply:
        if text == LONG:
            raise InputError("a shorter message", "a long one")
        grammar = self.model.grammar
        ids: list[int] = []
        for piece in WRITTEN[text]:
            ids += [grammar.id(piece)] if piece.startswith("[") else grammar.tokenizer.encode(piece)
        return super().ask(text, forced=ids)


class Loaded:
    """What `miras.load` gives, of a random model whose masks are neither empty nor full."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self.model = centred(presets.build("miras-tiny"))
        self.opened: list[str] = []

    def chat(self, photo: Any, **options: Any) -> ChatSession:
        self.opened.append(str(photo))
        return Written(self.model, photo, **options)


@functools.lru_cache(maxsize=1)
def _one() -> Loaded:
    return Loaded()


def loaded(*_: object) -> Loaded:
    """The same one for any arguments."""
    return _one()


def install() -> None:
    """From now on this process asks the written model."""
    work._loaded = loaded


def draw(path: Path, number: int = 0, size: tuple[int, int] = (48, 64)) -> Path:
    """A photo of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(number)
    pixels = rng.integers(0, 255, (size[0] // 8, size[1] // 8, 3)).repeat(8, 0).repeat(8, 1)
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a run, those of its state too."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
