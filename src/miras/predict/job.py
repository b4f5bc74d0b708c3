"""A job and its folder: what was asked, which photos are answered, who works on it.

In: what is asked, with which model; a folder. Out: the folder, open for one run. `job.json` says what the folder
holds, and another job is refused; an answered photo is a part, a JSON file under `.miras/parts`, which is written last
of all that belongs to the photo. A part counts as long as the photo's file is what it was. Knows no session.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from miras import __version__
from miras.core.errors import InputError
from miras.core.files import write_whole
from miras.predict.photos import STDIN, Photo
from miras.predict.questions import Messages

STATE, JOB = ".miras", "job.json"
_CURE = "give another --out"


@dataclass(frozen=True)
class Job:
    """All that the answers depend on, beside the photos. weights: digest of the model's files, "" where it has none."""

    sources: tuple[str, ...]
    questions: tuple[Messages, ...]
    model: str
    weights: str = ""
    seed: int = 0
    device: str = "cpu"
    dtype: str = ""
    version: str = __version__

    @staticmethod
    def weights_of(folder: Path | None) -> str:
        """The digest of a folder of weights: its JSON and safetensors files."""
        if folder is None:
            return ""
        whole = hashlib.blake2b(digest_size=16)
        for path in sorted(path for path in folder.iterdir() if path.suffix in (".json", ".safetensors")):
            with path.open("rb") as file:
                whole.update(path.name.encode() + hashlib.file_digest(file, "blake2b").digest())
        return whole.hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """As `job.json` has it."""
        plain = asdict(self)
        plain["sources"] = [one if one == STDIN else os.path.abspath(one) for one in self.sources]
        plain["questions"] = [list(messages) for messages in self.questions]
        return plain


class Folder:
    """Where a job lies."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextlib.contextmanager
    def opened(self, job: Job) -> Iterator[None]:
        """The folder for this run alone, made if it is not there; what a killed run left half written is gone.

        Raises InputError when it holds another job or something else, when another run works on it, or when it cannot
        be written. A folder in which no job was begun (`begin`) is taken away again.
        """
        state = self.path / STATE
        try:
            self._refuse_strangers()
            state.mkdir(parents=True, exist_ok=True)
            with (state / "lock").open("a") as lock:
                _alone(lock.fileno(), self.path)
                self._compare(job)
                for torn in self.path.rglob(".*.part"):
                    shutil.rmtree(torn) if torn.is_dir() else torn.unlink()
                yield
        except OSError as error:
            reason = error.strerror or str(error)
            raise InputError(f"to write {self.path}", reason, "free room and run it again") from error
        finally:
            if not (self.path / JOB).exists():
                with contextlib.suppress(OSError):
                    (state / "lock").unlink()
                    state.rmdir()
                    self.path.rmdir()

    def begin(self, job: Job) -> None:
        """From now on the folder is this job's."""
        write_whole(self.path / JOB, (json.dumps(job.to_dict(), indent=1) + "\n").encode())

    def _refuse_strangers(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise InputError("a folder to write into", f"the file {self.path}", _CURE)
        if self.path.is_dir() and not (self.path / STATE).is_dir() and any(self.path.iterdir()):
            raise InputError("a new folder, or that of an earlier run", f"{self.path}, which holds other files", _CURE)

    def _compare(self, job: Job) -> None:
        path = self.path / JOB
        if not path.exists():
            return
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(f"the job of {path}", "a damaged file", _CURE) from error
        for name, value in job.to_dict().items():
            if (other := held.get(name)) != value:
                raise InputError(
                    f"the job that {self.path} holds, with {name} {_short(other)}", _short(value), _CURE
                )  # fmt: skip

    # Parts

    def part(self, photo: Photo) -> Path:
        """Where the answers about a photo are kept."""
        digest = hashlib.blake2b(photo.name.encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()
        return self.path / STATE / "parts" / digest[:2] / f"{digest[2:]}.json"

    def thumbnail(self, photo: Photo, question: int) -> Path:
        """The small picture of an answer, JPEG."""
        part = self.part(photo)
        return part.with_name(f"{part.stem}.{question}.jpg")

    def keep(self, photo: Photo, part: dict[str, Any]) -> None:
        """From now on the photo is answered. Raises InputError (no room)."""
        told = {"name": photo.name, "path": photo.path, "stamp": photo.stamp, **part}
        write_whole(self.part(photo), json.dumps(told).encode())

    def answered(self, photo: Photo) -> dict[str, Any] | None:
        """The part of a photo that is as it was then; None where there is none."""
        try:
            part: dict[str, Any] = json.loads(self.part(photo).read_bytes())
        except (OSError, ValueError):
            return None
        told = (part.get("name"), part.get("path"), part.get("stamp"))
        return part if told == (photo.name, photo.path, photo.stamp) else None

    def parts(self, photos: Sequence[Photo]) -> Iterator[tuple[Photo, dict[str, Any]]]:
        """The photos that are answered, in order, one part in memory at a time."""
        for photo in photos:
            part = self.answered(photo)
            if part is not None:
                yield photo, part


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else f"{text[:117]}..."


def _alone(handle: int, folder: Path) -> None:
    if sys.platform == "win32":
        return  # two runs are not kept apart there
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise InputError(f"{folder} for this run alone", "another run that writes it", "wait for it to end") from error
