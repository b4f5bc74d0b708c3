"""Label Studio as files: tasks with one annotation each, to be imported or read again.

In: photos with regions. Out: in the folder

    tasks.json, tasks_val.json, ...    a file a split
    label_config.xml                   the labelling interface that they need
    images/                            served from here as local files (LOCAL_FILES_DOCUMENT_ROOT = this folder)

A mask of one part without holes is a polygon along its pixel edges, any other a brush: both read back exactly.
Source: labelstud.io, "Label Studio JSON format of annotated tasks"; "Local storage".
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from miras.core.masks import decode_rle, mask_to_polygons
from miras.data.formats.tools import brush
from miras.data.io.gather import Album, Losses, Picture, Shown, by_split

_POLYGON, _BRUSH, _IMAGE = "polygon", "brush", "image"
"""Names of the tags in the labelling interface."""


def write(pictures: Sequence[Picture], out: Path, album: Album, lost: Losses) -> int:
    """Tasks, a file for each split, and the interface; returns the number of regions."""
    count = regions = 0
    for split, some in by_split(pictures).items():
        tasks = []
        for number, picture in enumerate(some, count + 1):
            name = album.put(picture, out / "images")
            address = f"/data/local-files/?d={quote(f'images/{name}')}"
            results = [_result(shown, n, picture.size) for n, shown in enumerate(picture.shown, 1)]
            tasks.append({"id": number, "data": {_IMAGE: address}, "annotations": [{"id": number, "result": results}]})
            regions += len(results)
        count += len(some)
        text = json.dumps(tasks, ensure_ascii=False) + "\n"
        (out / f"{f'tasks_{split}' if split else 'tasks'}.json").write_text(text, encoding="utf-8")
    phrases = sorted({shown.phrase for picture in pictures for shown in picture.shown})
    (out / "label_config.xml").write_text(interface(phrases), encoding="utf-8")
    return regions


def interface(labels: Sequence[str]) -> str:
    """The labelling interface for these labels, each as outline and as brush."""
    lines = ["<View>", f'  <Image name="{_IMAGE}" value="${_IMAGE}"/>']
    for tag, name in (("PolygonLabels", _POLYGON), ("BrushLabels", _BRUSH)):
        lines.append(f'  <{tag} name="{name}" toName="{_IMAGE}">')
        lines += [f"    <Label value={quoteattr(label)}/>" for label in labels]
        lines.append(f"  </{tag}>")
    return "\n".join([*lines, "</View>", ""])


def _result(shown: Shown, number: int, size: tuple[int, int]) -> dict[str, Any]:
    mask = decode_rle(shown.rle)
    rings = mask_to_polygons(mask)
    if len(rings) == 1:
        points = [[100 * x / size[1], 100 * y / size[0]] for x, y in rings[0]]
        kind, value = _POLYGON, {"points": points, "closed": True}
    else:
        kind, value = _BRUSH, {"format": "rle", "rle": brush.pack(mask)}
    return {
        "id": f"region-{number}", "type": f"{kind}labels", "from_name": kind, "to_name": _IMAGE,
        "original_width": size[1], "original_height": size[0], "image_rotation": 0,
        "value": {**value, f"{kind}labels": [shown.phrase]},
    }  # fmt: skip
