"""Masks as run lengths, polygons, boxes and sets; every conversion is exact.

In and out: `Mask`, (H, W) bool, and its written forms. Pixel (row r, column c) covers the square
[c, c + 1] x [r, r + 1]; its centre is (c + 0.5, r + 0.5). Knows nothing of photos or models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco

from miras.core.errors import InputError
from miras.core.types import Box, Mask, Rle

Polygon = list[tuple[float, float]]
"""A closed ring of (x, y) corners in pixels; the last corner joins the first."""
Size = tuple[int, int]
"""(H, W) in pixels."""


def encode_rle(mask: NDArray[Any]) -> Rle:
    """COCO run lengths of an (H, W) mask (see `as_mask`), any memory order.

    Returns {"size": [H, W], "counts": str}, the same string as pycocotools writes. Raises InputError for no mask.
    """
    columns = np.asfortranarray(as_mask(mask)).view(np.uint8)
    height, width = columns.shape
    return {"size": [height, width], "counts": coco.encode(columns)["counts"].decode("ascii")}


def decode_rle(rle: Rle) -> Mask:
    """The mask of COCO run lengths: compressed (str or bytes), or a list of counts as in COCO crowds.

    Raises InputError when a part is missing or the runs do not fill the size exactly (pycocotools
    returns uninitialised memory then).
    """
    height, width, runs = _runs(rle)
    values = np.arange(len(runs)) % 2 == 1
    return np.ascontiguousarray(np.repeat(values, runs).reshape(width, height).T)


def rle_area(rle: Rle) -> int:
    """Selected pixels of COCO run lengths, without decoding the mask. Raises InputError as `decode_rle`."""
    return int(_runs(rle)[2][1::2].sum())


def _runs(rle: Rle) -> tuple[int, int, NDArray[np.int64]]:
    """Height, width and runs (outside, inside, outside, ...), which fill the size exactly."""
    try:
        height, width = (int(side) for side in rle["size"])
        counts = rle["counts"]
        if isinstance(counts, str):
            counts = counts.encode("ascii")
        runs = _read_counts(counts) if isinstance(counts, bytes) else np.array([int(count) for count in counts])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError('run lengths {"size": [H, W], "counts": ...}', f"{str(rle)[:60]!r} ({error!r})") from error
    total, wanted = int(runs.sum()), height * width
    if min(height, width) < 0 or (runs < 0).any() or total != wanted:
        raise InputError(f"runs that fill {height} x {width} = {wanted} pixels", f"runs of {total} pixels")
    return height, width, runs


def _read_counts(counts: bytes) -> NDArray[np.int64]:
    """COCO's compressed counts: 5 bits a character, low first, from the fourth on as differences."""
    codes = np.frombuffer(counts, np.uint8).astype(np.int64) - 48
    if codes.size == 0:
        return np.zeros(0, np.int64)
    last = (codes & 32) == 0
    if (codes < 0).any() or (codes > 63).any() or not last[-1]:
        raise ValueError("not a compressed run-length string")
    starts = np.concatenate([[0], np.flatnonzero(last)[:-1] + 1])
    lengths = np.diff(np.append(starts, codes.size))
    if lengths.max() > 7:
        raise ValueError("a run length past 35 bits")
    place = np.arange(codes.size) - np.repeat(starts, lengths)
    numbers = np.add.reduceat((codes & 31) << (5 * place), starts)
    negative = (codes[last] & 16) != 0
    numbers -= negative * (np.int64(1) << (5 * lengths))
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers


def mask_to_polygons(mask: Mask) -> list[Polygon]:
    """The outlines of a mask along its pixel edges, so that `polygons_to_mask` gives it back exactly.

    One ring for each 4-connected part and one for each hole in it, as separate rings with integer
    corners, in the order of their topmost-leftmost corner, where each begins. Outer rings run
    clockwise as seen on the screen (positive `ring_area`), holes the other way (negative): the
    mask lies to the right. Fill them together with the even-odd or the non-zero rule; tools that
    unite the rings of a COCO `segmentation` fill holes, so write masks with holes as run lengths.
    """
    # Around a corner (y, x): a b over c d. A corner belongs to the outline where the two-by-two
    # block is neither flat nor a straight edge; a chequered block holds two corners.
    padded = np.pad(as_mask(mask), 1).astype(np.int8)
    a, b, c, d = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    corner_y, corner_x = np.nonzero((a ^ b ^ c ^ d) | ((a == d) & (b == c) & (a != b)))
    chequered = ((a == d) & (b == c))[corner_y, corner_x]
    copies = np.where(chequered, 2, 1)
    y, x = np.repeat(corner_y, copies), np.repeat(corner_x, copies)
    # Of two corners in one place the first ends the run from the left, the second begins the run
    # to the right. Where a and d are selected the first also ends the run from above; else the
    # second does: so parts that touch at a corner stay apart.
    second = np.zeros(len(y), np.int64)
    second[1:] = (y[1:] == y[:-1]) & (x[1:] == x[:-1])
    along_y = np.lexsort((np.where(a[y, x] == 1, second, -second), y, x))
    left, right = np.arange(0, len(y), 2), np.arange(1, len(y), 2)
    upper, lower = along_y[0::2], along_y[1::2]
    follows = np.empty(len(y), np.int64)
    below = d[y[left], x[left]] == 1
    follows[np.where(below, left, right)] = np.where(below, right, left)
    above_left = c[y[upper], x[upper]] == 1
    follows[np.where(above_left, upper, lower)] = np.where(above_left, lower, upper)
    return _rings(follows.tolist(), x.tolist(), y.tolist())


