"""Masks that follow from the photo alone: no weights, no words. What any system has to be better than.

In: (H, W, 3) uint8 RGB. Out: (H, W) bool. Every parameter stands in the docstring of its function. Knows no model and
no conversation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from miras.core.masks import resize_mask
from miras.core.types import Mask

SIDE = 64
"""Width in pixels at which saliency is computed (Hou and Zhang 2007)."""
BLUR = 2.5
"""Standard deviation of the Gaussian over the saliency map, in its pixels."""
LEVELS = 256
"""Bins of the histogram that Otsu's threshold is taken from."""


def ellipse(photo: NDArray[np.uint8]) -> Mask:
    """A centred ellipse, its axes half the photo's width and half its height: pi / 16 = 19.6% of the photo.

    photo: (H, W, 3) RGB, of which only the size counts. A pixel is inside when its centre is, the border included.
    """
    height, width = photo.shape[:2]
    y_H = (np.arange(height) + 0.5 - height / 2) / (height / 4)
    x_W = (np.arange(width) + 0.5 - width / 2) / (width / 4)
    return np.asarray(y_H[:, None] ** 2 + x_W[None, :] ** 2 <= 1, np.bool_)


def whole(photo: NDArray[np.uint8]) -> Mask:
    """Every pixel of the photo, (H, W, 3) RGB."""
    return np.ones(photo.shape[:2], np.bool_)


def salient(photo: NDArray[np.uint8]) -> Mask:
    """What stands out most: the largest piece above Otsu's threshold of `saliency`, enlarged to the photo's size.

    Pieces are joined by edges and by corners; of equal ones the first in reading order. Pixels are enlarged by their
    nearest neighbour. A photo in which nothing stands out (one plain colour) is selected as a whole. Raises InputError
    without scipy.
    """
    ndimage, map_hw = _ndimage(), saliency(photo)
    over = map_hw > otsu(map_hw)
    pieces, count = ndimage.label(over, structure=np.ones((3, 3)))
    if not count:
        return whole(photo)
    sizes = np.bincount(pieces.ravel())[1:]
    height, width = photo.shape[:2]
    return resize_mask(np.asarray(pieces == 1 + int(sizes.argmax()), np.bool_), (height, width))


def saliency(photo: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(h, w <= 64) saliency in 0..1 by the spectral residual (Hou and Zhang, CVPR 2007), as in the authors' own code.

    photo: (H, W, 3) RGB; made grey (ITU-R 601), shrunk to a width of 64 pixels (narrower ones stay as they are; sides
    in proportion, at least one pixel; Pillow's bilinear filter, which averages). The log amplitude of its spectrum,
    less its mean over 3 x 3 (border repeated), goes back with the phase as it was; the squared amplitude is smoothed by
    a Gaussian of 2.5 pixels, cut at a distance of 5, zeros outside, and stretched to 0..1; zeros where all is equal.
    """
    ndimage = _ndimage()
    height, width = photo.shape[:2]
    side = min(SIDE, width)
    size = (side, max(1, round(height * side / width)))
    grey = np.asarray(Image.fromarray(photo).convert("L").resize(size, Image.Resampling.BILINEAR), np.float64) / 255
    if np.ptp(grey) == 0:
        return np.zeros_like(grey)
    spectrum = np.fft.fft2(grey)
    log_amplitude = np.log(np.abs(spectrum) + 1e-12)
    residual = log_amplitude - ndimage.uniform_filter(log_amplitude, 3, mode="nearest")
    back = np.abs(np.fft.ifft2(np.exp(residual + 1j * np.angle(spectrum)))) ** 2
    smooth = np.asarray(ndimage.gaussian_filter(back, BLUR, mode="constant", radius=5), np.float64)
    span = float(np.ptp(smooth))
    return (smooth - smooth.min()) / span if span else np.zeros_like(smooth)


def otsu(values: NDArray[np.float64]) -> float:
    """Otsu's threshold (1979) of values in 0..1: the upper edge of one of 256 bins, which parts them best in two.

    The first of equal ones; 1.0 when the values cannot be parted.
    """
    count_B, edges = np.histogram(values, LEVELS, (0.0, 1.0))
    middle_B = (edges[:-1] + edges[1:]) / 2
    below_B, sum_B = np.cumsum(count_B), np.cumsum(count_B * middle_B)
    total, all_of_it = float(below_B[-1]), float(sum_B[-1])
    above_B = total - below_B
    parted = (below_B > 0) & (above_B > 0)
    if not parted.any():
        return 1.0
    between_B = np.zeros(LEVELS)
    between_B[parted] = (all_of_it * below_B - total * sum_B)[parted] ** 2 / (below_B * above_B)[parted]
    return float(edges[1 + int(between_B.argmax())])


def _ndimage() -> Any:
    from scipy import ndimage

    return ndimage
