"""The three steps over a file of photos: JSON lines in, JSON lines out, nothing paid twice.

In: photos and a teacher. Out, in one folder: `conversations.jsonl` (canonical records, photo paths relative to the
folder), `rejected.jsonl` (what came to nothing, and why), `journal.jsonl` (see `journal.py`). The first two are in
the order of the input and are put in place whole at the end: same input, seed and answers, same bytes, however many
calls run at once and however often the run was killed. Knows no HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from miras.annotate.teacher.dialogues import write_dialogue
from miras.annotate.teacher.elements import list_elements
from miras.annotate.teacher.photos import Photo, read_photos
from miras.annotate.teacher.protocol import STEPS, Teacher, prompt
from miras.annotate.teacher.reasoning import Path as TreePath
from miras.annotate.teacher.reasoning import paths_of, reason
from miras.annotate.teacher.records import record_from
from miras.annotate.teacher.rehearsal import Rehearsal
from miras.annotate.teacher.schemas import WEAK, Elements
from miras.core.errors import InputError
from miras.core.files import folder
from miras.core.llm.answers import EndpointDown, Estimate, NoAnswer
from miras.core.llm.journal import Journal, Journaled
from miras.data.io.checks import OnFault
from miras.data.record import Record

T = TypeVar("T")
CONVERSATIONS, REJECTED, JOURNAL = "conversations.jsonl", "rejected.jsonl", "journal.jsonl"


@dataclass(frozen=True, slots=True)
class Rejection:
    """Something that gave no conversation. path: number of the question, 0 for the whole photo. failed: no usable
    answer came, so asking again may help; else it was dropped for what it is.
    """

    id: str
    step: str
    path: int
    reason: str
    failed: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one photo gave."""

    photo: Photo
    records: list[Record] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)


@dataclass(slots=True)
class Summary:
    """A run in figures. Tokens and cost are those of the whole journal; paid and replayed: answers of this run."""

    photos: int = 0
    conversations: int = 0
    utterances: int = 0
    masks: int = 0
    rejected: int = 0
    failed: int = 0
    paid: int = 0
    replayed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0

    def add(self, outcome: Outcome) -> None:
        """Count one photo."""
        self.photos += 1
        self.conversations += len(outcome.records)
        self.utterances += sum(len(record["turns"]) for record in outcome.records)
        self.masks += sum(len(turn["regions"]) for record in outcome.records for turn in record["turns"])
        self.rejected += len(outcome.rejected)
        self.failed += sum(rejection.failed for rejection in outcome.rejected)


async def annotate_photo(teacher: Teacher, photo: Photo, seed: int = 0) -> Outcome:
    """All three steps for one photo. What comes to nothing is in `rejected`. Raises EndpointDown."""
    outcome = Outcome(photo)
    listed = await _or_reject(outcome, "elements", 0, list_elements(teacher, photo, seed))
    if listed is None:
        return outcome
    elements = listed.value
    reasoned = await _or_reject(outcome, "reasoning", 0, reason(teacher, photo, elements, seed))
    if reasoned is None:
        return outcome
    for number, question in enumerate(reasoned.value.questions, 1):
        if question.score <= WEAK:
            why = f"a weak question (score {question.score}): {question.reason}"
            outcome.rejected.append(Rejection(photo.id, "reasoning", number, why, False))
    paths = paths_of(reasoned.value)
    tasks = [asyncio.ensure_future(_dialogue(outcome, teacher, elements, path, seed)) for path in paths]
    try:
        records = await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
    outcome.records.extend(record for record in records if record is not None)
    outcome.rejected.sort(key=lambda rejection: rejection.path)
    return outcome


async def _dialogue(
    outcome: Outcome, teacher: Teacher, elements: Elements, path: TreePath, seed: int
) -> Record | None:  # fmt: skip
    photo = outcome.photo
    draft = await _or_reject(
        outcome, "dialogues", path.number, write_dialogue(teacher, photo, elements, path, seed)
    )  # fmt: skip
    if draft is None:
        return None
    versions = {step: prompt(step).version for step in STEPS}
    return record_from(photo, elements, path, draft.value, seed=seed, teacher=teacher.name, prompts=versions)


async def _or_reject(outcome: Outcome, step: str, path: int, answer: Awaitable[T]) -> T | None:
    try:
        return await answer
    except EndpointDown:
        raise
    except NoAnswer as error:
        outcome.rejected.append(Rejection(outcome.photo.id, step, path, str(error), True))
        return None


