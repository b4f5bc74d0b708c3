"""Another program's answers: OpenCV's GrabCut (Rother et al. 2004), which hears no word, for `miras eval`.

    miras eval DATA --split test --questions FOLDER       # writes FOLDER/questions.jsonl
    python benchmarks/grabcut.py FOLDER                   # needs opencv-python-headless; writes FOLDER/RECORD/TURN.png
    miras eval DATA --split test --model predictions:FOLDER --out RUN

The foreground is what five rounds of GrabCut leave of a rectangle in the middle, half as wide and half as high as the
photo, on the photo at 480 pixels of its longer side; every turn of a photo gets the same. Nothing of miras is imported:
any other program would be scored in the same way.
"""

from __future__ import annotations

import json
import sys
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

LONGER = 480


@lru_cache(maxsize=4)
def foreground(photo: str) -> np.ndarray:
    """(H, W) uint8, 255 = foreground."""
    pixels = cv2.imread(photo, cv2.IMREAD_COLOR)
    height, width = pixels.shape[:2]
    scale = min(1.0, LONGER / max(height, width))
    small = cv2.resize(
        pixels, (max(8, round(width * scale)), max(8, round(height * scale))), interpolation=cv2.INTER_AREA
    )
    h, w = small.shape[:2]
    mask = np.zeros((h, w), np.uint8)
    cv2.setRNGSeed(0)
    cv2.grabCut(
        small, mask, (w // 4, h // 4, w // 2, h // 2), np.zeros((1, 65)), np.zeros((1, 65)), 5, cv2.GC_INIT_WITH_RECT
    )
    inside = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8) * 255
    return cv2.resize(inside, (width, height), interpolation=cv2.INTER_NEAREST)


def main(folder: Path) -> None:
    for line in (folder / "questions.jsonl").read_text(encoding="utf-8").splitlines():
        asked = json.loads(line)
        out = folder / asked["record"] / f"{asked['turn']}.png"
        out.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(out), foreground(asked["photo"]))
    meta = {"name": "grabcut", "software": f"OpenCV {cv2.__version__}", "trained_on": "nothing"}
    (folder / "meta.json").write_text(json.dumps(meta))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
