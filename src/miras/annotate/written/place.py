"""Where a flat artwork lies in a photo: a quadrilateral well inside a surface, as that surface would hold it.

In: the free pixels of a surface, how busy the photo is there, the size of the artwork, a pose. Out: a `Placement`,
which knows for every point of the photo which point of the artwork lies there (perspective by a four-point homography,
then the bend of a cylinder). Only +, -, *, / and comparisons touch the pixels, so all machines agree. Knows no
typeface, no colour and no label.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from miras.core.masks import box_of
from miras.core.types import Mask
from miras.data.lettering.place import Floats, Placement

Quads = Callable[[Floats, Floats, float, float], Floats]
"""(centres x, y; width, height in pixels) -> (K, 4, 2) corners: top left, top right, bottom right, bottom left."""
_STEEPEST = 0.4
_STEPS = 9
_GRID = 18


@dataclass(frozen=True)
class Pose:
    """How writing lies on a surface. height: share of its height that is left by foreshortening; width: likewise.
    bend: 0 flat to 0.6 round. sag: how far the middle hangs below (or, negative, above) the ends, of its height."""

    quads: Quads
    height: float = 1.0
    width: float = 1.0
    bend: float = 0.0
    sag: float = 0.0


def pose_of(name: str, mask: Mask, road: Mask | None, rng: np.random.Generator) -> Pose | None:
    """The pose of that name on a surface; None where its edges run too steeply to read anything along them.

    road: the road's mask, whose far end is where parallel lines meet.
    Draws the same number of times from `rng` whatever the mask.
    """
    tilt, dice, lean = (float(rng.random()) * 2 - 1 for _ in range(3))
    if name == "garment":
        return Pose(_rotated(_clip(_lean(mask) + 0.05 * tilt, 0.25)), bend=0.1, sag=0.05 * dice)
    if name == "round":
        return Pose(_rotated(_clip(_lean(mask), 0.5)), width=0.95, bend=0.3, sag=0.07 + 0.04 * dice)
    if name in ("panel", "door", "hood"):
        top, bottom = _edges(mask)
        if name == "door":  # a wheel arch bends the lower edge of some, so only a little of it counts
            bottom = _clip(bottom, 0.12)
            top = 0.4 * bottom
        if max(abs(top), abs(bottom)) >= _STEEPEST:
            return None
        height = 0.62 if name == "hood" else 1.0
        return Pose(_panel(mask, top, bottom, 0.0 if name == "door" else 0.2 * _lean(mask)), height)
    far = _far_end(road) if road is not None else None
    if name == "facade" and far is not None and dice > -0.4:
        return Pose(_facade(far), width=0.75)
    if name == "ground":
        return Pose(_ground(far if far is not None else _far_end(mask)), height=0.6)
    return Pose(_rotated(0.04 * tilt, 0.04 * lean))


def find(
    free: Mask, busy: NDArray[np.int64], flat: tuple[int, int], pose: Pose, spot: tuple[float, float],
    scales: tuple[float, float], calm: float, near: float, rng: np.random.Generator,
) -> Placement | None:  # fmt: skip
    """A place for an artwork whose every part lies on free pixels; None when there is none.

    busy: (H + 1, W + 1) sums of the photo's gradient, see `busyness`. flat: (h, w) of the artwork in its own pixels.
    spot: where in the free pixels' box it would best be, (0..1, 0..1). scales: smallest and largest, photo pixels for
    one of the artwork. calm: the mean gradient there may be at most. near: weight of the spot
    against a smooth place. The largest size that fits is found, then taken a little smaller by chance.
    """
    box = box_of(free)
    dice = float(rng.random())
    if box is None or scales[1] < scales[0]:
        return None
    x0, y0, x1, y1 = box
    steps = (np.arange(_GRID) + 0.5) / _GRID
    xs, ys = (grid.ravel() for grid in np.meshgrid(x0 + steps * (x1 - x0), y0 + steps * (y1 - y0)))
    ratio = (scales[0] / scales[1]) ** (1 / (_STEPS - 1))
    sizes = [scales[1] * ratio**n for n in range(_STEPS)]
    for number, size in enumerate(sizes):
        if not _fits(pose, free, xs, ys, flat, size).any():
            continue
        size = sizes[min(number + int(dice * 3), _STEPS - 1)]
        corners = pose.quads(xs, ys, flat[1] * size * pose.width, flat[0] * size * pose.height)
        stir = _mean_busy(busy, corners)
        fits = _fits(pose, free, xs, ys, flat, size) & (stir <= calm)
        away = np.abs(xs - (x0 + spot[0] * (x1 - x0))) / (x1 - x0) + np.abs(ys - (y0 + spot[1] * (y1 - y0))) / (y1 - y0)
        cost = stir / 12 + near * away + np.where(fits, 0.0, 1e6)
        best = int(np.argmin(cost))
        if not fits[best]:
            return None
        quad = tuple((float(x), float(y)) for x, y in corners[best])
        return Placement(quad, pose.bend, pose.sag, size)
    return None


def busyness(grey: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Running sums of the absolute gradient of an (H, W) picture: (H + 1, W + 1), exact."""
    values = grey.astype(np.int16)
    change = np.zeros(grey.shape, np.int16)
    change[:, 1:] = np.abs(values[:, 1:] - values[:, :-1])
    change[1:] += np.abs(values[1:] - values[:-1])
    sums = np.zeros((grey.shape[0] + 1, grey.shape[1] + 1), np.int64)
    np.cumsum(change, axis=0, out=sums[1:, 1:])
    np.cumsum(sums[1:, 1:], axis=1, out=sums[1:, 1:])
    return sums


