"""A small folder of real photos with real masks: those that ship with the package, outlined by hand, as LabelMe.

In: a folder. Out: photos and a JSON beside each. Run as a script: python -m tests.own_photos FOLDER
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

ASSETS = Path(__file__).resolve().parents[1] / "src" / "miras" / "assets"
OUTLINES: dict[str, tuple[tuple[str, str], ...]] = {
    "coffee": (
        ("cup", "173,105 182,70 205,42 240,25 285,18 330,24 370,44 397,75 408,108 405,140 395,172 385,200 370,228 "
                "345,245 325,240 318,250 328,260 318,276 290,285 262,280 245,290 228,305 210,306 197,293 198,270 "
                "220,234 200,210 183,180 174,145"),
        ("spoon", "398,70 408,66 422,71 424,84 413,120 400,165 386,213 384,232 400,250 406,275 398,300 380,318 358,325 "
                  "338,317 328,298 327,272 340,253 360,243 372,232 380,205 395,165 407,120 408,105 402,85"),
        ("saucer", "180,72 140,92 105,125 82,175 76,220 85,265 110,310 150,347 205,374 280,388 350,382 410,355 450,315 "
                   "472,265 479,215 465,165 440,128 415,105 402,165 386,213 384,232 400,250 406,275 398,300 380,318 "
                   "358,325 338,317 328,298 328,268 290,285 262,280 245,290 228,305 210,306 197,293 198,270 "
                   "200,210 183,180 174,145 173,105"),
    ),
    "chelsea": (
        ("eye", "135,108 140,93 155,86 180,86 197,94 206,110 205,132 192,145 170,146 150,137 139,123"),
        ("eye", "298,140 302,122 313,112 330,109 341,116 343,135 336,153 320,163 304,160 298,150"),
        ("nose of the cat", "232,229 262,228 292,232 286,245 270,258 258,266 252,252 243,238"),
    ),
    "astronaut": (
        ("helmet", "277,512 279,470 287,430 302,398 325,370 355,352 400,343 440,357 472,390 492,435 "
                   "503,458 500,490 490,512"),
        ("name badge", "280,340 329,347 326,378 282,372"),
    ),
    "rocket": (
        ("rocket", "322,126 329,134 334,150 333,176 330,182 332,406 312,406 313,182 311,176 311,150 315,134"),
        ("tower", "50,0 87,0 84,150 76,345 70,427 0,427 0,340 22,220 40,100"),
        ("tower", "560,0 600,0 640,215 640,427 580,427 570,250 563,100"),
    ),
}  # fmt: skip
"""Stem of the photo -> (label, corners x,y of the outline)."""
PATCH = ("mission patch", "171,385 171,422")
"""On the astronaut's suit, a circle: its centre, a point of its edge."""


def points(text: str) -> list[list[int]]:
    """Corners as LabelMe has them."""
    return [[int(number) for number in corner.split(",")] for corner in text.split()]


def document(stem: str, width: int, height: int) -> dict[str, Any]:
    """What LabelMe writes for a photo."""
    drawn = [(label, corners, "polygon") for label, corners in OUTLINES[stem]]
    drawn += [(*PATCH, "circle")] if stem == "astronaut" else []
    shapes = [
        {"label": label, "points": points(corners), "group_id": None, "shape_type": kind, "flags": {}}
        for label, corners, kind in drawn
    ]
    return {
        "version": "5.3.0", "flags": {}, "shapes": shapes, "imagePath": f"{stem}.jpg", "imageData": None,
        "imageHeight": height, "imageWidth": width,
    }  # fmt: skip


def write(folder: Path, stems: Sequence[str] = tuple(OUTLINES)) -> Path:
    """The photos and their JSON files; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for stem in stems:
        shutil.copy(ASSETS / f"{stem}.jpg", folder)
        with Image.open(folder / f"{stem}.jpg") as photo:
            found = document(stem, photo.width, photo.height)
        (folder / f"{stem}.json").write_text(json.dumps(found))
    return folder


if __name__ == "__main__":
    print(write(Path(sys.argv[1])))
