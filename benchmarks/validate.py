"""How long `miras data validate` takes beside merely decoding the photos: one JSON object.

    python benchmarks/validate.py [--photos 2000] [--megapixels 1.2] [--format coco] [--repeats 3]

Photos are drawn into a temporary folder: smooth shapes with grain, JPEG of quality 90, sides that vary, two masks each.
"decode_seconds" is Pillow's `Image.open(...).load()` over all of them in as many threads as
validate uses, with nothing else done; "validate_seconds" is the command in this process: reading annotations, checking
records and masks, and decoding; "header_seconds" is `--fast`. All run in turn, the least of the repeats counts. "ratio"
is validate over decode, wanted at most 1.2; "work_ratio" is that of the processor's seconds, which holds on a machine
that others use, too. Files are read once before, so that all find them in memory.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from miras.cli import main as door
from miras.core.masks import encode_rle
from miras.core.parallel.threads import cores
from miras.data.formats.records import write_records
from miras.data.inspect import decoded
from miras.data.io.single import single
from miras.data.record import Record

BASES = 24
"""Different pictures; every photo is a crop of one of them."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=2000)
    parser.add_argument("--megapixels", type=float, default=1.2)
    parser.add_argument("--format", default="coco")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        records = draw(Path(folder) / "drawn", given.photos, given.megapixels)
        write_records(records, data, given.format, photos="link")
        photos = sorted(path for path in data.rglob("*.jpg"))
        size = sum(path.stat().st_size for path in photos)
        assert sum(len(path.read_bytes()) for path in photos) == size
        seconds: dict[str, float] = {}
        work: dict[str, float] = {}
        for _ in range(given.repeats):
            for name, run in (
                ("decode", lambda: decode(photos)),
                ("validate", lambda: validate(data, given.format)),
                ("header", lambda: validate(data, given.format, "--fast")),
            ):
                wall, busy = timed(run)
                seconds[name] = min(seconds.get(name, float("inf")), wall)
                work[name] = min(work.get(name, float("inf")), busy)
    print(json.dumps({
        "photos": len(photos), "megapixels": given.megapixels, "bytes_a_photo": size // max(len(photos), 1),
        "format": given.format, "threads": cores(),
        **{f"{name}_seconds": round(value, 3) for name, value in seconds.items()},
        "ratio": round(seconds["validate"] / seconds["decode"], 3),
        "work_ratio": round(work["validate"] / work["decode"], 3),
    }))  # fmt: skip


def draw(folder: Path, count: int, megapixels: float) -> list[Record]:
    """Photos on the disk, two records each."""
    folder.mkdir(parents=True)
    dice = np.random.default_rng(0)
    side = round((megapixels * 1e6) ** 0.5)
    bases = [picture(dice, round(side * 1.6)) for _ in range(BASES)]
    records = []
    for number in range(count):
        aspect = dice.choice([2 / 3, 3 / 4, 1.0, 4 / 3, 3 / 2]) ** 0.5
        width, height = round(side * aspect), round(side / aspect)
        base = bases[number % BASES]
        left, top = (int(dice.integers(0, base.width - width + 1)), int(dice.integers(0, base.height - height + 1)))
        path = folder / f"{number:06d}.jpg"
        base.crop((left, top, left + width, top + height)).save(path, quality=90)
        for index in range(2):
            mask = np.zeros((height, width), np.bool_)
            y, x = int(dice.integers(0, height // 2)), int(dice.integers(0, width // 2))
            mask[y : y + height // 3, x : x + width // 3] = True
            records.append(single(
                path, (height, width), ("cup", "spoon")[index], encode_rle(mask), id=f"{number}-{index}",
                image_id=path.stem, source="drawn",
            ))  # fmt: skip
    return records


def picture(dice: np.random.Generator, side: int) -> Image.Image:
    """Coloured patches at several scales, with grain."""
    total = np.zeros((side, side, 3), np.float64)
    for cells, weight in ((4, 0.5), (16, 0.3), (64, 0.2)):
        small = Image.fromarray(dice.integers(0, 256, (cells, cells, 3), np.uint8))
        total += weight * np.asarray(small.resize((side, side), Image.Resampling.BICUBIC), np.float64)
    grain = dice.normal(0, 6, (side, side, 1))
    return Image.fromarray((total + grain).clip(0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.6))


def timed(run: Callable[[], Any]) -> tuple[float, float]:
    """Seconds on the clock, and seconds of the processor in all threads."""
    start, busy = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - start, time.process_time() - busy


def decode(photos: list[Path]) -> None:
    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(_decode, photos))


def _decode(path: Path) -> None:
    with Image.open(path) as image:
        image.load()


def validate(data: Path, format: str, *more: str) -> None:
    decoded._known.clear()  # as in a process of its own
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = door.call(["data", "validate", str(data), "--format", format, "--json", *more])
    assert code == 0, out.getvalue()


if __name__ == "__main__":
    main()
