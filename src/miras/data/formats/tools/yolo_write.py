"""YOLO for segmentation as files.

In: photos with regions. Out: in the folder `data.yaml`, and for each split `images/{split}/` and `labels/{split}/`.
A line is one region: an outline along its pixel edges, in which further parts and holes are bridged by lines there and
back, as is usual; by the even-odd rule at the middles of pixels it gives the mask back exactly. Classes are the phrases
in plain words (lower case), sorted. Source: docs.ultralytics.com, "Instance Segmentation Datasets Overview".
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml

from miras.core.masks import Polygon, decode_rle, mask_to_polygons
from miras.core.types import Rle
from miras.data.formats.coco.write import categories
from miras.data.io.gather import Album, Losses, Picture, by_split
from miras.data.language.vocabulary import words

BRIDGED = "that the outlines of {} masks are several (parts and holes are bridged by lines without width)"
UNDIVIDED = "that {} photos are in no split (written as train)"
NEAR = 8192
DIGITS = 9
"""After the point: far below a pixel for the widest photo."""


def write(pictures: Sequence[Picture], out: Path, album: Album, lost: Losses) -> int:
    """The splits and the YAML; returns the number of regions."""
    ids = {name: id - 1 for name, id in categories(pictures, lost).items()}
    splits: dict[str, str] = {}
    regions = 0
    for split, some in by_split(pictures).items():
        name = split or "train"
        lost[UNDIVIDED] += 0 if split else len(some)
        splits[name] = f"images/{name}"
        labels = out / "labels" / name
        labels.mkdir(parents=True, exist_ok=True)
        for picture in some:
            lines = []
            for shown in picture.shown:
                if words(shown.phrase) in ids:
                    lines.append(f"{ids[words(shown.phrase)]} {_outline(shown.rle, lost)}\n")
            photo = album.place(picture, out / "images" / name, album.stem(out / "images" / name, picture.called(name)))
            (labels / photo).with_suffix(".txt").write_text("".join(lines), encoding="utf-8")
            regions += len(lines)
    document = {"path": ".", **splits, "names": {id: name for name, id in ids.items()}}
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    (out / "data.yaml").write_text(text, encoding="utf-8")
    return regions


def bridged(rings: Sequence[Polygon]) -> Polygon:
    """One ring that runs along all of them.

    Each but the first is joined to the nearest of the NEAR corners before it, by a bridge that runs there and back
    along the same two lines, across and then up or down, so that it holds no pixel.
    """
    corners = np.array([corner for ring in rings for corner in ring])
    first = np.cumsum([0, *map(len, rings)])
    joined: dict[int, list[int]] = {}
    for number in range(1, len(rings)):
        since = max(0, int(first[number]) - NEAR)
        away = np.abs(corners[since : first[number]] - corners[first[number]]).sum(axis=1)
        joined.setdefault(since + int(away.argmin()), []).append(number)
    path: Polygon = []
    todo: list[int | tuple[float, float]] = [0]  # rings to run along, corners to pass
    while todo:
        step = todo.pop()
        if isinstance(step, tuple):
            path.append(step)
            continue
        along: list[int | tuple[float, float]] = []
        for place, corner in enumerate(rings[step], int(first[step])):
            along.append(corner)
            for other in joined.get(place, ()):
                start = rings[other][0]
                bend = [] if corner[0] == start[0] or corner[1] == start[1] else [(start[0], corner[1])]
                along += [*bend, other, start, *bend, corner]
        todo += reversed(along)
    return path


def _outline(rle: Rle, lost: Losses) -> str:
    rings = mask_to_polygons(decode_rle(rle))
    lost[BRIDGED] += len(rings) > 1
    height, width = rle["size"]
    shares = [share for x, y in bridged(rings) for share in (x / width, y / height)]
    return " ".join(f"{share:.{DIGITS}f}".rstrip("0").rstrip(".") for share in shares)
