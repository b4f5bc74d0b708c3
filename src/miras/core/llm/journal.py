"""What was paid is kept: an append-only file of answers by key, and an answerer that looks there first.

In: answers, as they arrive. Out: the same answers, now and after any crash. A line is on the disk (flushed and
synced) before its answer is used, so that a kill loses only calls whose answer had not arrived. Knows no step.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Sequence
from io import FileIO
from pathlib import Path
from typing import Any, Generic, TypeVar

from miras.core.errors import InputError
from miras.core.llm.answers import Answer, Answerer, Estimate, Question, Usage, digest_of

Q = TypeVar("Q", bound=Question)
DRAIN_SECONDS = 150.0
"""How long a stopping run waits for answers that are on their way."""


class Journal:
    """Answers by key in one JSONL file; only places are kept in memory. One process at a time."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Opens or makes the file; a torn last line is cut off. read_only: looks, and leaves the file alone.

        Raises InputError when the file cannot be opened, another run holds it, or a line inside is damaged.
        """
        self.path, self._places, self._end = path, dict[str, tuple[int, int]](), 0
        self._file: FileIO | None = None
        self.usage, self.cost = Usage(), 0.0
        self._writable = not read_only
        if read_only and not path.exists():
            return
        try:
            self._file = open(path, "a+b" if self._writable else "rb", buffering=0)  # noqa: SIM115
            if self._writable:
                _lock(self._file, path)
                _sync_folder(path.parent)
            self._read()
            if self._writable and self._end < path.stat().st_size:
                self._file.truncate(self._end)
                os.fsync(self._file.fileno())
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise InputError(f"a journal at {path}", str(error.strerror), "give another --out") from error
            raise

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: object) -> bool:
        return key in self._places

    def get(self, key: str) -> Answer | None:
        """The answer of a key, None when it was never paid."""
        place = self._places.get(key)
        if place is None or self._file is None:
            return None
        self._file.seek(place[0])
        line = json.loads(self._file.read(place[1]))
        usage = Usage(line["usage"]["prompt"], line["usage"]["completion"])
        return Answer(line["text"], usage, line["cost"], line["attempts"], line["finish"])

    def put(self, key: str, answer: Answer, **about: str) -> None:
        """Keep an answer; it is on the disk when this returns. about: more to note. Raises InputError (no room)."""
        if self._file is None or not self._writable:
            raise InputError(f"a journal to write at {self.path}", "one opened to read")
        usage = {"prompt": answer.usage.prompt, "completion": answer.usage.completion}
        line = {
            "key": key, **about, "text": answer.text, "usage": usage, "cost": answer.cost,
            "attempts": answer.attempts, "finish": answer.finish,
        }  # fmt: skip
        data = json.dumps(line, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(self._end)
            raise InputError(f"room to write {self.path}", str(error.strerror), "free room and run again") from error
        self._note(line, len(data))

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _read(self) -> None:
        with self.path.open("rb") as lines:
            for number, data in enumerate(lines, 1):
                if data.endswith(b"\n"):  # else torn: the write that a kill cut short
                    self._note(self._line(data, number), len(data))

    def _line(self, data: bytes, number: int) -> dict[str, Any]:
        try:
            line: dict[str, Any] = json.loads(data)
            if not isinstance(line["key"], str) or not isinstance(line["text"], str):
                raise TypeError("key and text")
            int(line["usage"]["prompt"]), int(line["usage"]["completion"]), float(line["cost"])
            int(line["attempts"]), str(line["finish"])
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                "a journal of answers", f"{self.path} with a damaged line {number} ({error!r})"[:200],
                "take that line out, its answer will be asked for again",
            ) from error  # fmt: skip
        return line

    def _note(self, line: dict[str, Any], length: int) -> None:
        self._places[line["key"]] = (self._end, length)
        self._end += length
        self.usage = self.usage + Usage(int(line["usage"]["prompt"]), int(line["usage"]["completion"]))
        self.cost += float(line["cost"])


class Journaled(Generic[Q]):
    """An answerer that pays for no answer twice. The same question asked twice at once is one call."""

    def __init__(self, answerer: Answerer[Q], journal: Journal, role: str = "teacher") -> None:
        """role: what the answerer is, the key of its name in the journal's lines."""
        self._answerer, self._journal, self._role = answerer, journal, role
        self._flying: dict[str, asyncio.Task[Answer]] = {}
        self.paid, self.replayed = 0, 0

    @property
    def name(self) -> str:
        """The answerer's own."""
        return self._answerer.name

    def key_of(self, request: Q) -> str:
        """The key of the question and the answerer together."""
        return digest_of([self._answerer.name, request.key])

    async def answer(self, request: Q, /) -> Answer:
        """From the journal, or from the answerer and then into the journal. Raises what the answerer raises."""
        key = self.key_of(request)
        kept = self._journal.get(key)
        if kept is not None:
            self.replayed += 1
            return kept
        task = self._flying.get(key)
        if task is None:
            task = asyncio.ensure_future(self._pay(key, request))
            self._flying[key] = task
            task.add_done_callback(lambda done: self._landed(key, done))
        return await asyncio.shield(task)

    def _landed(self, key: str, task: asyncio.Task[Answer]) -> None:
        self._flying.pop(key, None)
        if not task.cancelled():
            task.exception()  # whoever still waits gets it; it is not reported a second time

    async def _pay(self, key: str, request: Q) -> Answer:
        answer = await self._answerer.answer(request)
        about = {self._role: self._answerer.name, "step": request.step, "request": request.key}
        self._journal.put(key, answer, **about)
        self.paid += 1
        return self._journal.get(key) or answer

    def estimate(self, requests: Sequence[Q], /) -> Estimate:
        """The answerer's, for questions that the journal does not hold."""
        return self._answerer.estimate([request for request in requests if self.key_of(request) not in self._journal])

    def stop(self) -> None:
        """Begin nothing new."""
        self._answerer.stop()

    async def close(self) -> None:
        """Stop, wait for the answers that are on their way (they are paid), close the answerer and the journal."""
        self.stop()
        if self._flying:
            await asyncio.wait(list(self._flying.values()), timeout=DRAIN_SECONDS)
        await self._answerer.close()
        self._journal.close()


def _lock(file: FileIO, path: Path) -> None:
    if sys.platform == "win32":
        return  # two runs are not kept apart there
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise InputError(f"{path} for this run alone", "another run that writes it", "wait for it to end") from error


def _sync_folder(folder: Path) -> None:
    """A new file's name is on the disk, too (where folders can be synced)."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
