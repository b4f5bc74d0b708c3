"""A job from its beginning, or from where it was left, to its files.

In: what `miras predict` was told. Out: the files in the folder, and a `Summary`. Photos that are answered already are
passed over; those that failed are tried again. However often it was stopped, the files are those of a run that was
not. Knows no terminal.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from miras.core.errors import InputError
from miras.core.parallel.processes import CHUNK, mapped
from miras.core.parallel.threads import cores
from miras.predict.job import Folder, Job
from miras.predict.outputs import check_formats, write_all, write_failures, write_missing
from miras.predict.photos import Photo, photos_of
from miras.predict.questions import Messages
from miras.predict.sheet import SHOWN_FAILURES, write_sheet
from miras.predict.work import Outcome, Work

RAM = 2 * 2**30
"""Bytes that a process with the model is given: what it takes (1.6 GB at most), and air."""


@dataclass(frozen=True)
class Settings:
    """How a job is worked. formats: see `outputs.FORMATS`. format: of the sources, "" to guess. jobs: processes (with
    Ray: tasks at a time); threads: of all of them together; None: what the machine has."""

    formats: Sequence[str] = ("coco", "png")
    model: str = "miras-mini"
    seed: int = 0
    device: str = "cpu"
    dtype: str | None = None
    format: str = ""
    jobs: int | None = None
    threads: int | None = None
    ray: bool = False


@dataclass
class Summary:
    """What became of the photos. asked, kept: photos of this run and of earlier ones; the rest counts answers, and
    failed what has none (lines of failures.jsonl). seconds: of asking. warnings: lines, each once."""

    photos: int = 0
    asked: int = 0
    kept: int = 0
    failed: int = 0
    answers: int = 0
    masks: int = 0
    refused: int = 0
    unsure: int = 0
    seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)


def predict(
    sources: Sequence[str], questions: Sequence[Messages], out: Path, settings: Settings, *,
    lines: Iterable[str] = (), watch: Callable[[Iterator[Outcome], int, int], Iterator[Outcome]] = lambda it, *_: it,
) -> Summary:  # fmt: skip
    """Ask `questions` about the photos of `sources` (see `photos.photos_of`; lines: for "-").

    watch: gets the outcomes as they come, how many are to come, and how many photos there are; gives them on. Raises
    InputError and WeightsError in one line; whatever was answered by then is kept.
    """
    formats = check_formats(settings.formats)
    jobs, threads = spread(settings)
    folder, summary, faults = Folder(out), Summary(), list[str]()
    job = _job(sources, questions, settings)
    with folder.opened(job):
        photos = photos_of(sources, out=out, lines=lines, format=settings.format, on_fault=faults.append)
        folder.begin(job)
        todo = [photo for photo in photos if not _is_done(folder, photo)]
        summary.photos, summary.kept = len(photos), len(photos) - len(todo)
        work = Work(out.absolute(), tuple(questions), formats, settings.model, threads, settings.device,
                    settings.dtype, settings.seed)  # fmt: skip
        start = time.perf_counter()
        for outcome in watch(_outcomes(work, todo, jobs, settings.ray), len(todo), len(photos)):
            if outcome.stopped is not None:
                raise outcome.stopped
            summary.asked += 1
            summary.warnings += [line for line in outcome.warnings if line not in summary.warnings]
        summary.seconds = time.perf_counter() - start
        _finish(folder, photos, questions, formats, faults, summary)
    return summary


def spread(settings: Settings) -> tuple[int, int]:
    """(processes, threads of each). By default a process for each core that there is memory for; on a GPU, one."""
    whole = settings.threads or cores()
    jobs = settings.jobs
    if jobs is not None and jobs < 1:
        raise InputError("--jobs of at least 1", str(jobs))
    if settings.threads is not None and settings.threads < 1:
        raise InputError("at least 1 thread", str(settings.threads))
    if jobs is None:
        jobs = max(1, min(whole, free_memory() // RAM)) if settings.device == "cpu" else 1
    return jobs, max(1, whole // jobs)


def free_memory() -> int:
    """Bytes of memory that may be taken; where the system does not say, so much that it decides nothing."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, ValueError, StopIteration):
        return 2**62


def _job(sources: Sequence[str], questions: Sequence[Messages], settings: Settings) -> Job:
    """Raises what loading would raise for a model, device or precision that is not there."""
    from miras.chat.load import exported

    folder = exported(settings.model, None, settings.device, settings.dtype)
    if folder is None:
        from miras.model.loading.place import device_of, dtype_of, find

        device_of(settings.device)
        dtype_of(settings.dtype)
        folder = find(settings.model)
    weights = Job.weights_of(folder)
    return Job(tuple(sources), tuple(questions), settings.model, weights, settings.seed, settings.device,
               settings.dtype or "")  # fmt: skip


def _is_done(folder: Folder, photo: Photo) -> bool:
    part = folder.answered(photo)
    return part is not None and not part["failures"]


def _outcomes(work: Work, photos: Sequence[Photo], jobs: int, ray: bool) -> Iterator[Outcome]:
    if not photos:
        return
    try:
        yield from mapped(work, photos, jobs=min(jobs, len(photos)), ray=ray, chunk=CHUNK if ray else 1)
    except BrokenProcessPool as error:
        cure = "give fewer --jobs, and run the same command again: what is answered is kept"
        raise InputError("processes that live", "one that was killed, perhaps for want of memory", cure) from error


def _finish(
    folder: Folder, photos: Sequence[Photo], questions: Sequence[Messages], formats: Sequence[str],
    faults: Sequence[str], summary: Summary,
) -> None:  # fmt: skip
    """All files that need every photo."""

    def parts() -> Iterator[tuple[Photo, dict[str, Any]]]:
        return folder.parts(photos)

    write_missing(folder.path, parts, formats, several=len(questions) > 1)
    write_all(folder.path, parts, formats, questions)
    shown: list[dict[str, Any]] = []

    def failures() -> Iterator[dict[str, Any]]:
        found = [{"photo": "", "question": 0, "error": fault} for fault in faults]
        of_photos = ({"photo": photo.path, **one} for photo, part in parts() for one in part["failures"])
        for line in chain(found, of_photos):
            if len(shown) < SHOWN_FAILURES:
                shown.append(line)
            yield line

    summary.failed = write_failures(folder.path, failures())
    for _, part in parts():
        for answer in part["answers"]:
            summary.answers += 1
            summary.masks += answer["selection"] is not None
            summary.refused += answer["refused"]
            summary.unsure += answer["unsure"]
    write_sheet(folder, photos, questions, shown, summary.failed, "png" in formats)