async def outcomes(
    teacher: Teacher, photos: Iterable[Photo], seed: int = 0, window: int = 16
) -> AsyncGenerator[Outcome, None]:
    """What each photo gave, in the order of the photos; up to `window` photos are under way at once."""
    source, pending = iter(photos), deque[asyncio.Task[Outcome]]()
    try:
        while True:
            for photo in islice(source, window - len(pending)):
                pending.append(asyncio.ensure_future(annotate_photo(teacher, photo, seed)))
            if not pending:
                return
            outcome = await pending[0]
            pending.popleft()
            yield outcome
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)


def annotate_file(
    source: Path, out: Path, teacher: Teacher, *, seed: int = 0, limit: int | None = None, window: int = 16,
    on_fault: OnFault | None = None, on_photo: Callable[[Outcome], None] = lambda _: None,
) -> Summary:  # fmt: skip
    """Annotate the photos of a JSONL file into a folder (see the module). Run it again to go on after a stop.

    limit: only so many photos. window: photos under way at once. on_fault: takes faulty lines of the input; without it
    they are raised together, after everything else is done. Raises InputError, and EndpointDown when no request can be
    answered; either way every paid answer is in the journal.
    """
    return asyncio.run(_annotate_file(source, out, teacher, seed, limit, window, on_fault, on_photo))


async def _annotate_file(
    source: Path, out: Path, teacher: Teacher, seed: int, limit: int | None, window: int, on_fault: OnFault | None,
    on_photo: Callable[[Outcome], None],
) -> Summary:  # fmt: skip
    summary, faults = Summary(), list[str]()
    journal = Journal(folder(out) / JOURNAL)
    journaled = Journaled(teacher, journal)
    photos = islice(read_photos(source, on_fault or faults.append), limit)
    try:
        with writing(out, summary, on_photo) as keep:
            async with contextlib.aclosing(outcomes(journaled, photos, seed, window)) as stream:
                async for outcome in stream:
                    keep(outcome)
    finally:
        await journaled.close()
    summary.paid, summary.replayed = journaled.paid, journaled.replayed
    summary.prompt_tokens, summary.completion_tokens = journal.usage.prompt, journal.usage.completion
    summary.cost = round(journal.cost, 6)
    raise_faults(source, faults)
    return summary


@contextlib.contextmanager
def writing(out: Path, summary: Summary, on_photo: Callable[[Outcome], None]) -> Iterator[Callable[[Outcome], None]]:
    """Something that takes outcomes, in order; the two files are put in place whole when all went well."""
    staged = {name: out / f".{name}.part" for name in (CONVERSATIONS, REJECTED)}
    try:
        with (
            staged[CONVERSATIONS].open("w", encoding="utf-8", newline="\n") as kept,
            staged[REJECTED].open("w", encoding="utf-8", newline="\n") as dropped,
        ):

            def keep(outcome: Outcome) -> None:
                kept.writelines(_line(_relative(record, out)) for record in outcome.records)
                dropped.writelines(_line(_plain(rejection)) for rejection in outcome.rejected)
                summary.add(outcome)
                on_photo(outcome)

            yield keep
        for name, path in staged.items():
            path.replace(out / name)
    except OSError as error:
        raise InputError(f"room to write in {out}", str(error.strerror), "free room and run again") from error
    finally:
        for path in staged.values():
            path.unlink(missing_ok=True)


def raise_faults(source: Path, faults: list[str]) -> None:
    """Raise InputError for faulty lines, if there are any."""
    if faults:
        shown = " | ".join(faults[:3]) + (f" | and {len(faults) - 3} more" if len(faults) > 3 else "")
        raise InputError(f"{source} without faults", shown, "the other photos are done; mend these lines and run again")


def rehearse(
    source: Path, out: Path, teacher: Teacher, *, seed: int = 0, limit: int | None = None,
    on_fault: OnFault | None = None,
) -> Estimate:  # fmt: skip
    """What `annotate_file` would still have to pay for: no call, no file written. Raises InputError."""

    async def run() -> Estimate:
        journal = Journal(out / JOURNAL, read_only=True)
        rehearsal = Rehearsal(teacher, journal)
        try:
            async for _ in outcomes(rehearsal, islice(read_photos(source, on_fault), limit), seed, 1):
                pass
        finally:
            journal.close()
            await teacher.close()
        return rehearsal.total

    return asyncio.run(run())


def _relative(record: Record, out: Path) -> dict[str, Any]:
    image = Path(record["image"])
    place = os.path.relpath(image.parent.resolve() / image.name, out.resolve())
    return {**record, "image": Path(place).as_posix()}


def _plain(rejection: Rejection) -> dict[str, Any]:
    return {"id": rejection.id, "step": rejection.step, "path": rejection.path, "failed": rejection.failed,
            "reason": rejection.reason}  # fmt: skip


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"
