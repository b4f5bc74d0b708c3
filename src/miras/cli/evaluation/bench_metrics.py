"""`miras bench metrics`: what the counts of many mask pairs cost, beside a numpy loop on full masks.

In: how many pairs, and a seed. Out: seconds of both sides, their ratio, and whether all counts are equal.
Pairs are drawn shapes of many sizes, some with a hole or a second part, as COCO run lengths, as samples hold them.
Three comparisons, both sides on one thread, block by block in turn. Seconds are that thread's processor time, so
that other jobs on the machine do not count (on an idle one it is the time on the clock):
- the figures at the top: both sides start from the run lengths; the loop decodes with COCO's C code;
- "in_memory": the loop has its full masks ready, ours its runs; nothing is read or decoded;
- "boundary": the counts of the boundary bands, from run lengths, for every tenth pair.
"in_memory_loop_over_ours_from_rle" is the hardest: ours reads run lengths while the loop has its masks ready.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from miras.cli.options import Json, Seed
from miras.cli.output import emit, progress, table
from miras.core.errors import InputError
from miras.core.masks import encode_rle
from miras.core.types import Rle

HEIGHT, WIDTH = 480, 640
RADII = 8.0, 240.0
"""Smallest and largest shape in pixels; drawn evenly on a logarithmic scale."""
BLOCK = 192
"""Pairs that one side counts before the other has its turn; their full masks take 118 MB."""
BOUNDARY_EVERY = 10
"""Boundary bands are counted for every so many pairs: the loop takes long."""
Pair = tuple[Rle, Rle]
Counts = list[tuple[int, int, int]]


@dataclass
class Clock:
    """Seconds of both sides of one comparison, and whether their counts were equal so far."""

    ours: float = 0.0
    loop: float = 0.0
    pairs: int = 0
    equal: bool = True

    def race(self, ours: Callable[[], Counts], loop: Callable[[], Counts]) -> None:
        """Time both sides of a block."""
        start = time.thread_time()
        first = ours()
        middle = time.thread_time()
        second = loop()
        self.loop += time.thread_time() - middle
        self.ours += middle - start
        self.pairs += len(second)
        self.equal &= first == second

    def result(self) -> dict[str, Any]:
        """As printed."""
        ratio = self.loop / self.ours if self.ours else 0.0
        return {
            "seconds": round(self.ours, 4), "naive_seconds": round(self.loop, 4), "ratio": round(ratio, 1),
            "equal": self.equal, "pairs": self.pairs,
        }  # fmt: skip


@dataclass
class Clocks:
    """The three comparisons."""

    from_rle: Clock = field(default_factory=Clock)
    in_memory: Clock = field(default_factory=Clock)
    boundary: Clock = field(default_factory=Clock)


def metrics(*, pairs: int = 10_000, json: Json = False, seed: Seed = 0) -> int:
    """Counts of many mask pairs, ours and a numpy loop on full masks, and whether they are equal."""
    return run(pairs=pairs, as_json=json, seed=seed)


def run(*, pairs: int, as_json: bool, seed: int) -> int:
    """Exit code 0; 1 when a count differs. Raises InputError for fewer than 1 pair."""
    if pairs < 1:
        raise InputError("--pairs of at least 1", str(pairs))
    rng = np.random.default_rng(seed)
    drawn = [draw_pair(rng) for _ in progress(range(pairs), pairs, "drawing")]
    measure(drawn[:BLOCK], Clocks())  # warm up
    clocks = Clocks()
    starts = range(0, pairs, BLOCK)
    for start in progress(starts, len(starts), "counting"):
        measure(drawn[start : start + BLOCK], clocks)
    result = summary(clocks, seed)
    if as_json:
        emit(result)
    else:
        rows = [("from run lengths", clocks.from_rle), ("in memory", clocks.in_memory), ("boundary", clocks.boundary)]
        cells = [(name, *clock.result().values()) for name, clock in rows]
        print(table(cells, ("counts", "seconds", "numpy loop", "ratio", "equal", "pairs")))
    return 0 if result["equal"] else 1


def measure(pairs: Sequence[Pair], clocks: Clocks) -> None:
    """Count one block of pairs on both sides, three times over."""
    from miras.eval.metrics import packed, reference
    from miras.eval.metrics.pixels import boundaries, overlaps

    some = pairs[::BOUNDARY_EVERY]
    clocks.from_rle.race(
        lambda: [(o.both, o.predicted, o.gold) for o in overlaps(*_sides(pairs))],
        lambda: [reference.count(reference.decode(first), reference.decode(second)) for first, second in pairs],
    )
    clocks.boundary.race(
        lambda: [(o.both, o.predicted, o.gold) for o in boundaries(*_sides(some))],
        lambda: [reference.count_bands(reference.decode(first), reference.decode(second)) for first, second in some],
    )
    masks = [(reference.decode(first), reference.decode(second)) for first, second in pairs]
    predicted, gold = (packed.read(side) for side in _sides(pairs))
    clocks.in_memory.race(
        lambda: list(
            zip(
                packed.intersections(predicted, gold).tolist(), packed.areas(predicted).tolist(),
                packed.areas(gold).tolist(), strict=True,
            )
        ),
        lambda: reference.count_all(masks),
    )  # fmt: skip


def summary(clocks: Clocks, seed: int) -> dict[str, Any]:
    """The object of `--json`."""
    parts = (clocks.from_rle, clocks.in_memory, clocks.boundary)
    return {
        **clocks.from_rle.result(), "equal": all(clock.equal for clock in parts),
        "in_memory": clocks.in_memory.result(), "boundary": clocks.boundary.result(),
        "in_memory_loop_over_ours_from_rle": round(clocks.in_memory.loop / clocks.from_rle.ours, 1),
        "size": [HEIGHT, WIDTH], "input": "COCO run lengths, decoding counted on both sides", "threads": 1,
        "clock": "processor time of the thread",
        "seed": seed, "numpy": np.__version__, "machine": f"{platform.machine()}, {platform.system()}",
    }  # fmt: skip


def draw_pair(rng: np.random.Generator) -> Pair:
    """A gold mask and a prediction that misses it more or less; now and then one of them is empty."""
    radius = float(np.exp(rng.uniform(*np.log(RADII))))
    centre = rng.uniform(0, (WIDTH, HEIGHT))
    rles = []
    for _ in range(2):
        picture = Image.new("1", (WIDTH, HEIGHT))
        if rng.random() > 0.02:
            own = radius * float(np.exp(0.2 * rng.normal()))
            middle = centre + 0.2 * radius * rng.normal(size=2)
            _blob(picture, middle, own, 1, rng)
            if rng.random() < 0.3:
                _blob(picture, middle + 2 * own * rng.normal(size=2), own / 2, 1, rng)
            if rng.random() < 0.3:
                _blob(picture, middle, own / 3, 0, rng)
        rles.append(encode_rle(np.asarray(picture)))
    return rles[0], rles[1]


def _blob(picture: Image.Image, centre: Any, radius: float, fill: int, rng: np.random.Generator) -> None:
    """A star-shaped polygon with 5 to 40 corners, up to 2.6 times as wide as high or the other way."""
    corners = int(rng.integers(5, 41))
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    reach = radius * rng.uniform(0.6, 1, corners)
    stretch = float(np.exp(rng.uniform(-0.48, 0.48)))
    x, y = centre[0] + reach * np.cos(angles) * stretch, centre[1] + reach * np.sin(angles) / stretch
    ImageDraw.Draw(picture).polygon(list(zip(x.tolist(), y.tolist(), strict=True)), fill=fill)


def _sides(pairs: Sequence[Pair]) -> tuple[list[Rle], list[Rle]]:
    return [first for first, _ in pairs], [second for _, second in pairs]
