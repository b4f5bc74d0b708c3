"""One photo after the other, in whichever process: asked, written, kept.

In: a photo; what is asked, of which model, and where it goes. Out: how it went. A model is loaded once in each process.
Bad photos are told and passed over. What cannot be written ends the work; it is told, too, not raised: Ray would wrap
it up. Knows nothing of other photos.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from miras.core.errors import InputError, MirasError, MirasWarning
from miras.core.files import write_whole
from miras.predict.job import Folder
from miras.predict.outputs import write_files
from miras.predict.photos import Photo
from miras.predict.questions import Messages


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a photo went. failures: {"question": its number, 0 for the photo itself, "error"}. stopped: why nothing more
    can be done at all; the photo is not answered then."""

    failures: tuple[dict[str, Any], ...] = ()
    warnings: tuple[str, ...] = ()
    stopped: MirasError | None = None


@dataclass(frozen=True)
class Work:
    """Asks about a photo; it can be pickled. threads: of the model in each process; formats: see `outputs.FORMATS`."""

    folder: Path
    questions: tuple[Messages, ...]
    formats: tuple[str, ...]
    model: str
    threads: int | None = None
    device: str = "cpu"
    dtype: str | None = None
    seed: int = 0

    def __call__(self, photo: Photo) -> Outcome:
        """Ask, write and keep."""
        _as_child()
        try:
            loaded = _loaded(self.model, self.threads, self.device, self.dtype)
        except MirasError as error:
            return Outcome(stopped=error)
        with _noted() as noted:
            part, pictures = self._asked(loaded, photo)
        told = tuple(f"{photo.path}: {line}" for line in noted)
        try:
            self._write(photo, part, pictures)
        except MirasError as error:
            return Outcome(stopped=error)
        except OSError as error:
            reason = error.strerror or str(error)
            return Outcome(stopped=InputError(f"to write {self.folder}", reason, "free room and run it again"))
        return Outcome(tuple(part["failures"]), told)

    def _asked(self, loaded: Any, photo: Photo) -> tuple[dict[str, Any], dict[int, bytes]]:
        """The part of a photo, and its small pictures."""
        from miras.predict.answer import answers

        try:
            session = loaded.chat(Path(photo.path), seed=self.seed)
            found, failed, pictures = answers(session, self.questions)
        except MirasError as error:
            return {"size": None, "answers": [], "failures": [{"question": 0, "error": str(error)}]}, {}
        except Exception as error:  # a night's work does not end with one photo; what it was is told
            line = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            return {"size": None, "answers": [], "failures": [{"question": 0, "error": line}]}, {}
        return {"size": list(session.size), "answers": found, "failures": failed}, pictures

    def _write(self, photo: Photo, part: dict[str, Any], pictures: dict[int, bytes]) -> None:
        """The part last: it says that all the rest is there."""
        folder = Folder(self.folder)
        for number, content in pictures.items():
            write_whole(folder.thumbnail(photo, number), content)
        write_files(self.folder, photo, part, self.formats, several=len(self.questions) > 1)
        folder.keep(photo, part)


@lru_cache(maxsize=1)
def _loaded(model: str, threads: int | None, device: str, dtype: str | None) -> Any:
    from miras.chat.load import is_onnx, load

    if not is_onnx(model, None, device, dtype):
        from transformers.utils import logging as transformers_logging

        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
    return load(model, threads, device=device, dtype=dtype)


@contextlib.contextmanager
def _noted() -> Iterator[Sequence[str]]:
    """Our own warnings as lines, each once; those of libraries are passed over."""
    lines: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", category=MirasWarning)
        yield lines
        lines += dict.fromkeys(str(one.message) for one in caught if isinstance(one.message, MirasWarning))


@lru_cache(maxsize=1)
def _as_child() -> None:
    """In a process of a pool: Ctrl-C is the parent's to handle, and nobody goes on when the parent is gone."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
