"""The three steps spread over processes or a Ray cluster: the same files as `pipeline`, the same bytes.

In: photos, something that makes a teacher. Out: what `annotate_file` writes; each chunk of photos keeps a journal of
its own under `journals/`, so that a chunk whose worker died is done again without paying twice. The folder must be
one that all workers see. Keys come from each worker's environment; none is sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from miras.annotate.teacher.photos import Photo, read_photos
from miras.annotate.teacher.pipeline import Outcome, Summary, outcomes, raise_faults, writing
from miras.annotate.teacher.protocol import Teacher
from miras.core.files import folder
from miras.core.llm.answers import EndpointDown
from miras.core.llm.journal import Journal, Journaled
from miras.core.parallel.processes import mapped
from miras.data.io.checks import OnFault

CHUNK = 8
"""Photos that share a journal."""
JOURNALS = "journals"


@dataclass(frozen=True)
class Done:
    """What a chunk gave. down: why no request could be answered, None when all went well."""

    outcomes: tuple[Outcome, ...]
    paid: int = 0
    replayed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    down: EndpointDown | None = None


@dataclass(frozen=True)
class Chunk:
    """A function of (number, photos) that annotates them; it can be pickled when `make` can."""

    make: Callable[[], Teacher]
    folder: Path
    seed: int
    window: int

    def __call__(self, work: tuple[int, tuple[Photo, ...]]) -> Done:
        """Run the steps. A teacher that is down is told in the result."""
        number, photos = work
        return asyncio.run(self._run(self.folder / f"{number:06d}.jsonl", photos))

    async def _run(self, path: Path, photos: tuple[Photo, ...]) -> Done:
        journal = Journal(path)
        journaled = Journaled(self.make(), journal)
        found: list[Outcome] = []
        down: EndpointDown | None = None
        try:
            async for outcome in outcomes(journaled, photos, self.seed, self.window):
                found.append(outcome)
        except EndpointDown as error:
            down = error
        finally:
            await journaled.close()
        usage = journal.usage
        return Done(
            tuple(found), journaled.paid, journaled.replayed, usage.prompt, usage.completion, journal.cost, down
        )  # fmt: skip


def annotate_over(
    source: Path, out: Path, make: Callable[[], Teacher], *, jobs: int = 2, ray: bool = False, seed: int = 0,
    limit: int | None = None, window: int = 16, on_fault: OnFault | None = None,
    on_photo: Callable[[Outcome], None] = lambda _: None,
) -> Summary:  # fmt: skip
    """`pipeline.annotate_file` over processes (jobs) or Ray. Limits of the teacher hold for each worker by itself.

    Raises InputError and EndpointDown; either way every paid answer is in a journal.
    """
    summary, faults = Summary(), list[str]()
    journals = folder(folder(out) / JOURNALS)
    photos = islice(read_photos(source, on_fault or faults.append), limit)
    work = list(enumerate(_chunks(photos)))
    with writing(out, summary, on_photo) as keep:
        for done in mapped(Chunk(make, journals, seed, window), work, jobs=jobs, ray=ray):
            for outcome in done.outcomes:
                keep(outcome)
            summary.paid, summary.replayed = summary.paid + done.paid, summary.replayed + done.replayed
            summary.prompt_tokens += done.prompt_tokens
            summary.completion_tokens += done.completion_tokens
            summary.cost = round(summary.cost + done.cost, 6)
            if done.down is not None:
                raise done.down
    raise_faults(source, faults)
    return summary


def _chunks(photos: Iterator[Photo]) -> Iterator[tuple[Photo, ...]]:
    while chunk := tuple(islice(photos, CHUNK)):
        yield chunk