def _rings(follows: list[int], x: list[int], y: list[int]) -> list[Polygon]:
    """The cycles of the permutation `follows` as rings of corners."""
    rings: list[Polygon] = []
    seen = bytearray(len(follows))
    for start in range(len(follows)):
        ring: Polygon = []
        corner = start
        while not seen[corner]:
            seen[corner] = 1
            ring.append((x[corner], y[corner]))
            corner = follows[corner]
        if ring:
            rings.append(ring)
    return rings


def ring_area(ring: Sequence[Sequence[float]]) -> float:
    """Signed area in square pixels: positive for outer rings of `mask_to_polygons`, negative for holes."""
    x, y = _corners(ring).T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def polygons_to_mask(
    polygons: Sequence[Sequence[Sequence[float]]], size: Size, rule: Literal["evenodd", "union"] = "evenodd"
) -> Mask:
    """The pixels whose centres lie inside rings of (x, y) corners; size (H, W). Parts outside are cut off.

    rule: "evenodd" takes the rings together, so a ring in a ring is a hole (the inverse of
    `mask_to_polygons`); "union" unites the rings, each filled by itself (COCO `segmentation`).
    A centre that lies exactly on an edge belongs to the side right of it or below it.
    Raises InputError for a ring of fewer than 3 corners or a coordinate that is not a number.
    """
    rings = [_corners(ring) for ring in polygons]
    if rule == "evenodd":
        return _fill(rings, size)
    return union(np.zeros(size, np.bool_), *(_fill([ring], size) for ring in rings))


def _corners(ring: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    try:
        corners = np.asarray(ring, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError("a ring of (x, y) corners", f"{str(ring)[:60]!r}") from error
    if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3 or not np.isfinite(corners).all():
        raise InputError("a ring of at least 3 finite (x, y) corners", f"{str(ring)[:60]!r}")
    return corners


def _fill(rings: Sequence[NDArray[np.float64]], size: Size) -> Mask:
    """Even-odd scan lines through the pixel centres."""
    height, width = size
    flips = np.zeros((height, width + 1), np.bool_)
    if rings:
        x0, y0 = np.concatenate(rings).T
        x1, y1 = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings]).T
        first, last = (
            np.clip(np.ceil(edge(y0, y1) - 0.5), 0, height).astype(np.int64) for edge in (np.minimum, np.maximum)
        )
        edges = np.repeat(np.arange(len(x0)), last - first)
        rows = np.arange(len(edges)) - np.repeat(np.cumsum(last - first) - last, last - first)
        share = (rows + 0.5 - y0[edges]) / (y1 - y0)[edges]
        crossing = x0[edges] + share * (x1 - x0)[edges]
        columns = np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.int64)
        np.logical_xor.at(flips, (rows, columns), True)
    return np.logical_xor.accumulate(flips, axis=1)[:, :width]


def box_of(mask: Mask) -> Box | None:
    """The smallest XYXY half-open box around the selected pixels; None when there are none."""
    mask = as_mask(mask)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows) == 0:
        return None
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def boundary(mask: Mask, width: int = 1) -> Mask:
    """The selected pixels within `width` pixels (Chebyshev) of one that is not; outside counts as not.

    The mask minus its erosion by a (2 width + 1) square, as in Boundary IoU (Cheng et al. 2021),
    which takes 2% of the photo's diagonal as width. Raises InputError for a width below 1.
    """
    if width < 1:
        raise InputError("a boundary of at least 1 pixel", str(width))
    mask = as_mask(mask)
    return mask & ~_erode_rows(_erode_rows(mask, width).T, width).T


def _erode_rows(mask: Mask, width: int) -> Mask:
    """True where all 2 width + 1 pixels around, along the row, are selected."""
    sums = np.cumsum(np.pad(mask, ((0, 0), (width + 1, width))), axis=1, dtype=np.int32)
    span = 2 * width + 1
    inside: Mask = sums[:, span:] - sums[:, :-span] == span
    return inside


def union(*masks: Mask) -> Mask:
    """Pixels of any of the masks (one or more, of one size)."""
    return _fold(np.logical_or, masks)


def intersection(*masks: Mask) -> Mask:
    """Pixels of all of the masks (one or more, of one size)."""
    return _fold(np.logical_and, masks)


def difference(mask: Mask, *others: Mask) -> Mask:
    """Pixels of the first mask that are in none of the others (of one size)."""
    return _fold(lambda left, right: left & ~right, (mask, *others))


def area(mask: Mask) -> int:
    """Selected pixels."""
    return int(np.count_nonzero(as_mask(mask)))