def shrink(mask: Mask, pixels: int) -> Mask:
    """The pixels more than `pixels` away (Chebyshev) from one that is not selected, or from outside the photo."""
    return ~grow(np.pad(~mask, 1, constant_values=True), pixels)[1:-1, 1:-1]


def grow(mask: Mask, pixels: int) -> Mask:
    """The pixels at most `pixels` away (Chebyshev) from a selected one."""
    wide = mask.copy()
    for step in range(1, pixels + 1):
        wide[step:] |= mask[:-step]
        wide[:-step] |= mask[step:]
    whole = wide.copy()
    for step in range(1, pixels + 1):
        whole[:, step:] |= wide[:, :-step]
        whole[:, :-step] |= wide[:, step:]
    return whole


def _fits(pose: Pose, free: Mask, xs: Floats, ys: Floats, flat: tuple[int, int], size: float) -> NDArray[np.bool_]:
    """Which centres hold the artwork: its middle and corners are looked up first, then a mesh of points over it."""
    fits = _free(free, xs, ys)
    for mesh in (2, 13):
        left = np.flatnonzero(fits)
        if len(left) == 0:
            break
        corners = pose.quads(xs[left], ys[left], flat[1] * size * pose.width, flat[0] * size * pose.height)
        across, down = (g.ravel() for g in np.meshgrid(np.linspace(0, 1, mesh), np.linspace(0, 1, mesh // 2 + 1)))
        down = down + pose.sag * (1 - (across * 2 - 1) ** 2)
        first = corners[:, None, 0] * (1 - down)[:, None] + corners[:, None, 3] * down[:, None]
        last = corners[:, None, 1] * (1 - down)[:, None] + corners[:, None, 2] * down[:, None]
        points = first * (1 - across)[:, None] + last * across[:, None]
        fits[left] = _free(free, points[..., 0], points[..., 1]).all(axis=1)
    return fits


def _free(free: Mask, x: Floats, y: Floats) -> NDArray[np.bool_]:
    """Whether the pixels that hold these points are free; outside the photo nothing is."""
    column, row = np.floor(x), np.floor(y)
    inside = (column >= 0) & (row >= 0) & (column < free.shape[1]) & (row < free.shape[0])
    place = np.where(inside, row, 0).astype(np.int64), np.where(inside, column, 0).astype(np.int64)
    return np.asarray(inside & free[place])


def _mean_busy(busy: NDArray[np.int64], corners: Floats) -> Floats:
    """Mean gradient in the box around each quadrilateral."""
    height, width = busy.shape[0] - 1, busy.shape[1] - 1
    low, high = corners.min(1), corners.max(1)
    x0, x1 = (np.clip(v[:, 0], 0, width).astype(np.int64) for v in (low, high))
    y0, y1 = (np.clip(v[:, 1], 0, height).astype(np.int64) for v in (low, high))
    total = busy[y1, x1] - busy[y0, x1] - busy[y1, x0] + busy[y0, x0]
    return np.asarray(total / np.maximum((x1 - x0) * (y1 - y0), 1))


def _corners(xs: Floats, ys: Floats, right: tuple[float, float], down: tuple[float, float]) -> Floats:
    """Quadrilaterals around centres from the half vectors to the right and down."""
    centre = np.stack([xs, ys], 1)
    r, d = np.array(right), np.array(down)
    return np.stack([centre - r - d, centre + r - d, centre + r + d, centre - r + d], 1)


def _rotated(tilt: float, keystone: float = 0.0) -> Quads:
    """Turned by a small angle (as a slope); keystone: the right side larger than the left by that share."""
    length = math.sqrt(1 + tilt * tilt)

    def quads(xs: Floats, ys: Floats, width: float, height: float) -> Floats:
        ex, ey = (width / 2 / length, tilt * width / 2 / length), (-tilt * height / 2 / length, height / 2 / length)
        corners = _corners(xs, ys, ex, ey)
        push = np.array([[keystone, keystone], [-keystone, -keystone], [keystone, keystone], [-keystone, -keystone]])
        corners[:, :, 1] += push[:, 0] * height / 2 * np.array([1, 1, -1, -1])
        return corners

    return quads


def _panel(mask: Mask, top: float, bottom: float, side: float) -> Quads:
    """Between the slopes of the surface's upper and lower edge. side: dx / dy of what is upright."""
    box = box_of(mask)
    y0, y1 = (box[1], box[3]) if box else (0.0, 1.0)
    side = -side

    def slope(y: Floats) -> Floats:
        return np.asarray(top + (bottom - top) * np.clip((y - y0) / (y1 - y0), 0, 1))

    def quads(xs: Floats, ys: Floats, width: float, height: float) -> Floats:
        corners = _corners(xs, ys, (width / 2, 0.0), (side * height / 2, height / 2))
        upper, lower = slope(ys - height / 2), slope(ys + height / 2)
        for corner, sign, lean in ((0, -1, upper), (1, 1, upper), (2, 1, lower), (3, -1, lower)):
            corners[:, corner, 1] += sign * lean * width / 2
        return corners

    return quads


def _facade(far: tuple[float, float]) -> Quads:
    """On a wall along the road: uprights stay upright, levels run to the far end."""

    def quads(xs: Floats, ys: Floats, width: float, height: float) -> Floats:
        reach = np.where(np.abs(xs - far[0]) > 0.8 * width, xs - far[0], np.nan)
        corners = _corners(xs, ys, (width / 2, 0.0), (0.0, height / 2))
        near = (corners[:, :, 0] - far[0]) / reach[:, None]
        corners[:, :, 1] = far[1] + (corners[:, :, 1] - far[1]) * near
        rise = np.abs(corners[:, 1, 1] - corners[:, 0, 1]) + np.abs(corners[:, 2, 1] - corners[:, 3, 1])
        corners[rise > 1.5 * _STEEPEST * width] = np.nan
        return np.nan_to_num(corners, nan=-1e6)

    return quads


def _ground(far: tuple[float, float]) -> Quads:
    """On the road: levels stay level, what runs ahead runs to the far end."""

    def quads(xs: Floats, ys: Floats, width: float, height: float) -> Floats:
        reach = np.where(ys - far[1] > height, ys - far[1], np.nan)
        corners = _corners(xs, ys, (width / 2, 0.0), (0.0, height / 2))
        near = (corners[:, :, 1] - far[1]) / reach[:, None]
        corners[:, :, 0] = far[0] + (corners[:, :, 0] - far[0]) * near
        return np.nan_to_num(corners, nan=-1e6)

    return quads


def _lean(mask: Mask) -> float:
    """The slope dy / dx of what is level on an upright thing, from the middles of its rows; 0 where it is wide."""
    counts = mask.sum(1, dtype=np.int64)
    rows = np.flatnonzero(counts)
    if len(rows) < 12:
        return 0.0
    middles = (mask * np.arange(mask.shape[1])).sum(1, dtype=np.int64)[rows] / counts[rows]
    third = len(rows) // 3
    if counts[rows].max() > 1.2 * len(rows):
        return 0.0
    shift = float(np.median(middles[-third:]) - np.median(middles[:third]))
    return -shift / float(rows[-1] - rows[0] - third)


def _edges(mask: Mask) -> tuple[float, float]:
    """Slopes dy / dx of the upper and the lower outline, without their ends."""
    columns = np.flatnonzero(mask.any(0))
    if len(columns) < 12:
        return 0.0, 0.0
    inner = columns[len(columns) // 8 : -len(columns) // 8]
    upper, lower = mask[:, inner].argmax(0), mask.shape[0] - 1 - mask[::-1, inner].argmax(0)
    third = max(len(inner) // 3, 1)
    run = float(inner[-1] - inner[0]) * 2 / 3
    return (
        _clip(float(np.median(upper[-third:]) - np.median(upper[:third])) / run, _STEEPEST),
        _clip(float(np.median(lower[-third:]) - np.median(lower[:third])) / run, _STEEPEST),
    )


def _far_end(road: Mask) -> tuple[float, float]:
    """Where the road goes out of sight: the middle of its highest rows of some width."""
    counts = road.sum(1, dtype=np.int64)
    rows = np.flatnonzero(counts >= max(4, road.shape[1] // 40))
    if len(rows) == 0:
        return road.shape[1] / 2, road.shape[0] / 3
    top = int(rows[0])
    columns = np.flatnonzero(road[top : top + 4].any(0))
    return float(np.median(columns)), float(top) - road.shape[0] / 60


def _clip(value: float, most: float) -> float:
    return max(-most, min(most, value))
