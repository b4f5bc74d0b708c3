"""Answers, photos and a teacher made by hand, for the tests of this room. Knows only what is in the source."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from miras.annotate.teacher.protocol import Request
from miras.core.llm.answers import Answer, Estimate, Usage
from miras.core.masks import encode_rle

NAMES = ("red mug", "handle of the red mug", "spoon", "saucer")


def elements(**changes: Any) -> dict[str, Any]:
    listed = [{"text": name, "number": 1, "caption": f"The {name} lies on the table."} for name in NAMES]
    return {"elements": listed} | changes


def node(id: str, parent: str | None, paths: list[int], **changes: Any) -> dict[str, Any]:
    return {"id": id, "parent": parent, "text": f"thought {id}", "paths": paths, "shared": len(paths) > 1} | changes


TREE = [
    node("n0", None, [1, 2, 3]),
    node("n1", "n0", [1, 2]),
    node("n2", "n1", [1]),
    node("n3", "n1", [2]),
    node("n4", "n0", [3]),
]
"""Paths 1 and 2 share n1; path 3 is one step long."""


def reasoning(scores: tuple[int, ...] = (3, 2, 3), tree: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    questions = [
        {"text": f"What would one use first, case {place}?", "answer": "it", "reason": "because", "score": score}
        for place, score in enumerate(scores, 1)
    ]
    return {"questions": questions, "tree": {"nodes": TREE if tree is None else tree}}


def turn(question: str, answer: str, element: int, target: str | None) -> dict[str, Any]:
    return {"question": question, "answer": answer, "element": element, "target": target}


def dialogue(**changes: Any) -> dict[str, Any]:
    rounds = [
        turn("What can one drink from here?", "From the red mug, which is full.", 1, "red mug"),
        turn(
            "What makes it safe to lift when hot?", "The handle of the red mug stays cool.", 2, "handle of the red mug"
        ),
    ]
    return {"rounds": rounds, "focus": 2} | changes


GOOD = {"elements": elements(), "reasoning": reasoning(), "dialogues": dialogue()}


class Fake:
    """Answers each step from a table after a while; notes in a file, if there is one, what was called and what came."""

    name = "fake"

    def __init__(self, answers: dict[str, Any] = GOOD, log: Path | None = None, seconds: float = 0.0) -> None:
        self.answers, self.log, self.seconds = answers, log, seconds
        self.requests: list[Request] = []
        self.closed = self.stopped = False

    async def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        self.note("call", request)
        # Long and short waits, by the key, so that calls end in another order than they began.
        await asyncio.sleep(self.seconds * (1 + int(request.key[:2], 16) / 64))
        found = self.answers[request.step]
        if isinstance(found, Exception):
            raise found
        self.note("came", request)
        text = found if isinstance(found, str) else json.dumps(found)
        return Answer(text, Usage(100, 10), 0.001)

    def note(self, what: str, request: Request) -> None:
        if self.log is not None:
            with open(self.log, "ab", buffering=0) as file:
                file.write(f"{what} {request.key}\n".encode())

    def estimate(self, requests: Any) -> Estimate:
        return Estimate(len(requests), 100 * len(requests), 10 * len(requests), 0.001 * len(requests))

    def stop(self) -> None:
        self.stopped = True

    async def close(self) -> None:
        self.closed = True


def box(x0: int, y0: int, x1: int, y1: int, size: tuple[int, int] = (20, 30)) -> dict[str, Any]:
    mask = np.zeros(size, np.bool_)
    mask[y0:y1, x0:x1] = True
    return encode_rle(mask)


KNOWN = [
    {"phrase": "the red mug", "label": "mug", "rle": box(1, 1, 9, 9)},
    {"phrase": "handle of the red mug", "rle": box(9, 3, 11, 6)},
    {"phrase": "plate", "rle": box(12, 10, 20, 20)},
    {"phrase": "plate", "rle": box(20, 0, 30, 5)},
]


def photos_file(folder: Path, count: int = 2, **extra: Any) -> Path:
    """A JSONL of photos, each of its own colour, with annotations."""
    (folder / "img").mkdir(parents=True, exist_ok=True)
    lines = []
    for index in range(count):
        Image.new("RGB", (30, 20), (index % 256, 9, 9)).save(folder / "img" / f"{index}.png")
        record = {"id": f"p{index}", "image": f"img/{index}.png", "caption": "A mug.", "annotations": KNOWN} | extra
        lines.append(json.dumps(record))
    path = folder / "photos.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":  # the run that the kill test starts and kills: SOURCE OUT LOG SECONDS CONCURRENCY
    import sys

    from miras.annotate.teacher.pipeline import annotate_file

    source, out, log, seconds, window = sys.argv[1:]
    annotate_file(Path(source), Path(out), Fake(log=Path(log), seconds=float(seconds)), window=int(window))
    os._exit(0)
