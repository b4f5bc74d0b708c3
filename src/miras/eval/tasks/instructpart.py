"""InstructPart: one instruction, one fresh session, one selection, for each part.

In: a loaded model and the records of `data.formats.instructpart`. Out: a `Sample` for each record, and the
figures over them. Knows no file but the photos, and speaks to the model through `chat` only.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miras.chat.load import Loaded
from miras.chat.session import ChatSession
from miras.core.errors import InputError
from miras.core.masks import decode_rle, encode_rle
from miras.core.photo import read_photo
from miras.core.types import AnnotatedPhoto
from miras.data.formats.instructpart import INSTRUCTIONS
from miras.eval.metrics.pixels import Overlap, overlap, summary


@dataclass(frozen=True)
class Sample:
    """What happened to one record. rle: the selection, at the photo's full size."""

    index: int
    photo: str
    label: str
    instruction: str
    reply: str
    phrases: tuple[str, ...]
    operators: tuple[str, ...]
    score: float | None
    seconds: float
    overlap: Overlap
    rle: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The line of `--samples`: plain values."""
        return {
            "index": self.index, "photo": self.photo, "label": self.label, "instruction": self.instruction,
            "reply": self.reply, "phrases": list(self.phrases), "operators": list(self.operators),
            "score": self.score, "iou": self.overlap.iou, "intersection": self.overlap.both,
            "predicted": self.overlap.predicted, "gold": self.overlap.gold, "seconds": self.seconds, "rle": self.rle,
        }  # fmt: skip


def evaluate(loaded: Loaded, items: Sequence[AnnotatedPhoto], instruction: int, *, seed: int = 0) -> Iterator[Sample]:
    """Ask `instruction` (0..5) of every item, photo by photo; `Sample.index` is the place in `items`.

    A photograph that several items share is encoded once. Raises InputError for an instruction that
    is not there.
    """
    if not 0 <= instruction < INSTRUCTIONS:
        raise InputError(f"an instruction from 0 to {INSTRUCTIONS - 1}", str(instruction))
    return _evaluate(loaded, items, instruction, seed)


def _evaluate(loaded: Loaded, items: Sequence[AnnotatedPhoto], instruction: int, seed: int) -> Iterator[Sample]:
    for indices in _by_photo(items):
        session: ChatSession | None = None
        for index in indices:
            pixels = read_photo(items[index].path)
            if session is None or not _same(session.photo, pixels):
                session = loaded.chat(pixels, seed=seed)
            yield _ask(session.fork(), items[index], index, instruction)


def figures(samples: Sequence[Sample]) -> dict[str, Any]:
    """The corpus: `metrics.summary`, the number of samples, and the mean seconds of a reply."""
    seconds = sum(sample.seconds for sample in samples) / len(samples) if samples else 0.0
    rejected = sum("reject" in sample.operators for sample in samples)
    return {
        "n": len(samples), **summary([sample.overlap for sample in samples]),
        "rejected_rate": rejected / len(samples) if samples else 0.0, "seconds_per_reply": seconds,
    }  # fmt: skip


def _by_photo(items: Sequence[AnnotatedPhoto]) -> list[list[int]]:
    """Indices of the items of each photograph, in the order of its first item."""
    groups: dict[tuple[str, tuple[int, int]], list[int]] = {}
    for index, item in enumerate(items):
        groups.setdefault((item.id, item.size), []).append(index)
    return list(groups.values())


def _same(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> bool:
    return first.shape == second.shape and bool((first == second).all())


def _ask(session: ChatSession, item: AnnotatedPhoto, index: int, instruction: int) -> Sample:
    annotation = item.annotations[0]
    gold = decode_rle(annotation.rle)
    text = annotation.instructions[instruction]
    start = time.perf_counter()
    reply = session.ask(text)
    seconds = time.perf_counter() - start
    mask = reply.selection.mask
    return Sample(
        index=index, photo=item.id, label=annotation.label, instruction=text, reply=reply.text,
        phrases=tuple(region.phrase for region in reply.regions),
        operators=tuple(operator.value for operator in reply.operators),
        score=reply.regions[0].score if reply.regions else None, seconds=seconds,
        overlap=overlap(mask if reply.selection.expression else None, gold), rle=encode_rle(mask),
    )  # fmt: skip
