"""How an artwork looks once it is part of the photo: sampled through its placement, then lit, softened and grained.

In: a photo, an `Art`, a `Placement`, a random generator. Out: the new pixels, and the mask of every silhouette, taken
through the very same sampling, so that letters and masks cannot drift apart. Blurs are Pillow's (fixed point), sums
are of whole numbers: all machines agree. Knows no label and no dialogue.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from miras.core.types import Mask
from miras.data.lettering.art import Art
from miras.data.lettering.place import Floats, Placement

Pixels = NDArray[np.uint8]
_MARGIN = 10
_FEW = 30_000
"""Pixels of the patch; up to here nine samples a pixel, above four."""
_SHARPNESS = ((0.08, 1.7), (0.15, 1.5), (0.25, 1.1), (0.35, 0.8), (0.5, 0.6), (0.8, 0.4), (1.2, 0.3))
"""(fine over coarse detail of a photo, blur in pixels that makes drawn letters look like it); measured on letters and
on photographs blurred on purpose."""
_JPEG = 88


@dataclass(frozen=True, eq=False)
class Finish:
    """How the surface takes writing. opacity: of the ink. texture: share of the surface's fine detail that shows
    through. light: share of its shading. follow: pixels that letters shift for each grey level of a fold's slope.
    scene: ink between the scene's black and white, in the colour of its light, a plate with its shadow; False: ink as
    it was printed, which stands out even in a dull photo."""

    opacity: float
    texture: float
    light: float
    follow: float = 0.0
    scene: bool = True


BARE, CARRIED = Finish(0.94, 0.5, 0.9), Finish(1.0, 0.0, 0.75)
CLOTH, SEWN = Finish(0.93, 0.75, 1.0, 0.25), Finish(1.0, 0.5, 1.0, 0.2)
PRINTED = Finish(0.94, 0.0, 0.5, scene=False)


def lay(
    photo: Pixels, art: Art, place: Placement, finish: Finish, shapes: Sequence[Mask], height: float,
    rng: np.random.Generator,
) -> tuple[Pixels, list[Mask]]:  # fmt: skip
    """The photo with the artwork, and the (H, W) mask of each shape of the artwork.

    height: of the lowest line in pixels; letters are never blurred beyond reading. A pixel belongs to a mask when at
    least half of its samples fall in the shape.
    """
    x0, y0, x1, y1 = place.bounds((photo.shape[0], photo.shape[1]), _MARGIN)
    below = photo[y0:y1, x0:x1]
    grey = Image.fromarray(below).convert("L")
    ink, masks = _sample(art, place, (x0, y0, x1, y1), _folds(grey, finish.follow), shapes)
    sigma = float(min(_softness(photo, (x0, y0, x1, y1)), 0.075 * height))
    ink = np.asarray(Image.fromarray(ink, "RGBA").filter(ImageFilter.GaussianBlur(sigma)))
    patch = _blend(photo, below, grey, ink, (x0, y0, x1, y1), finish, art.carrier is not None, rng)
    page = photo.copy()
    page[y0:y1, x0:x1] = patch
    return page, [_on_page(mask, photo.shape, x0, y0) for mask in masks]


def _sample(
    art: Art, place: Placement, box: tuple[int, int, int, int], folds: tuple[Floats, Floats] | None,
    shapes: Sequence[Mask],
) -> tuple[Pixels, list[Mask]]:  # fmt: skip
    """Premultiplied RGBA and masks of the patch."""
    x0, y0, x1, y1 = box
    rows, columns = y1 - y0, x1 - x0
    n = 3 if rows * columns <= _FEW else 2
    fine = (np.arange(columns * n) + 0.5) / n
    x, y = np.broadcast_arrays(x0 + fine[None, :], (y0 + (np.arange(rows * n) + 0.5) / n)[:, None])
    if folds is not None:
        x, y = (grid + np.repeat(np.repeat(fold, n, 0), n, 1) for grid, fold in zip((x, y), folds, strict=True))
    across, down = place.flat(x, y)
    inside = (across >= 0) & (across < 1) & (down >= 0) & (down < 1)
    across, down = across[inside], down[inside]
    height, width = art.picture.shape[:2]
    spot = (down * height).astype(np.int64) * width + (across * width).astype(np.int64)
    masks = []
    for shape in shapes:
        hit = np.zeros(inside.shape, np.uint8)
        hit[inside] = shape.ravel()[spot]
        masks.append(2 * hit.reshape(rows, n, columns, n).sum((1, 3), dtype=np.int32) >= n * n)
    picture = _reduced(art.picture, place.scale * n)
    hit = np.zeros((*inside.shape, 4), np.uint8)
    hit[inside] = _bilinear(picture, across, down)
    mean = hit.reshape(rows, n, columns, n, 4).sum((1, 3), dtype=np.int32)
    return ((mean + n * n // 2) // (n * n)).astype(np.uint8), masks


def _reduced(picture: Pixels, scale: float) -> Pixels:
    """The artwork at about the resolution of the samples, premultiplied."""
    page = Image.fromarray(picture, "RGBA").convert("RGBa")
    if scale < 0.8:
        page = page.resize(
            (max(2, round(page.width * scale)), max(2, round(page.height * scale))), Image.Resampling.BOX
        )
    return np.asarray(page)


def _bilinear(picture: Pixels, across: Floats, down: Floats) -> Pixels:
    """(N, 4) values at places in 0..1."""
    height, width = picture.shape[:2]
    x, y = np.clip(across * width - 0.5, 0, width - 1), np.clip(down * height - 0.5, 0, height - 1)
    left, top = np.minimum(x.astype(np.int64), width - 2), np.minimum(y.astype(np.int64), height - 2)
    a, b = (np.rint((x - left) * 64).astype(np.int32)[:, None], np.rint((y - top) * 64).astype(np.int32)[:, None])
    pixels, spot = picture.reshape(-1, 4).astype(np.int32), top * width + left
    upper = pixels[spot] * (64 - a) + pixels[spot + 1] * a
    lower = pixels[spot + width] * (64 - a) + pixels[spot + width + 1] * a
    mixed = (upper * (64 - b) + lower * b + 2048) // 4096
    return np.asarray(mixed, np.uint8)


def _folds(grey: Image.Image, follow: float) -> tuple[Floats, Floats] | None:
    """How far letters shift in the folds of a cloth, x and y in pixels."""
    if follow == 0:
        return None
    smooth = np.asarray(grey.filter(ImageFilter.GaussianBlur(3)), np.int32)
    x, y = np.zeros(smooth.shape), np.zeros(smooth.shape)
    x[:, 1:-1], y[1:-1] = smooth[:, 2:] - smooth[:, :-2], smooth[2:] - smooth[:-2]
    return np.clip(x * follow / 2, -1.5, 1.5), np.clip(y * follow / 2, -1.5, 1.5)


def _blend(
    photo: Pixels, below: Pixels, grey: Image.Image, ink: Pixels, box: tuple[int, int, int, int], finish: Finish,
    carried: bool, rng: np.random.Generator,
) -> Pixels:  # fmt: skip
    """Ink over the patch: between the scene's black and white, in the surface's shading, with its grain."""
    around = _around(photo, box, 1.0)
    black, white = _levels(photo, around) if finish.scene else (0.0, 255.0)
    tint = _tint(around) if finish.scene else 1.0
    alpha = ink[:, :, 3:].astype(np.float64) / 255
    shade = _shade(grey, alpha[:, :, 0] > 0, finish.light, (box[3] - box[1]) / (3 if carried else 8))
    colour = (ink[:, :, :3] * ((white - black) / 255) * tint + black * alpha) * shade[:, :, None]
    ground = below.astype(np.float64)
    if carried and finish.scene:
        ground = ground * (1 - 0.35 * _shadow(ink[:, :, 3])[:, :, None])
    detail = np.asarray(grey, np.int32) - np.asarray(grey.filter(ImageFilter.GaussianBlur(2)), np.int32)
    grain = _grain(grey, alpha.shape[:2], rng)
    mixed = ground * (1 - alpha * finish.opacity) + colour * finish.opacity
    mixed = mixed + alpha * (np.clip(detail, -30, 30) * finish.texture + grain)[:, :, None]
    patch = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
    touched = (np.abs(patch.astype(np.int32) - below).max(2) > 0)[:, :, None]
    return np.where(touched, _jpeg(patch), below)


def _shade(grey: Image.Image, under: Mask, share: float, radius: float) -> Floats:
    """Light on the surface, 1 on average under the ink."""
    low = np.asarray(grey.filter(ImageFilter.GaussianBlur(float(max(2.0, radius)))), np.int64) + 8
    mean = float(low[under].sum()) / max(int(under.sum()), 1) if under.any() else float(low.mean())
    return np.asarray(1 + share * (np.clip(low / mean, 0.45, 1.6) - 1))


def _shadow(alpha: Pixels) -> Floats:
    """The narrow shadow below and right of a plate."""
    page = np.zeros_like(alpha)
    page[2:, 1:] = alpha[:-2, :-1]
    return np.asarray(Image.fromarray(page).filter(ImageFilter.GaussianBlur(1.5)), np.float64) / 255


def _levels(photo: Pixels, around: Pixels) -> tuple[float, float]:
    """What black and white ink look like here, grey levels."""
    near, whole = (Image.fromarray(np.ascontiguousarray(page)).convert("L") for page in (around, photo[::3, ::3]))
    brightest = quantile(whole, 0.97)
    white = max((2 * quantile(near, 0.96) + brightest) / 3, 0.7 * brightest)
    return min(36.0, 0.7 * quantile(near, 0.02) + 4), max(112.0, min(244.0, white))


def quantile(grey: Image.Image, share: float) -> int:
    """The grey level that this share of a picture of mode L does not pass."""
    counts = np.cumsum(grey.histogram())
    return int(np.searchsorted(counts, share * counts[-1]))


def spread(pixels: Pixels, mask: Mask) -> int:
    """Grey levels between the darkest and the lightest tenth."""
    page, where = Image.fromarray(pixels).convert("L"), Image.fromarray(mask)
    counts = np.cumsum(page.histogram(where))
    low, high = (int(np.searchsorted(counts, share * counts[-1])) for share in (0.1, 0.9))
    return high - low


def _tint(around: Pixels) -> Floats:
    """The colour of the light, (3,), from the brighter of the surroundings, at a third of its strength."""
    pixels = around[::2, ::2].reshape(-1, 3).astype(np.int64)
    total = pixels.sum(1)
    bright = pixels[2 * total >= int(total.max()) + int(total.min())].sum(0)
    return np.asarray(1 + 0.3 * (np.clip(3 * bright / max(int(bright.sum()), 1), 0.8, 1.2) - 1))


def _grain(grey: Image.Image, shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Noise like the photo's own, in grey levels: sums of dice, which every machine throws alike."""
    rest = np.abs(np.asarray(grey, np.int16) - np.asarray(grey.filter(ImageFilter.GaussianBlur(1)), np.int16))
    amount = min(4.0, 1.1 * quantile(Image.fromarray(rest.astype(np.uint8)), 0.4) + 0.8)
    dice = rng.integers(0, 256, (3, *shape)).sum(0)
    return np.asarray((dice - 382.5) * (amount / 128))


