"""Runs made by hand and a server that judges by rule, for the tests of the judge."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from miras.core.masks import encode_rle
from miras.eval.judge.questions import Judge, judges_of
from miras.eval.rating.criteria import CRITERIA
from miras.eval.runs import samples
from miras.eval.runs.samples import Row
from tests.eval.runs.test_samples import row
from tests.servers import Fault, completion

SIZE = (40, 60)


def rle(x0: int, y0: int, x1: int, y1: int) -> dict[str, Any]:
    mask = np.zeros(SIZE, np.bool_)
    mask[y0:y1, x0:x1] = True
    return encode_rle(mask)


CUP, HANDLE = rle(0, 0, 30, 20), rle(30, 5, 36, 15)


def conversation(
    record: str, image: Path, says: tuple[str, str] = ("Here.", "Its handle."), **changes: Any
) -> list[Row]:
    """Two turns about a photo of 60 x 40: the cup, then its handle."""
    common = {"size": SIZE, "image": str(image), "photo": image.stem, **changes}
    return [
        row(record, 1, user="Where is the cup?", text=says[0], rle=CUP, gold_rle=CUP, final=False, **common),
        row(record, 2, user="Its handle.", phrase="handle", text=says[1], rle=HANDLE, gold_rle=HANDLE, **common),
    ]


def make_run(folder: Path, count: int = 3, model: str = "m", **changes: Any) -> Path:
    """A run of `count` conversations, each about a photo of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for index in range(count):
        image = folder.parent / f"photo{index}.png"
        Image.new("RGB", SIZE[::-1], (40 * index, 90, 90)).save(image)
        rows += conversation(f"r{index}", image, model=model, **changes)
    samples.append(folder / samples.FILE, rows)
    return folder


def rated(*scores: int) -> str:
    """An answer to a rating; one score for all, or four."""
    each = scores * 4 if len(scores) == 1 else scores
    return json.dumps({name: {"reason": "so", "score": score} for name, score in zip(CRITERIA, each, strict=True)})


def preferred(better: str) -> str:
    return json.dumps({"reason": "so", "better": better})


def by_rule(score: Callable[[str], int], better: Callable[[str], str] = lambda _: "tie") -> Fault:
    """Answers by what stands in the prompt of the user."""

    def answer(handler: Any, _: bytes) -> None:
        asked = handler.server.asked[-1]
        content = asked["messages"][1]["content"]
        text = content if isinstance(content, str) else content[-1]["text"]
        step = asked["response_format"]["json_schema"]["name"]
        handler.reply(completion(rated(score(text)) if step == "rate" else preferred(better(text))))

    return answer


def judges(*specs: str, blind: bool = True, **options: Any) -> list[Judge]:
    """Judges at given addresses, MODEL@URL; one call at a time."""
    fast: dict[str, Any] = {"concurrency": 1, "timeout": 5.0, "wait": 0.001, "retries": 3, "max_side": 64, **options}
    return judges_of([] if blind else specs, specs if blind else [], {}, **fast)
