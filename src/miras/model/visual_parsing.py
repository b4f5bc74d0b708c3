"""Visual Parsing Module: a photo becomes the views the encoders need, with the exact way back.

In: RGB photos as `core.photo.read_photo` gives them (EXIF applied). Out: square views and sizes, as tensors; what is
done to the pixels, and the way back, is `model.numeric.views`. Knows no weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from miras.model.numeric.views import MEAN, STD, cells, view


@dataclass(frozen=True)
class Views:
    """Normalised pixels for both towers and the photos' own sizes (H, W). decoder_B3SS: for a mask decoder that looks
    at the photo itself; None for one that reads the towers. drawn_from: what that decoder sees in it, where it has
    looked."""

    detail_B3SS: Tensor
    semantic_B3ss: Tensor
    sizes: tuple[tuple[int, int], ...]
    decoder_B3SS: Tensor | None = None
    drawn_from: tuple[Tensor, ...] = ()

    def to(self, device: torch.device) -> Views:
        """The same pixels on a device."""
        decoder = None if self.decoder_B3SS is None else self.decoder_B3SS.to(device)
        return Views(self.detail_B3SS.to(device), self.semantic_B3ss.to(device), self.sizes, decoder)


class VisualParsing:
    """detail_size, semantic_size, decoder_size: sides of the views in pixels; 0 for no view."""

    def __init__(self, detail_size: int, semantic_size: int, decoder_size: int = 0) -> None:
        self.detail_size, self.semantic_size, self.decoder_size = detail_size, semantic_size, decoder_size

    @property
    def mask_side(self) -> int:
        """Side of the grid that masks are drawn on: a quarter of the view that the decoder looks at."""
        return (self.decoder_size or self.detail_size) // 4

    def __call__(self, photos: Sequence[NDArray[np.uint8]]) -> Views:
        """photos: uint8 (H, W, 3) RGB, each of its own size."""
        detail = _views(photos, self.detail_size)
        semantic = _views(photos, self.semantic_size)
        sizes = tuple((photo.shape[0], photo.shape[1]) for photo in photos)
        if not self.decoder_size:
            return Views(detail, semantic, sizes)
        return Views(detail, semantic, sizes, _views(photos, self.decoder_size))


def _views(photos: Sequence[NDArray[np.uint8]], side: int) -> Tensor:
    return torch.from_numpy(np.stack([view(photo, side) for photo in photos]))


def normalise(pixels: Tensor) -> Tensor:
    """0..255 to the values of every view."""
    return (pixels - float(MEAN)) / float(STD)


def as_trained(view_B3SS: Tensor, mean: float | Sequence[float], std: float | Sequence[float]) -> Tensor:
    """A view as another tower was trained on it: (x - mean) / std of pixels x in 0..255; one number, or one for each of
    R, G, B."""
    if (mean, std) == (float(MEAN), float(STD)):
        return view_B3SS
    centre, spread = (view_B3SS.new_tensor(value).reshape(1, -1, 1, 1) for value in (mean, std))
    return (view_B3SS * float(STD) + float(MEAN) - centre) / spread


def mask_to_view(masks_RHW: NDArray[np.bool_], side: int) -> Tensor:
    """Masks of one photo to (R, 1, side, side) float in 0..1: the covered share of each cell."""
    return torch.from_numpy(cells(masks_RHW, side))
