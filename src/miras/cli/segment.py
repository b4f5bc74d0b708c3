"""`miras segment`: one prompt to any segmenter, no conversation.

In: a photo, a spec, a phrase, points or a box. Out: its candidates on standard output, one line each or one JSON
object; the overlay and the masks in a folder.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from miras.cli.ask import given_photo, picture_png
from miras.cli.options import Json, Url
from miras.cli.output import HERE, Computing, emit, load_quietly, write
from miras.core.errors import InputError
from miras.core.files import folder
from miras.core.photo import read_photo
from miras.core.segmenter import Candidates, Prompt


def segment(
    image: str, /, *, segmenter: Annotated[str, Parameter(help="miras-mini, sam2:REPO, ...: docs/segmenters.md.")],
    phrase: Annotated[str | None, Parameter(help="Words that name the thing.")] = None,
    points: Annotated[list[str], Parameter(consume_multiple=True, help="X,Y inside, X,Y,0 outside; several.")] = [],  # noqa: B006
    box: Annotated[str | None, Parameter(help="X1,Y1,X2,Y2 around it.")] = None,
    url: Url = False, out: Path | None = None, json: Json = False, on: Computing = HERE,
) -> int:  # fmt: skip
    """One prompt to any segmenter: which masks IMAGE has for a phrase, points or a box.

    --out: a folder for the overlay and the masks (PNG, run lengths, COCO, LabelMe, SVG). REPO: a local folder or a name
    on the hub.
    """
    return run(image, segmenter, phrase=phrase, points=points, box=box, url=url, out=out, as_json=json, on=on)


def run(
    image: str, spec: str, *, phrase: str | None, points: Sequence[str], box: str | None, url: bool, out: Path | None,
    as_json: bool, on: Computing,
) -> int:  # fmt: skip
    """Exit code 0, also where nothing is found."""
    prompt = prompt_of(phrase, points, box)
    source = given_photo(image, url, out)
    where = None if out is None else folder(out)
    start = time.perf_counter()
    segmenter = load_quietly(spec, on)
    loaded = time.perf_counter()
    photo = read_photo(source)
    encoding = segmenter.encode(photo)
    encoded = time.perf_counter()
    found = segmenter.segment(encoding, prompt)
    seconds = {"load": loaded - start, "encode": encoded - loaded, "segment": time.perf_counter() - encoded}
    label, rows = phrase or "region", ranked(found)
    files = [] if where is None or not rows else written(where, photo, Path(image).name, label, shown(found))
    if as_json:
        emit({
            "image": str(image), "segmenter": segmenter.name, "presence": found.presence,
            "instances": found.instances, "candidates": [candidate(found, at) for at in rows],
            "files": [str(path) for path in files], "seconds": {name: round(s, 3) for name, s in seconds.items()},
        })  # fmt: skip
        return 0
    for number, at in enumerate(rows, 1):
        print(f"[{number}] {label}: {int(found.masks[at].sum())} pixels, score {found.scores[at]:.2f}")
    if not rows:
        print(f"{label}: nothing found")
    if found.presence is not None:
        print(f"presence {found.presence:.2f}")
    print("  ".join(f"{name} {s:.2f} s" for name, s in seconds.items()))
    for path in files:
        print(path)
    return 0


def prompt_of(phrase: str | None, points: Sequence[str], box: str | None) -> Prompt:
    """What is asked, from the command line: points as X,Y or X,Y,LABEL, a box as X1,Y1,X2,Y2. Raises InputError."""
    rows = [_numbers(point, (2, 3), "a point X,Y or X,Y,LABEL") for point in points]
    sides = None if box is None else _numbers(box, (4,), "a box X1,Y1,X2,Y2")
    given: Any = [(*row, 1.0)[:3] for row in rows] or None
    return Prompt(phrase=phrase, points=given, box=None if sides is None else (sides[0], sides[1], sides[2], sides[3]))


def _numbers(text: str, lengths: tuple[int, ...], what: str) -> tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) not in lengths:
        raise InputError(f"{what}, in pixels of the photo", repr(text), "separate the numbers by commas, no blanks")
    return values


def ranked(found: Candidates) -> list[int]:
    """Indices of the candidates that have pixels, the surest first."""
    there = [at for at in range(len(found)) if found.masks[at].any()]
    return sorted(there, key=lambda at: -float(found.scores[at]))


def shown(found: Candidates) -> list[tuple[Any, float]]:
    """What is written: every instance; of different readings the surest."""
    rows = ranked(found)
    return [(found.masks[at], float(found.scores[at])) for at in (rows if found.instances else rows[:1])]


def candidate(found: Candidates, at: int) -> dict[str, Any]:
    """A candidate as JSON."""
    from miras.core.masks import box_of, encode_rle

    mask = found.masks[at]
    return {
        "score": round(float(found.scores[at]), 4), "area": int(mask.sum()), "box_xyxy": box_of(mask),
        "rle": encode_rle(mask),
    }  # fmt: skip


def written(where: Path, photo: Any, image: str, label: str, masks: Sequence[tuple[Any, float]]) -> list[Path]:
    """The overlay, and the masks in every format of `ChatSession.export`."""
    from miras.chat.export import Item
    from miras.chat.export import write as export
    from miras.chat.render import overlay
    from miras.core.types import Region

    regions = [Region(number, label, mask, 1, score=score) for number, (mask, score) in enumerate(masks, 1)]
    picture = write(where / f"{Path(image).stem}-overlay.png", picture_png(overlay(photo, regions)))
    items = [Item(label, mask, score) for mask, score in masks]
    try:
        return [picture, *export(where, items, photo.shape[:2], image)]
    except OSError as error:
        raise InputError(f"to write into {where}", error.strerror or str(error), "give another --out") from error
