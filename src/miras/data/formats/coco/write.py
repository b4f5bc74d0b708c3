"""COCO as files: instances, panoptic segments, and RefCOCO's refs over instances.

In: photos with regions. Out: in the folder, `images/` and

    instances.json, instances_val.json, ...    (a file a split; polygons where they are exact, else run lengths)
    panoptic.json, panoptic/*.png              (one id a pixel: of two masks, the later one lies on top)
    refs(miras).json, instances.json           (one ref a mask, one sentence a phrase)

Categories are the phrases in plain words (lower case), sorted, ids from 1. Sources: cocodataset.org/#format-data;
github.com/lichengunc/refer.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as rle_tools

from miras.core.masks import box_of, decode_rle, mask_to_polygons, ring_area
from miras.core.types import Rle
from miras.data.io.gather import Album, Losses, Picture, Shown, by_split
from miras.data.language.vocabulary import is_null, words

NULL = "{} regions whose words mean no label"
SPELLING = "spelling of {} phrases"
PARTLY, WHOLLY = "parts of {} masks that others cover", "{} masks that others cover wholly"


def write_instances(pictures: Sequence[Picture], out: Path, album: Album, lost: Losses) -> int:
    """Instances, a file for each split; returns the number of regions."""
    ids = categories(pictures, lost)
    regions = 0
    for split, some in by_split(pictures).items():
        images: list[dict[str, Any]] = []
        notes: list[dict[str, Any]] = []
        for number, picture in enumerate(some, 1):
            images.append(_image(picture, number, out, album))
            for shown in picture.shown:
                if words(shown.phrase) in ids:
                    notes.append(_instance(shown.rle, len(notes) + 1, number, ids[words(shown.phrase)]))
        _write(out / f"{_stem('instances', split)}.json", images, notes, ids)
        regions += len(notes)
    return regions


def write_panoptic(pictures: Sequence[Picture], out: Path, album: Album, lost: Losses) -> int:
    """Panoptic segments, a file and a folder for each split; returns the number of segments."""
    ids = categories(pictures, lost)
    regions = 0
    for split, some in by_split(pictures).items():
        stem = _stem("panoptic", split)
        (out / stem).mkdir(parents=True)
        images: list[dict[str, Any]] = []
        notes: list[dict[str, Any]] = []
        for picture in some:
            kept = [shown for shown in picture.shown if words(shown.phrase) in ids]
            layers = stack([shown.rle for shown in kept], picture.size, lost)
            if not layers.any():
                continue
            images.append(_image(picture, len(images) + 1, out, album))
            name = f"{Path(images[-1]['file_name']).stem}.png"
            rgb = np.stack([layers & 255, layers >> 8 & 255, layers >> 16 & 255], axis=-1).astype(np.uint8)
            Image.fromarray(rgb).save(out / stem / name)
            segments = [_segment(layers, n, ids[words(shown.phrase)]) for n, shown in enumerate(kept, 1)]
            found = [segment for segment in segments if segment["area"]]
            notes.append({"image_id": len(images), "file_name": name, "segments_info": found})
            regions += len(found)
        _write(out / f"{stem}.json", images, notes, ids, {"isthing": 1})
    return regions


def write_refs(pictures: Sequence[Picture], out: Path, album: Album, lost: Losses) -> int:
    """Refs over instances: the phrases of one mask are the sentences of one ref; returns the number of regions.

    Splits keep the names that a record's meta has ("testA"). Categories are those of the meta, else phrases.
    """
    images: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    refs: list[dict[str, Any]] = []
    ids = {name: i for i, name in enumerate(sorted({_label(s) for p in pictures for s in p.shown}), 1)}
    sentences = 0
    for number, picture in enumerate(pictures, 1):
        images.append(_image(picture, number, out, album))
        of_mask: dict[tuple[str, str], list[Shown]] = {}
        for shown in picture.shown:
            of_mask.setdefault((shown.rle["counts"], shown.split), []).append(shown)
        for group in of_mask.values():
            first = group[0]
            lost["that {} refs are in no split (written as train)"] += not first.split
            notes.append(_instance(first.rle, len(notes) + 1, number, ids[_label(first)]))
            said = [
                {"sent_id": sentences + i, "sent": s.phrase, "raw": s.phrase, "tokens": s.phrase.split()}
                for i, s in enumerate(group, 1)
            ]
            sentences += len(said)
            split = first.meta.get("split")
            split = split if isinstance(split, str) and split.startswith("test") else first.split
            refs.append({
                "ref_id": len(refs) + 1, "ann_id": len(notes), "image_id": number, "file_name": images[-1]["file_name"],
                "category_id": ids[_label(first)], "split": split or "train", "sentences": said,
                "sent_ids": [sentence["sent_id"] for sentence in said],
            })  # fmt: skip
    _write(out / "instances.json", images, notes, ids)
    (out / "refs(miras).json").write_text(json.dumps(refs, ensure_ascii=False) + "\n", encoding="utf-8")
    return sentences


def categories(pictures: Sequence[Picture], lost: Losses) -> dict[str, int]:
    """Words -> id from 1, sorted; phrases that mean "no label" have none."""
    phrases = [shown.phrase for picture in pictures for shown in picture.shown]
    lost[NULL] += sum(is_null(phrase) for phrase in phrases)
    lost[SPELLING] += sum(words(phrase) != phrase for phrase in set(phrases) if not is_null(phrase))
    return {name: i for i, name in enumerate(sorted({words(p) for p in phrases if not is_null(p)}), 1)}


def stack(rles: Sequence[Rle], size: tuple[int, int], lost: Losses) -> np.ndarray[Any, np.dtype[np.uint32]]:
    """(H, W): for each pixel the number, from 1, of the last mask that has it; 0 for none."""
    layers = np.zeros(size, np.uint32)
    areas = []
    for number, rle in enumerate(rles, 1):
        mask = decode_rle(rle)
        areas.append(int(mask.sum()))
        layers[mask] = number
    left = np.bincount(layers.ravel(), minlength=len(rles) + 1)[1:]
    lost[WHOLLY] += int((left == 0).sum())
    lost[PARTLY] += int(((left > 0) & (left < np.array(areas, np.int64))).sum())
    return layers


def polygons(rle: Rle) -> list[list[float]] | None:
    """COCO's polygons of a mask, where they give it back bit for bit with COCO's own code; else None."""
    rings = mask_to_polygons(decode_rle(rle))
    if any(ring_area(ring) < 0 for ring in rings):
        return None
    flat = [[float(n) for corner in ring for n in corner] for ring in rings]
    drawn = rle_tools.merge(rle_tools.frPyObjects(flat, *rle["size"]))
    return flat if drawn["counts"] == rle["counts"].encode("ascii") else None


def _instance(rle: Rle, id: int, image_id: int, category_id: int) -> dict[str, Any]:
    coded = {**rle, "counts": rle["counts"].encode("ascii")}
    return {
        "id": id, "image_id": image_id, "category_id": category_id, "iscrowd": 0,
        "segmentation": polygons(rle) or rle, "area": int(rle_tools.area(coded)),
        "bbox": [float(n) for n in rle_tools.toBbox(coded)],
    }  # fmt: skip


def _segment(layers: np.ndarray[Any, np.dtype[np.uint32]], id: int, category_id: int) -> dict[str, Any]:
    mask = layers == id
    x1, y1, x2, y2 = (int(side) for side in box_of(mask) or (0, 0, 0, 0))
    return {
        "id": id, "category_id": category_id, "area": int(mask.sum()), "bbox": [x1, y1, x2 - x1, y2 - y1], "iscrowd": 0,
    }  # fmt: skip


def _image(picture: Picture, number: int, out: Path, album: Album) -> dict[str, Any]:
    name = album.put(picture, out / "images")
    return {"id": number, "file_name": name, "height": picture.size[0], "width": picture.size[1]}


def _label(shown: Shown) -> str:
    label = shown.meta.get("category")
    return words(label if isinstance(label, str) and label else shown.phrase)


def _stem(kind: str, split: str) -> str:
    return f"{kind}_{split}" if split else kind


def _write(
    path: Path, images: list[dict[str, Any]], notes: list[dict[str, Any]], ids: dict[str, int],
    more: dict[str, Any] | None = None,
) -> None:  # fmt: skip
    named = [{"id": i, "name": name, "supercategory": "", **(more or {})} for name, i in ids.items()]
    content = {"info": {"description": "miras"}, "images": images, "categories": named, "annotations": notes}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")
