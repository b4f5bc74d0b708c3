"""ReasonSeg: one JSON beside each photo, with the questions and the outlines of what they ask for.

In: a folder with the folders inside it (train, val and test are splits) or one JSON:
`{"text": [...], "is_sentence": bool, "shapes": [{"label": "target" | "ignore", "points": [[x, y], ...]}]}`.
Out: one record a JSON; all its questions stay in `meta`, and pixels to ignore as run lengths. Drawn by LISA's
rule: whole coordinates are pixels, outlines belong to the shape, larger shapes first, so that a small one lies on
top; "flag" is passed over. Written shapes read back exactly by that rule, for it has no holes a mask
is cut into pieces without them. Source: Lai et al., LISA, CVPR 2024.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miras.core.errors import InputError
from miras.core.masks import Polygon, decode_rle, encode_rle, mask_to_polygons, polygons_to_mask, ring_area
from miras.core.types import Mask
from miras.data.io.checks import Faults, OnFault, field, is_valid, load_json, photo_size
from miras.data.io.gather import Album, Losses, Picture, Shown, by_split
from miras.data.io.places import beside, json_files
from miras.data.io.single import id_of, request, single
from miras.data.record import Record

TARGET = "target"
"""Label of what is asked for, and the phrase where the file has questions only."""
IGNORE, _PASSED_OVER = "ignore", "flag"
Size = tuple[int, int]


def read(path: Path, on_fault: OnFault | None = None) -> Iterator[Record]:
    """A record for each JSON, sorted by name; the first text is what the user says.

    meta: "instructions" (all texts), "is_sentence", "ignore" (RLE, where there is some). Where the text is no
    sentence it is the phrase. Faulty files are left out and told to `on_fault`; without it they raise InputError
    after the last good record.
    """
    faults = Faults(path, on_fault)
    files = json_files(path, lambda found: {"shapes", "text"} <= found, faults)
    if not files:
        raise InputError(f"ReasonSeg JSON files in {path}", "none")
    for file, split, place in files:
        with faults.of(file.name if path.is_file() else file.relative_to(path).as_posix(), "files"):
            yield _record(file, split, path.resolve().stem, place)
    faults.finish()


def draw(shapes: Iterable[Any], size: Size) -> tuple[Mask, Mask]:
    """(target, ignored) of the shapes on a photo of size (H, W). Raises InputError for a faulty shape."""
    drawn: list[tuple[int, int, bool, Mask]] = []
    for index, shape in enumerate(shapes):
        label = field(shape, "label", str).lower()
        if label != _PASSED_OVER:
            mask = outline(shape, index, size)
            drawn.append((int(mask.sum()), index, IGNORE in label, mask))
    target, ignored = np.zeros(size, np.bool_), np.zeros(size, np.bool_)
    for _, _, ignore, mask in sorted(drawn, key=lambda item: item[:2], reverse=True):
        target = (target & ~mask) if ignore else (target | mask)
        ignored = (ignored | mask) if ignore else (ignored & ~mask)
    return target, ignored


def outline(shape: Any, index: int, size: Size) -> Mask:
    """The pixels of one shape: inside its outline, or on it."""
    points = field(shape, "points", list)
    whole = [_corner(point) for point in points]
    if len(whole) < 3:
        raise InputError(f"at least 3 points in shape {index}", str(len(whole)))
    mask = polygons_to_mask([[(x + 0.5, y + 0.5) for x, y in whole]], size).copy()
    for start, end in zip(whole, [*whole[1:], whole[0]], strict=True):
        x, y = _line(start, end)
        seen = (x >= 0) & (y >= 0) & (x < size[1]) & (y < size[0])
        mask[y[seen], x[seen]] = True
    return mask


def _line(start: tuple[int, int], end: tuple[int, int]) -> NDArray[np.int64]:
    """(2, n): x and y of the pixels from one to the other, the left one first, one for each step of the longer side.

    Bresenham's line as OpenCV draws it: half-way steps stay behind.
    """
    (x1, y1), (x2, y2) = sorted((start, end), key=lambda point: point[0])
    long, short = max(abs(x2 - x1), abs(y2 - y1)), min(abs(x2 - x1), abs(y2 - y1))
    along = np.arange(long + 1)
    across = -((long - 2 * short * along) // (2 * long)) if long else along
    steps = (along, across) if x2 - x1 >= abs(y2 - y1) else (across, along)
    return np.stack([x1 + steps[0], y1 + np.sign(y2 - y1) * steps[1]])


def shapes_of(mask: Mask, label: str = TARGET) -> list[dict[str, Any]]:
    """Shapes that give the mask back exactly when drawn by the rule above."""
    return [{"label": label, "labels": [label], "points": _centres(ring)} for ring in _pieces(mask)]


def write(pictures: Sequence[Picture], out: Path, album: Album, lost: Losses) -> int:
    """One JSON beside each photo, a folder for each split; a photo with several targets is there several times.

    The texts are those a record's meta has, else what the user said. Returns the number of regions.
    """
    regions = 0
    for split, picture in ((split, picture) for split, some in by_split(pictures).items() for picture in some):
        folder = out / split
        of_mask: dict[str, list[Shown]] = {}
        for shown in picture.shown:
            of_mask.setdefault(shown.rle["counts"], []).append(shown)
        lost["that {} photos are one each (copied, for a file has one target)"] += len(of_mask) > 1
        for group in of_mask.values():
            stem = album.stem(folder, picture.called(split))
            album.place(picture, folder, stem)
            texts, sentences = _texts(group)
            target = decode_rle(group[0].rle)
            shapes = shapes_of(target)
            ignored = group[0].meta.get("ignore")
            if isinstance(ignored, dict):
                shapes += shapes_of(decode_rle(ignored) & ~target, IGNORE)
            content = json.dumps({"text": texts, "is_sentence": sentences, "shapes": shapes}, ensure_ascii=False)
            (folder / f"{stem}.json").write_text(content + "\n", encoding="utf-8")
            regions += 1
    return regions


def _texts(group: Sequence[Shown]) -> tuple[list[str], bool]:
    """(texts, whether they are sentences) for one mask."""
    given = group[0].meta.get("instructions")
    if isinstance(given, list) and given and all(isinstance(text, str) and text for text in given):
        return given, bool(group[0].meta.get("is_sentence", True))
    if all(shown.ask == request(shown.phrase) for shown in group):
        return [shown.phrase for shown in group], False
    return list(dict.fromkeys(shown.ask for shown in group)), True


def _record(file: Path, split: str, source: str, place: str) -> Record:
    document = load_json(file, dict, prefer="cp1252")  # the official files are partly UTF-8, partly cp1252
    texts = field(document, "text", list)
    if not texts or not all(isinstance(text, str) and text.strip() and is_valid(text) for text in texts):
        raise InputError("at least one text, in valid Unicode", f"{texts!a:.60}")
    photo = beside(file)
    size = photo_size(photo)
    target, ignored = draw(field(document, "shapes", list), size)
    if not target.any():
        raise InputError("a target with pixels of the photo", "none")
    sentence = bool(document.get("is_sentence", True))
    phrase = TARGET if sentence else " ".join(texts[0].split())
    meta: dict[str, Any] = {"instructions": texts, "instruction": 0, "is_sentence": sentence}
    if ignored.any():
        meta["ignore"] = encode_rle(ignored)
    return single(
        photo, size, phrase, encode_rle(target), ask=texts[0] if sentence else request(phrase), meta=meta, split=split,
        id=id_of(source, split, place), image_id=file.stem, source=source,
    )  # fmt: skip


def _corner(point: Any) -> tuple[int, int]:
    """Whole coordinates, the rest cut off as LISA does."""
    if not isinstance(point, list) or len(point) != 2:
        raise InputError("points (x, y)", f"{point!r:.40}")
    if not all(isinstance(n, int | float) and not isinstance(n, bool) and abs(n) < 1e6 for n in point):
        raise InputError("points (x, y)", f"{point!r:.40}")
    return int(point[0]), int(point[1])


def _pieces(mask: Mask, left: int = 0) -> Iterator[Polygon]:
    """Outlines of parts without holes that together are the mask; it is cut through holes, near its middle first."""
    rings = mask_to_polygons(mask)
    holes = [min(x for x, _ in ring) for ring in rings if ring_area(ring) < 0]
    if not holes:
        yield from ([(x + left, y) for x, y in ring] for ring in rings)
        return
    cut = int(min(holes, key=lambda x: abs(x - mask.shape[1] / 2)))
    yield from _pieces(mask[:, :cut], left)
    yield from _pieces(mask[:, cut:], left + cut)


def _centres(ring: Polygon) -> list[list[int]]:
    """The outermost pixels of a part along its outline, from the corners between pixels (the part on the right)."""
    found: list[list[int]] = []
    for (x1, y1), (x2, y2) in zip(ring, [*ring[1:], ring[0]], strict=True):
        if y1 == y2:
            ends = [(x1, y1), (x2 - 1, y2)] if x2 > x1 else [(x1 - 1, y1 - 1), (x2, y2 - 1)]
        else:
            ends = [(x1 - 1, y1), (x2 - 1, y2 - 1)] if y2 > y1 else [(x1, y1 - 1), (x2, y2)]
        for x, y in ends:
            if not found or found[-1] != [x, y]:
                found.append([int(x), int(y)])
    if len(found) > 1 and found[-1] == found[0]:
        found.pop()
    return found + [found[-1]] * (3 - len(found))