def iou(first: Mask, second: Mask) -> float:
    """Intersection over union, 0..1; two empty masks agree: 1.0."""
    whole = area(union(first, second))
    return area(intersection(first, second)) / whole if whole else 1.0


def resize_mask(mask: Mask, size: Size) -> Mask:
    """The mask at another (H, W), nearest pixel; aspect ratio free. Raises InputError for a side below 1."""
    if min(*size, *mask.shape) < 1:
        raise InputError("sides of at least 1 pixel", f"{mask.shape} to {size}")
    picture = Image.fromarray(as_mask(mask).view(np.uint8))
    return np.asarray(picture.resize((size[1], size[0]), Image.Resampling.NEAREST)).astype(np.bool_)


def _fold(combine: Callable[[Mask, Mask], Mask], masks: Sequence[Mask]) -> Mask:
    """A new mask from one or more; sizes must agree."""
    if not masks:
        raise InputError("at least one mask", "none")
    checked = [as_mask(mask) for mask in masks]
    height, width = checked[0].shape
    for other in checked[1:]:
        if other.shape != (height, width):
            raise InputError(
                f"masks of one size, {height} x {width} (H x W)",
                f"{other.shape[0]} x {other.shape[1]}",
                "resize one with resize_mask",
            )
    return reduce(combine, checked[1:], checked[0].copy())


def as_mask(mask: NDArray[Any], what: str = "a mask") -> Mask:
    """The array as (H, W) bool, without a copy when it already is: the one place that says what a mask is.

    A mask holds True and False, or numbers of any type that are exactly 0 and 1, or exactly 0 and 255. Probabilities,
    logits, NaN and labels are refused, for "not zero" would select what was not meant. what: named in the error.
    Raises InputError that says what to do.
    """
    if not isinstance(mask, np.ndarray) or mask.ndim != 2:
        raise InputError(f"{what}, an (H, W) array", f"shape {getattr(mask, 'shape', type(mask).__name__)}")
    if mask.dtype == np.bool_:
        return mask
    if mask.dtype.kind not in "uif":
        raise InputError(f"{what} of True and False, 0 and 1, or 0 and 255", f"values of type {mask.dtype}")
    inside: Mask = mask != 0
    top = mask.max(initial=0)
    if not (top in (0, 1, 255) and (mask[inside] == top).all()):
        raise _no_mask(mask, what)
    return inside


def mask_of_picture(image: Image.Image, what: str = "a mask") -> Mask:
    """The mask that a picture shows, (H, W) bool: black and white, 0 and 1, or one colour on black.

    Of a palette the indices count (0 and 1, or 0 and 255), or black and white where it has no other colours. Raises
    InputError for grey values in between, several colours or labels, and a mask that stands in the transparency alone.
    """
    if image.mode == "P":
        indices = np.asarray(image)
        used = np.unique(indices)
        colours = _palette(image)[used]
        if set(map(tuple, colours.tolist())) <= {(0, 0, 0), (255, 255, 255)}:
            return np.isin(indices, used[colours.any(axis=1)])
        return as_mask(indices, what)
    alpha = np.asarray(image.getchannel("A")) if image.mode in ("RGBA", "LA", "PA") else None
    if image.mode in ("1", "L", "F") or image.mode.startswith("I"):
        mask = as_mask(np.asarray(image), what)
    else:
        mask = _one_colour(np.asarray(image.convert("RGB")), what)
    if alpha is not None and not mask.any() and not alpha.all():
        cure = "save the mask in black and white"
        raise InputError(f"{what} in the colours of the picture", "one in its transparency alone", cure)
    return mask


def _palette(image: Image.Image) -> NDArray[np.uint8]:
    """(256, 3): the colours of the indices; those that the palette lacks are black."""
    given = np.array(image.getpalette("RGB") or [], np.uint8)[: 3 * 256]
    return np.pad(given, (0, 3 * 256 - given.size)).reshape(256, 3)


def _one_colour(pixels: NDArray[np.uint8], what: str) -> Mask:
    """Where (H, W, 3) is not black, when it is of one colour there."""
    inside: Mask = np.asarray(pixels.any(axis=2), np.bool_)
    colours = pixels[inside]
    if len(colours) and (colours != colours[0]).any():
        got = f"{len(np.unique(colours, axis=0))} colours on black"
        raise InputError(f"{what} of one colour on black", got, "threshold it first, or write one file for each colour")
    return inside


def _no_mask(values: NDArray[Any], what: str) -> InputError:
    """The error for numbers that are no mask, with the likeliest cure."""
    expected = f"{what} of True and False, 0 and 1, or 0 and 255"
    if np.isnan(values).any():
        return InputError(expected, f"{values.dtype} with NaN", "mend what made them, then threshold: values > 0.5")
    low, high = values.min(), values.max()
    got = f"{values.dtype} from {low:g} to {high:g}"
    if values.dtype.kind == "f":
        at = "0.5" if low >= 0 and high <= 1 else "127" if low >= 0 and high > 1 else "0"
        return InputError(expected, got, f"threshold it first: values > {at}")
    return InputError(expected, got, "threshold it first (values > 127), or choose one label (values == 3)")
