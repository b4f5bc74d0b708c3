"""A small dataset of each format, and what it holds, counted without the readers.

In: a folder. Out: files as the tools leave them. Photos have contents of their own, masks are all different, so
that by both one can tell what belongs to what; one photo in each dataset is named by no file.
"""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import damaged_counts
import numpy as np
from PIL import Image
from scipy.io import savemat

from miras.core.masks import decode_rle, encode_rle
from miras.data.formats.records import write_records
from miras.data.io.single import single
from miras.data.record import Record

SIZE = (24, 32)
STEMS = ("kettle", "wagon", "orchard")
"""Photos, each with two masks."""
STRANGER = "nobody"
"""A photo without annotations."""
DECODINGS = ("utf-8", "utf-16", "utf-32", "cp037")


@dataclass
class Set:
    """path: what is read; unit: what is counted; annotations: patterns of its files, those that list others first.

    exact: names and sizes are the reader's own business, not the record's. photo_of: run lengths -> bytes of the photo.
    """

    format: str
    path: str
    unit: str
    annotations: tuple[str, ...]
    make: Callable[[Path], None]
    count: Callable[[Path], int | None]
    exact: bool = True
    photo_of: dict[str, str] = field(default_factory=dict)


def photo(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (*SIZE, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def masks() -> list[np.ndarray[Any, Any]]:
    """Two for each photo: a block, and a part with a hole and a part beside it."""
    found = []
    for number in range(2 * len(STEMS)):
        mask = np.zeros(SIZE, np.bool_)
        mask[1 + number : 4 + number, 2:9] = True
        if number % 2:
            mask[10:15, 12 + number : 17 + number] = True
            mask[12, 13 + number] = False
        found.append(mask)
    return found


def runs(mask: np.ndarray[Any, Any]) -> list[int]:
    """Lengths of what is outside, inside, outside, ... row by row."""
    ends = np.flatnonzero(np.diff(mask.ravel().astype(np.int8), prepend=0, append=0))
    return np.diff(ends, prepend=0, append=mask.size).tolist()


def records(folder: Path) -> list[Record]:
    paths = [photo(folder / f"{stem}.jpg", number) for number, stem in enumerate(STEMS)]
    photo(folder / f"{STRANGER}.jpg", 99)
    return [
        single(
            paths[n // 2], SIZE, f"thing {n}", encode_rle(mask), id=f"set/{n}", image_id=paths[n // 2].stem,
            source="set", split="val" if n // 2 == 2 else "train",
        )
        for n, mask in enumerate(masks())
    ]  # fmt: skip


def _written(format: str, place: str = "set", stranger: str = "images") -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        some = records(folder / "photos")
        write_records(some[::2] if format == "prist" else some, folder / place, format)
        if stranger:
            photo(folder / place / stranger / f"{STRANGER}.jpg", 99)
            shutil.rmtree(folder / "photos")

    return make


def _crowds(folder: Path) -> None:
    """COCO with polygons, run lengths and crowds in one file."""
    _written("coco")(folder)
    for file in (folder / "set").glob("*.json"):
        document = json.loads(file.read_text())
        for note in document["annotations"]:
            rle = note["segmentation"]
            if isinstance(rle, dict) and note["id"] % 2 == 0:
                note["iscrowd"] = 1
        first = document["annotations"][0]
        if isinstance(first["segmentation"], dict):
            first["segmentation"]["counts"] = runs(decode_rle(first["segmentation"]).T)
        file.write_text(json.dumps(document))


def _min(folder: Path) -> None:
    _written("label-studio")(folder)
    for file in (folder / "set").glob("*.json"):
        items = []
        for task in json.loads(file.read_text()):
            sizes = {"original_width": SIZE[1], "original_height": SIZE[0]}
            tag = [{**result["value"], **sizes} for result in task["annotations"][0]["result"]]
            items.append(
                {"image": task["data"]["image"], "id": task["id"], "tag": tag, "annotator": 1, "annotation_id": 1}
            )
        file.write_text(json.dumps(items))


def _cvat(folder: Path) -> None:
    images = []
    for number, stem in enumerate(STEMS):
        photo(folder / "set" / "images" / f"{stem}.jpg", number)
        figures = [
            _given_mask(mask, f"thing {2 * number + n}") for n, mask in enumerate(masks()[2 * number : 2 * number + 2])
        ]
        figures += [
            f'<polygon label="lid" points="{number},1;9,1;9,{5 + number}" z_order="1" group_id="4"/>',
            f'<box label="lid" xtl="1" ytl="{number}" xbr="8.5" ybr="9" rotation="30.0"/>', '<tag label="good"/>',
            f'<ellipse label="pot" cx="{9 + number}" cy="9" rx="5" ry="3" rotation="10"/>',
            '<polyline label="road" points="1,1;3,3"/>',
        ]  # fmt: skip
        images.append(
            f'<image id="{number}" name="{stem}.jpg" width="32" height="24" subset="Train">{"".join(figures)}</image>'
        )
    photo(folder / "set" / "images" / f"{STRANGER}.jpg", 99)
    photo(folder / "set" / "images" / "frame_000001.PNG", 50)
    shown, gone = (
        '<polygon frame="1" outside="0" points="1,1;9,1;9,7"/>',
        '<polygon frame="2" outside="1" points="1,1;9,1;9,7"/>',
    )
    track = f'<track id="1" label="lid">{shown}{gone}</track>'
    labels = "".join(f"<label><name>{name}</name></label>" for name in ("lid", "pot", "road"))
    meta = f"<meta><task><id>1</id><labels>{labels}</labels></task></meta>"
    body = "\n".join([meta, *images, track])
    (folder / "set" / "annotations.xml").write_text(f"<annotations>{body}</annotations>")


def _given_mask(mask: np.ndarray[Any, Any], label: str) -> str:
    return f'<mask label="{label}" rle="{", ".join(map(str, runs(mask)))}" left="0" top="0" width="32" height="24"/>'


def _supervisely(folder: Path) -> None:
    root = folder / "set"
    for number, stem in enumerate(STEMS):
        dataset = root / ("val" if number == 2 else "train")
        photo(dataset / "img" / f"{stem}.jpg", number)
        things = [
            _bitmap(mask, f"thing {2 * number + n}") for n, mask in enumerate(masks()[2 * number : 2 * number + 2])
        ]
        ring = [[2 + number, 2], [14, 2], [14, 14], [2 + number, 14]]
        things += [
            _thing("polygon", points={"exterior": ring, "interior": [[[5, 5], [9, 5], [9, 9]]]}),
            _thing("rectangle", points={"exterior": [[1, 1 + number], [8, 9]], "interior": []}),
            _thing("point", points={}),
        ]  # fmt: skip
        (dataset / "ann").mkdir(exist_ok=True)
        document = {"description": "", "tags": [], "size": {"height": SIZE[0], "width": SIZE[1]}, "objects": things}
        (dataset / "ann" / f"{stem}.jpg.json").write_text(json.dumps(document))
        photo(dataset / "img" / f"{STRANGER}.jpg", 99)
    classes = [{"title": f"thing {n}", "shape": "any"} for n in range(6)] + [{"title": "lid", "shape": "polygon"}]
    (root / "meta.json").write_text(json.dumps({"classes": classes, "tags": []}))


def _thing(kind: str, label: str = "lid", **more: Any) -> dict[str, Any]:
    return {"id": 1, "classTitle": label, "geometryType": kind, "tags": [{"name": "a"}], **more}


def _bitmap(mask: np.ndarray[Any, Any], label: str) -> dict[str, Any]:
    buffer = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(buffer, format="PNG")
    data = base64.b64encode(zlib.compress(buffer.getvalue())).decode("ascii")
    return _thing("bitmap", label, bitmap={"data": data, "origin": [0, 0]})


def _pascal_part(folder: Path) -> None:
    for number, stem in enumerate(STEMS):
        photo(folder / "set" / "JPEGImages" / f"{stem}.jpg", number)
        whole, part = masks()[2 * number : 2 * number + 2]
        parts = np.array([(f"thing {2 * number + 1}", part)], [("part_name", object), ("mask", object)])
        thing = np.zeros(1, [("class", object), ("class_ind", object), ("mask", object), ("parts", object)])
        thing[0] = (f"thing {2 * number}", 1, whole.astype(np.uint8), parts.reshape(1, 1))
        (folder / "set" / "Annotations_Part").mkdir(exist_ok=True)
        anno = {"anno": {"imname": stem, "objects": thing.reshape(1, 1)}}
        savemat(folder / "set" / "Annotations_Part" / f"{stem}.mat", anno, do_compression=True)
    photo(folder / "set" / "JPEGImages" / f"{STRANGER}.jpg", 99)


def _llava(folder: Path) -> None:
    items = []
    for number, stem in enumerate(STEMS):
        photo(folder / "set" / "images" / f"{stem}.jpg", number)
        said = [{"from": "human", "value": f"<image>\nWhat is this, {n}?"} for n in range(2)]
        answers = [{"from": "gpt", "value": f"It is {stem} {n}."} for n in range(2)]
        talk = [one for pair in zip(said, answers, strict=True) for one in pair]
        items.append({"id": stem, "image": f"{stem}.jpg", "conversations": talk})
    photo(folder / "set" / "images" / f"{STRANGER}.jpg", 99)
    (folder / "set" / "llava.json").write_text(json.dumps([*items, {"id": "x", "conversations": []}]))


# What a dataset holds


def held(folder: Path, about: Set) -> int | None:
    """How many units its files hold; None where they cannot be counted."""
    with suppress(Exception):
        return about.count(folder / about.path)
    return None


def named(folder: Path, about: Set) -> set[str]:
    """The texts of its annotation files in every reading, and their names."""
    found: set[str] = set()
    for file in (file for pattern in about.annotations for file in folder.glob(pattern) if file.is_file()):
        found.add(file.name.split(".")[0])
        content = file.read_bytes()
        if file.suffix == ".parquet":
            found.update(STEMS)
        texts = [content.decode(encoding, "replace").replace("\0", "") for encoding in DECODINGS]
        frames = {f"frame_{int(number):06d}" for text in texts for number in re.findall(r'frame="(\d{1,6})[."]', text)}
        found.update(texts, frames)
    return found


SETS: dict[str, Set] = {
    "miras": Set(
        "miras", "set", "records", ("set/data/*.parquet",), _written("miras"), damaged_counts.unknown, exact=False
    ),
    "jsonl": Set(
        "jsonl",
        "set/a.jsonl",
        "lines",
        ("set/*.jsonl",),
        _written("jsonl", "set/a.jsonl", ""),
        damaged_counts.lines,
        exact=False,
    ),
    "prist": Set(
        "prist",
        "set",
        "dialogues",
        ("set/test.json", "set/masks/*.json"),
        _written("prist"),
        damaged_counts.lists(""),
        exact=False,
    ),
    "reasonseg": Set(
        "reasonseg", "set", "files", ("set/**/*.json",), _written("reasonseg", stranger="train"), damaged_counts.files
    ),
    "instructpart": Set(
        "instructpart",
        "set",
        "parts",
        ("set/*/data_*.json", "set/*/masks/*.png"),
        _written("instructpart", stranger="train/images"),
        damaged_counts.parts,
    ),
    "coco": Set("coco", "set", "annotations", ("set/*.json",), _crowds, damaged_counts.lists("annotations")),
    "coco-panoptic": Set(
        "coco-panoptic",
        "set",
        "segments",
        ("set/*.json", "set/panoptic*/*.png"),
        _written("coco-panoptic"),
        damaged_counts.lists("annotations", "segments_info"),
    ),
    "indexed-png": Set(
        "indexed-png",
        "set",
        "labels",
        ("set/*/labels.txt", "set/*/masks/*.png"),
        _written("indexed-png", stranger="train/images"),
        damaged_counts.unknown,
    ),
    "refcoco": Set(
        "refcoco",
        "set",
        "sentences",
        ("set/instances.json", "set/refs*.json"),
        _written("refcoco"),
        lambda path: damaged_counts.lists("", "sentences")(path / "refs(miras).json"),
    ),
    "labelme": Set(
        "labelme", "set", "shapes", ("set/**/*.json",), _written("labelme", stranger="train"), damaged_counts.shapes
    ),
    "yolo": Set(
        "yolo",
        "set",
        "lines",
        ("set/data.yaml", "set/labels/*/*.txt"),
        _written("yolo", stranger="images/train"),
        damaged_counts.yolo,
    ),
    "label-studio": Set(
        "label-studio", "set", "figures", ("set/*.json",), _written("label-studio"), damaged_counts.figures
    ),
    "label-studio-min": Set("label-studio", "set", "figures", ("set/*.json",), _min, damaged_counts.figures),
    "cvat": Set("cvat", "set", "figures", ("set/annotations.xml",), _cvat, damaged_counts.elements),
    "supervisely": Set(
        "supervisely", "set", "figures", ("set/meta.json", "set/*/ann/*.json"), _supervisely, damaged_counts.objects
    ),
    "pascal-part": Set(
        "pascal-part",
        "set",
        "photos",
        ("set/Annotations_Part/*.mat",),
        _pascal_part,
        lambda path: len(list((path / "Annotations_Part").glob("*.mat"))),
    ),
    "llava": Set("llava", "set", "conversations", ("set/*.json",), _llava, damaged_counts.lists("")),
}
"""By name of the reader."""