def _softness(photo: Pixels, box: tuple[int, int, int, int]) -> float:
    """Blur (standard deviation in pixels) that fits the sharpness of the surroundings."""
    grey = Image.fromarray(_around(photo, box, 1.5)).convert("L")
    sharp, fine, coarse = (
        np.asarray(page, np.int32)
        for page in (grey, grey.filter(ImageFilter.GaussianBlur(1)), grey.filter(ImageFilter.GaussianBlur(3)))
    )
    ratio = int(np.abs(sharp - fine).sum()) / max(int(np.abs(fine - coarse).sum()), 1)
    if ratio <= _SHARPNESS[0][0]:
        return _SHARPNESS[0][1]
    for (low, more), (high, less) in pairwise(_SHARPNESS):
        if ratio <= high:
            return more + (less - more) * (ratio - low) / (high - low)
    return _SHARPNESS[-1][1]


def _around(photo: Pixels, box: tuple[int, int, int, int], share: float) -> Pixels:
    """The patch with its surroundings."""
    x0, y0, x1, y1 = box
    wide, high = int((x1 - x0) * share), int((y1 - y0) * share)
    return photo[max(0, y0 - high) : y1 + high, max(0, x0 - wide) : x1 + wide]


def _jpeg(patch: Pixels) -> Pixels:
    """The softness that a camera's file has."""
    file = io.BytesIO()
    Image.fromarray(patch).save(file, "JPEG", quality=_JPEG)
    return np.asarray(Image.open(file))


def _on_page(mask: Mask, shape: tuple[int, ...], x0: int, y0: int) -> Mask:
    page = np.zeros(shape[:2], np.bool_)
    page[y0 : y0 + mask.shape[0], x0 : x0 + mask.shape[1]] = mask
    return page
